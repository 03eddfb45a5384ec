"""LiveKit's API client against the stand-in for its SIP service, and what no client would send."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from google.protobuf.duration_pb2 import Duration
from livekit import api

from tests.waiting import wait_until
from voicefleet.lab import telephony
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.telephony import Asked, Telephony

KEY, SECRET = "key", "a secret that is long enough for a signature"
Call = api.CreateSIPParticipantRequest
Transfer = api.TransferSIPParticipantRequest
TRANSFER = "/twirp/livekit.SIP/TransferSIPParticipant"


# The numbers of telephones, each of which ends a call in its own way.
PICKED_UP, BUSY, RINGS_ON, TERMINATED = "+15550200", "+15550486", "+15550000", "+15550487"


@pytest.fixture
async def served() -> AsyncIterator[Telephony]:
    async def ring(wish: Asked) -> int:
        number = wish.sip_call_to if isinstance(wish, Call) else wish.transfer_to
        if number.endswith(RINGS_ON):
            await asyncio.Event().wait()
        return int(number[-3:])

    async with telephony.serving(KEY, SECRET, ring) as one:
        yield one


def call_to(number: str) -> Call:
    rings = Duration(seconds=1)
    return Call(
        room_name="call",
        sip_trunk_id="ST_1",
        sip_call_to=number,
        wait_until_answered=True,
        ringing_timeout=rings,
    )


def transfer_to(number: str) -> Transfer:
    rings = Duration(seconds=1)
    return Transfer(room_name="call", transfer_to=f"tel:{number}", ringing_timeout=rings)


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
    async with api.LiveKitAPI(served.url, KEY, SECRET) as livekit:
        with pytest.raises(api.SipCallError) as caught:
            await livekit.sip.transfer_sip_participant(transfer_to(BUSY))
    assert (caught.value.sip_status_code, caught.value.code) == (486, "resource_exhausted")
    assert caught.value.status == 429


async def test_a_transfer_that_went_through_is_answered_with_nothing(served: Telephony) -> None:
    """This stand-in said SUCCESSFUL, which no livekit-server up to 1.13.5 does, and so hid that the
    agent `phone` took each transfer for a failed one.
    """
    async with api.LiveKitAPI(served.url, KEY, SECRET) as livekit:
        done = await livekit.sip.transfer_sip_participant(transfer_to(PICKED_UP))
    assert done == api.TransferSIPParticipantResponse()
    assert done.status == api.SIPTransferStatus.STS_TRANSFER_ONGOING


async def test_a_telephone_that_rings_on_is_a_request_that_was_canceled(served: Telephony) -> None:
    """As is one that is not there. LiveKit tells no status of a telephone, for none has answered;
    this stand-in made it a SIP status 408.
    """
    async with api.LiveKitAPI(served.url, KEY, SECRET) as livekit:
        with pytest.raises(api.ServerError) as caught:
            await livekit.sip.create_sip_participant(call_to(RINGS_ON))
        assert (caught.value.code, caught.value.status) == ("canceled", 408)
        assert caught.value.message == "sip request timed out"
        assert caught.value.metadata == {}
        with pytest.raises(api.ServerError) as caught:
            await livekit.sip.transfer_sip_participant(transfer_to(RINGS_ON))
        assert (caught.value.code, caught.value.metadata) == ("canceled", {})


async def test_a_request_that_the_network_terminates_is_aborted(served: Telephony) -> None:
    """SIP's 487. This stand-in made it a failed precondition (412)."""
    async with api.LiveKitAPI(served.url, KEY, SECRET) as livekit:
        with pytest.raises(api.SipCallError) as caught:
            await livekit.sip.create_sip_participant(call_to(TERMINATED))
    assert (caught.value.code, caught.value.status) == ("aborted", 409)
    assert caught.value.sip_status_code == 487


@pytest.mark.server
async def test_a_caller_is_in_the_room_that_sends_for_the_agent(
    livekit_server: LiveKitServer,
) -> None:
    url, key, secret = livekit_server.url, livekit_server.api_key, livekit_server.api_secret
    calling = telephony.incoming(url, key, secret, agent_name="phone", room="withheld", number=None)
    async with api.LiveKitAPI(url, key, secret) as livekit:
        async with calling:
            asked = api.ListParticipantsRequest(room="withheld")
            (caller,) = (await livekit.room.list_participants(asked)).participants
            assert caller.kind == api.ParticipantInfo.Kind.SIP
            assert caller.attributes["sip.phoneNumber"] == "anonymous"
            (sent,) = await livekit.agent_dispatch.list_dispatch("withheld")
            assert sent.agent_name == "phone"

        async def is_empty() -> bool:
            return not (await livekit.room.list_participants(asked)).participants

        await wait_until(is_empty, because="the caller has left")


async def test_what_livekit_would_refuse_is_refused_before_it_rings(served: Telephony) -> None:
    wish = api.TransferSIPParticipantRequest(room_name="call", transfer_to="+15105550100")
    assert await post(served, TRANSFER, wish.SerializeToString()) == "invalid_argument"
    assert await post(served, TRANSFER, b"\xff\xff\xff") == "malformed"
    assert await post(served, TRANSFER, b"", may_call=False) == "permission_denied"
    assert await post(served, "/twirp/livekit.Egress/StopEgress", b"") == "bad_route"
