"""Stands in for LiveKit's SIP service, which livekit-server does not have without Redis and a SIP
bridge: its API at the wire, with everything else passed on to a real livekit-server, and the caller
whom the bridge brings into a room.

Wire format: Twirp (https://twitchtv.github.io/twirp/docs/spec_v7.html) with the messages of
livekit.protocol.sip. It answers as livekit-server 1.13.5 does with livekit/sip behind it, which was
seen with real telephones.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import aiohttp
from aiohttp import WSMsgType, web
from google.protobuf.message import DecodeError
from livekit import api, rtc
from livekit.protocol import sip

from voicefleet.lab import line, providers, reception

SERVICE = "/twirp/livekit.SIP"
# Of one hop between two connections, which each side has of its own.
HOP_HEADERS = {"connection", "host", "upgrade", "content-length", "transfer-encoding"}

# The SIP status with which a telephone answers → Twirp's code, of those a call may end with
# (livekit/protocol, livekit/sip.go, `sipCodeToGRPCCode`).
CODES = {
    403: "permission_denied",
    404: "not_found",
    408: "deadline_exceeded",
    410: "not_found",
    480: "resource_exhausted",
    486: "resource_exhausted",
    487: "aborted",
    504: "deadline_exceeded",
    600: "resource_exhausted",
    603: "permission_denied",
    604: "not_found",
    607: "permission_denied",
}
# Twirp's code → its HTTP status.
HTTP_STATUSES = {
    "aborted": 409,
    "deadline_exceeded": 408,
    "failed_precondition": 412,
    "invalid_argument": 400,
    "not_found": 404,
    "permission_denied": 403,
    "resource_exhausted": 429,
}
# As long as LiveKit lets it ring where nothing else is asked for.
RINGS_SECONDS = 30.0

# What `sip.phoneNumber` is where the caller withholds the number.
WITHHELD = "anonymous"

Asked = sip.CreateSIPParticipantRequest | sip.TransferSIPParticipantRequest
Wish = TypeVar("Wish", sip.CreateSIPParticipantRequest, sip.TransferSIPParticipantRequest)
# Rings a telephone and gives the SIP status it answers with: 200 when it is picked up. For one that
# does not answer, or is not there, it does not return, and is cancelled when the time is over.
Ring = Callable[[Asked], Awaitable[int]]


@dataclass(slots=True)
class Telephony:
    """`asked` are the calls and transfers that were asked for."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@asynccontextmanager
async def serving(
    key: str, secret: str, ring: Ring, *, livekit_url: str = ""
) -> AsyncIterator[Telephony]:
    """Listen on this machine. Without `livekit_url` there is nothing but the SIP service."""
    telephony = Telephony()
    exchange = _Exchange(telephony, api.TokenVerifier(key, secret), ring, livekit_url)
    app = web.Application()
    app.router.add_post(f"{SERVICE}/CreateSIPParticipant", exchange.create)
    app.router.add_post(f"{SERVICE}/TransferSIPParticipant", exchange.transfer)
    app.router.add_route("*", "/{path:.*}", exchange.pass_on)
    async with providers.serving(app) as port:
        telephony.url = f"ws://127.0.0.1:{port}"
        yield telephony


def attributes_of(number: str | None) -> dict[str, str]:
    """What the room is told of a caller; no `number` is one that the caller withholds."""
    return {
        "sip.callID": "SCL_lab",
        "sip.callStatus": "ringing",
        "sip.phoneNumber": number or WITHHELD,
        "sip.trunkID": "ST_lab",
    }


@asynccontextmanager
async def incoming(
    livekit_url: str, key: str, secret: str, *, agent_name: str, room: str, number: str | None
) -> AsyncIterator[rtc.Room]:
    """A telephone that calls, and hangs up when the block ends, whether or not somebody answers.

    The bridge brings the caller into the room before LiveKit sends for the agent: the room is made
    for this caller, and asks for the agent. As any room it stays for 20 s after the caller.
    """
    wanted = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name=agent_name)])
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(key, secret).with_identity(f"sip_{number or WITHHELD}").with_kind("sip")
    token = token.with_grants(grants).with_attributes(attributes_of(number))
    caller = rtc.Room()
    await caller.connect(livekit_url, token.with_room_config(wanted).to_jwt())
    try:
        yield caller
    finally:
        await line.leave(caller)


