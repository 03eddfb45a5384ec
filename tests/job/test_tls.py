"""The contexts of a call's first clients are ready, and are what the clients would have made."""

import ssl

import httpcore2
import pytest

from voicefleet.job import tls


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """Every context that was made, in order; each takes a tenth of a second."""
    contexts = list[ssl.SSLContext]()
    make = httpcore2.default_ssl_context

    def counted(*, _trust_env: bool = True) -> ssl.SSLContext:
        contexts.append(make(_trust_env=_trust_env))
        return contexts[-1]

    monkeypatch.setattr(httpcore2, "default_ssl_context", counted)
    return contexts


def test_each_client_has_a_context_of_its_own_and_the_first_are_ready(
    made: list[ssl.SSLContext],
) -> None:
    tls.make_ahead()
    ahead = list(made)
    assert len(ahead) == tls.MADE_AHEAD
    given = [httpcore2.default_ssl_context() for _ in ahead]
    assert made == ahead
    assert {id(one) for one in given} == {id(one) for one in ahead}

    beyond = httpcore2.default_ssl_context()
    assert beyond is made[-1]
    assert len(made) == len(ahead) + 1


def test_a_client_that_trusts_others_makes_its_own(
    made: list[ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls.make_ahead()
    httpcore2.default_ssl_context(_trust_env=False)
    assert len(made) == tls.MADE_AHEAD + 1
    # As by an agent file that loads its own environment.
    paths = ssl.get_default_verify_paths()
    monkeypatch.setenv("SSL_CERT_DIR", paths.openssl_capath)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    httpcore2.default_ssl_context()
    assert len(made) == tls.MADE_AHEAD + 2
