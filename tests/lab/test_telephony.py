"""LiveKit's API client against the stand-in for its SIP service, and what no client would send."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from livekit import api

from voicefleet.lab import telephony
from voicefleet.lab.telephony import Asked, Telephony

KEY, SECRET = "key", "a secret that is long enough for a signature"
TRANSFER = "/twirp/livekit.SIP/TransferSIPParticipant"


@pytest.fixture
async def served() -> AsyncIterator[Telephony]:
    async def ring(_: Asked) -> int:
        return 486

    async with telephony.serving(KEY, SECRET, ring) as one:
        yield one


async def post(served: Telephony, path: str, body: bytes, *, may_call: bool = True) -> str:
    """The code of the error that comes back."""
    token = api.AccessToken(KEY, SECRET).with_sip_grants(api.SIPGrants(call=may_call)).to_jwt()
    address = served.url.replace("ws://", "http://") + path
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(address, data=body, headers=headers) as response,
    ):
        assert response.status >= 400
        code: str = (await response.json())["code"]
        return code


async def test_a_busy_line_is_the_error_that_livekit_makes_of_it(served: Telephony) -> None:
    wish = api.TransferSIPParticipantRequest(room_name="call", transfer_to="tel:+15105550100")
    async with api.LiveKitAPI(served.url, KEY, SECRET) as livekit:
        with pytest.raises(api.SipCallError) as caught:
            await livekit.sip.transfer_sip_participant(wish)
    assert (caught.value.sip_status_code, caught.value.code) == (486, "resource_exhausted")
    assert caught.value.status == 429


async def test_what_livekit_would_refuse_is_refused_before_it_rings(served: Telephony) -> None:
    wish = api.TransferSIPParticipantRequest(room_name="call", transfer_to="+15105550100")
    assert await post(served, TRANSFER, wish.SerializeToString()) == "invalid_argument"
    assert await post(served, TRANSFER, b"\xff\xff\xff") == "malformed"
    assert await post(served, TRANSFER, b"", may_call=False) == "permission_denied"
    assert await post(served, "/twirp/livekit.Egress/StopEgress", b"") == "bad_route"
