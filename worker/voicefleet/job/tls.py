"""TLS contexts that were made before the fork, for the HTTP clients of a call.

OpenAI's client reads the machine's certificates anew for each client that a plugin makes, which
takes a tenth of a second: two of them stand at the beginning of most calls, on the event loop,
where LiveKit warns of them, and of every call that goes on in another process. A job hands out
contexts that the forkserver has made, each once, so that no two clients share one.
"""

import ssl

import httpcore2

from voicefleet import settings

# A call has a model and a voice, perhaps with one in reserve for each.
MADE_AHEAD = 4

# What decides whom a client trusts (httpcore2 2.16.2, _ssl.py).
TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def make_ahead() -> None:
    """Have the next clients of this process, and of each that is forked from it, take a context
    that is ready. A client that trusts others, or comes later, makes its own as ever.
    """
    make = httpcore2.default_ssl_context
    trusted = _trusted()
    ready = [make() for _ in range(MADE_AHEAD)]

    def default_ssl_context(*, _trust_env: bool = True) -> ssl.SSLContext:
        if ready and _trust_env and _trusted() == trusted:
            return ready.pop()
        return make(_trust_env=_trust_env)

    httpcore2.default_ssl_context = default_ssl_context


def _trusted() -> list[str | None]:
    environment = settings.environment()
    return [environment.get(name) for name in TRUST]