class _Exchange:
    def __init__(
        self, telephony: Telephony, verifier: api.TokenVerifier, ring: Ring, livekit_url: str
    ) -> None:
        self._telephony, self._verifier, self._ring = telephony, verifier, ring
        self._livekit_url = livekit_url.replace("ws://", "http://")

    async def create(self, request: web.Request) -> web.Response:
        wish = await self._read(request, sip.CreateSIPParticipantRequest())
        if not (wish.sip_trunk_id and wish.sip_call_to and wish.room_name):
            raise refusal("invalid_argument", 400, "missing sip trunk, number or room")
        if wish.wait_until_answered:
            await self._answered(wish)
        info = sip.SIPParticipantInfo(
            participant_identity=wish.participant_identity,
            room_name=wish.room_name,
            sip_call_id="SCL_lab",
        )
        return message(info.SerializeToString())

    async def transfer(self, request: web.Request) -> web.Response:
        wish = await self._read(request, sip.TransferSIPParticipantRequest())
        if not wish.transfer_to.startswith(("tel:", "sip:", "sips:")):
            raise refusal("invalid_argument", 400, "transfer_to must be a tel: or sip: address")
        await self._answered(wish)
        # Empty, and so of status 0, STS_TRANSFER_ONGOING. Servers after 1.13.5 pass on what the
        # bridge answers, which is empty too.
        return message(b"")

    async def _read(self, request: web.Request, into: Wish) -> Wish:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = self._verifier.verify(token)
        except Exception as error:
            raise refusal("unauthenticated", 401, str(error)) from error
        if scheme.lower() != "bearer" or claims.sip is None or not claims.sip.call:
            raise refusal("permission_denied", 403, "the token has no grant for calls")
        try:
            into.ParseFromString(await request.read())
        except DecodeError as error:
            raise refusal("malformed", 400, "no such message") from error
        self._telephony.asked.append(into)
        return into

    async def _answered(self, wish: Asked) -> None:
        """:raises HTTPException: if the telephone was not picked up."""
        seconds = wish.ringing_timeout.ToTimedelta().total_seconds() or RINGS_SECONDS
        try:
            async with asyncio.timeout(seconds):
                status = await self._ring(wish)
        except TimeoutError:
            # No telephone has said so, hence no status of one: livekit/sip, pkg/sip/outbound.go.
            is_call = isinstance(wish, sip.CreateSIPParticipantRequest)
            text = "sip request timed out" if is_call else "refer canceled"
            raise refusal("canceled", 408, text) from None
        if status == HTTPStatus.OK:
            return
        others = "failed_precondition" if 500 <= status < 600 else "invalid_argument"
        code = CODES.get(status, others)
        meta = {"sip_status_code": str(status), "sip_status": f"SIP_STATUS_{status}"}
        raise refusal(code, HTTP_STATUSES[code], f"sip status {status}", meta)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        if not self._livekit_url:
            raise refusal("bad_route", 404, f"no handler for {request.path}")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_HEADERS}
        headers = {k: v for k, v in headers.items() if not k.lower().startswith("sec-websocket")}
        url = self._livekit_url + request.path_qs
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            if reception.is_websocket(request):
                return await _pass_on_socket(request, session, url, headers)
            body = await request.read()
            async with session.request(request.method, url, headers=headers, data=body) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_HEADERS}
                return web.Response(body=await answer.read(), status=answer.status, headers=kept)


async def _pass_on_socket(
    request: web.Request, session: aiohttp.ClientSession, url: str, headers: dict[str, str]
) -> web.WebSocketResponse:
    ours = web.WebSocketResponse(autoping=False)
    async with session.ws_connect(url, headers=headers, autoping=False) as theirs:
        await ours.prepare(request)
        pumps = [
            asyncio.create_task(_pump(ours, theirs), name="telephony up"),
            asyncio.create_task(_pump(theirs, ours), name="telephony down"),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await ours.close()
    return ours


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Socket, target: Socket) -> None:
    async for one in source:
        match one.type:
            case WSMsgType.TEXT:
                await target.send_str(one.data)
            case WSMsgType.BINARY:
                await target.send_bytes(one.data)
            case WSMsgType.PING:
                await target.ping(one.data)
            case WSMsgType.PONG:
                await target.pong(one.data)


def message(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/protobuf")


def refusal(
    code: str, status: int, text: str, meta: dict[str, str] | None = None
) -> web.HTTPException:
    """Twirp's errors are JSON, whatever the messages are."""
    document = {"code": code, "msg": text, **({"meta": meta} if meta else {})}
    refused = web.HTTPBadRequest(
        text=web.json_response(document).text, content_type="application/json"
    )
    refused.set_status(status)
    return refused
