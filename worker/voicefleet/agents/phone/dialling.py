"""A call out: who is to be called, the ringing, and why nobody answered."""

import json
import re
from dataclasses import dataclass

import aiohttp
from google.protobuf.duration_pb2 import Duration
from livekit import api

from . import repairs, telephone

NUMBER = re.compile(r"\+[1-9]\d{6,14}")
# The identity of whoever is called; there is one.
CALLEE = "callee"
NOT_PLACED = "LiveKit could not place the call"


class WrongOrderError(ValueError):
    """The metadata of the dispatch ask for no call that can be made."""


class NotAnsweredError(Exception):
    """Nobody took the call; the message says why, in a few words."""

    def __init__(self, reason: str, sip_status_code: int | None = None) -> None:
        super().__init__(reason)
        self.sip_status_code = sip_status_code


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to call about which repair, as whoever dispatches the job writes it in its metadata:
    `{"phone_number": "+15105550100", "repair": "4271"}`.
    """

    phone_number: str
    repair: str


def order_of(metadata: str) -> Order | None:
    """None where nobody is to be called: then the call comes to us.

    :raises WrongOrderError: if somebody is, but not in that form.
    """
    if not metadata.strip():
        return None
    try:
        document = json.loads(metadata)
    except (ValueError, RecursionError):
        raise WrongOrderError("the metadata are no JSON") from None
    if not isinstance(document, dict) or "phone_number" not in document:
        return None
    number, repair = document["phone_number"], document.get("repair")
    if not isinstance(number, str) or not NUMBER.fullmatch(number):
        raise WrongOrderError("phone_number must be in E.164 form, as +15105550100")
    if not isinstance(repair, str) or repair not in repairs.REPAIRS:
        raise WrongOrderError("repair must be the number of a repair in the book")
    return Order(number, repair)


async def dial(
    livekit: api.LiveKitAPI, room_name: str, order: Order, *, trunk_id: str, ring_seconds: float
) -> None:
    """Let it ring, and return when somebody, or a machine, has answered.

    :raises NotAnsweredError: if nobody has.
    """
    wish = api.CreateSIPParticipantRequest(
        room_name=room_name,
        sip_trunk_id=trunk_id,
        sip_call_to=order.phone_number,
        participant_identity=CALLEE,
        ringing_timeout=Duration(seconds=round(ring_seconds)),
        wait_until_answered=True,
    )
    try:
        await livekit.sip.create_sip_participant(wish)
    except api.ServerError as error:
        reason = telephone.why(error) or NOT_PLACED
        raise NotAnsweredError(reason, telephone.sip_status_of(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotAnsweredError(NOT_PLACED) from error
