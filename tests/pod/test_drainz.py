"""Whom /drainz obeys."""

import pytest

from voicefleet.pod.drainz import may_drain

TOKEN = "a drain token"  # noqa: S105


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_may_drain_without_a_token(peer: str) -> None:
    assert may_drain(peer, None, None)
    assert may_drain(peer, "Bearer wrong", TOKEN)


@pytest.mark.parametrize(
    "peer", [None, "", "10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1", "localhost", "127.0.0.1.evil"]
)
def test_anyone_else_may_drain_only_with_the_token(peer: str | None) -> None:
    assert not may_drain(peer, None, TOKEN)
    assert not may_drain(peer, "Bearer wrong", TOKEN)
    assert not may_drain(peer, TOKEN, TOKEN)
    assert not may_drain(peer, "Bearer \udcff", TOKEN)
    assert may_drain(peer, f"Bearer {TOKEN}", TOKEN)
    assert may_drain(peer, f"bearer  {TOKEN}", TOKEN)


@pytest.mark.parametrize("token", [None, ""])
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer None"])
def test_without_a_token_nobody_outside_may_drain(
    token: str | None, authorization: str | None
) -> None:
    assert not may_drain("10.0.0.7", authorization, token)
