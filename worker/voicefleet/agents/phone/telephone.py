"""One telephone line as LiveKit shows it: a participant of kind SIP, with attributes, keys that are
pressed at either end, and a transfer.

Attributes: https://docs.livekit.io/reference/telephony/sip-participant/
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import aiohttp
from google.protobuf.duration_pb2 import Duration
from livekit import api, rtc
from livekit.agents import ToolError

# The events of RFC 4733, section 3.2; `w` waits half a second.
KEY_CODES = {key: code for code, key in enumerate("0123456789*#ABCD")}
KEYS = re.compile(r"[0-9*#A-Dw]{1,32}")
BETWEEN_KEYS_SECONDS = 0.3
WAIT_SECONDS = 0.5

# A number that is keyed in ends with a hash, or when no further key comes.
LAST_KEY = "#"
LONGEST_ENTRY_KEYS = 16
ENTRY_ENDS_AFTER_SECONDS = 3.0

# What LiveKit calls a number where there is none is a word, as `anonymous`.
NUMBER = re.compile(r"\+?\d+")


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a call. Whoever calls from a browser has no telephone, and no number."""

    identity: str
    is_telephone: bool
    number: str | None
    """The other side's, as +15105550100; None where it is withheld."""
    status: str

    @classmethod
    def of(cls, participant: rtc.RemoteParticipant) -> Self:
        attributes = participant.attributes
        number = attributes.get("sip.phoneNumber", "")
        return cls(
            identity=participant.identity,
            is_telephone=participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
            number=number if NUMBER.fullmatch(number) else None,
            status=attributes.get("sip.callStatus", ""),
        )


class Keypad:
    """Collects the keys that are pressed at the other end, and tells each whole entry once."""

    def __init__(self, on_entry: Callable[[str], None]) -> None:
        self._on_entry = on_entry
        self._keys = ""
        self._ending: asyncio.TimerHandle | None = None

    def press(self, key: str) -> None:
        if key != LAST_KEY:
            self._keys = (self._keys + key)[:LONGEST_ENTRY_KEYS]
        self._cancel_end()
        if key == LAST_KEY:
            self._end()
        else:
            loop = asyncio.get_running_loop()
            self._ending = loop.call_later(ENTRY_ENDS_AFTER_SECONDS, self._end)

    def close(self) -> None:
        self._cancel_end()

    def _end(self) -> None:
        entry, self._keys = self._keys, ""
        if entry:
            self._on_entry(entry)

    def _cancel_end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None


class Telephone:
    """What can be done with a line from our end."""

    def __init__(self, room: rtc.Room, livekit: api.LiveKitAPI, line: Line) -> None:
        self.room, self.line = room, line
        self._livekit = livekit

    async def press(self, keys: str) -> None:
        """Press keys at our end, as on a telephone: `1`, `*9`, `1w2#`.

        :raises ToolError: if they are no keys.
        """
        if not KEYS.fullmatch(keys):
            raise ToolError("only the keys 0 to 9, * and # can be pressed, and w to wait")
        for key in keys:
            if key == "w":
                await asyncio.sleep(WAIT_SECONDS)
                continue
            await self.room.local_participant.publish_dtmf(code=KEY_CODES[key], digit=key)
            await asyncio.sleep(BETWEEN_KEYS_SECONDS)

    async def transfer(self, number: str, *, ring_seconds: float) -> None:
        """Hand the line to another telephone (SIP REFER); then it is no longer ours.

        :raises TransferError: if nobody took it: it is still ours, and the caller is waiting.
        """
        wish = api.TransferSIPParticipantRequest(
            room_name=self.room.name,
            participant_identity=self.line.identity,
            transfer_to=f"tel:{number}",
            play_dialtone=True,
            ringing_timeout=Duration(seconds=round(ring_seconds)),
        )
        try:
            answer = await self._livekit.sip.transfer_sip_participant(wish)
        except api.ServerError as error:
            raise TransferError(why(error) or NOT_TAKEN) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransferError(NOT_TAKEN) from error
        # LiveKit answers when the transfer is over, and then mostly with nothing, which reads as
        # ONGOING: so does livekit-server 1.13.5 always (pkg/service/sip.go).
        if answer.status == api.SIPTransferStatus.STS_TRANSFER_FAILED:
            raise TransferError(REASONS.get(answer.sip_status.code, UNKNOWN))


class TransferError(Exception):
    """Nobody took the call; the message says why, in a few words."""


NOT_TAKEN = "the telephone network did not take it"
UNKNOWN = "the telephone network failed"
UNANSWERED = "nobody answered"
ENDED = "the call was ended before anybody answered"

# What a telephone call fails with (RFC 3261, section 21), in words.
REASONS = {
    403: "the trunk does not allow it",
    404: "there is no such number",
    408: UNANSWERED,
    410: "there is no such number",
    480: UNANSWERED,
    484: "there is no such number",
    486: "the line is busy",
    487: ENDED,
    600: "the line is busy",
    603: "it was declined",
    604: "there is no such number",
    607: "it was declined",
}
# The same where no telephone has said anything: LiveKit cancels what has rung for long enough, and
# cannot tell a telephone that is not there from one that nobody picks up.
REASONS_OF_LIVEKIT = {
    "aborted": ENDED,
    "canceled": UNANSWERED,
    "deadline_exceeded": UNANSWERED,
}


def why(error: api.ServerError) -> str | None:
    """Why a call failed, in a few words; None where it has not come to a call."""
    status = sip_status_of(error)
    if status is not None:
        return REASONS.get(status, UNKNOWN)
    return REASONS_OF_LIVEKIT.get(error.code)


def sip_status_of(error: api.ServerError) -> int | None:
    """What the other telephone, or its network, has answered with, if it has."""
    return error.sip_status_code if isinstance(error, api.SipCallError) else None
