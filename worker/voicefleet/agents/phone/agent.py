"""The telephone of a bicycle workshop: answers calls, and calls customers whose repair is ready."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import (
    AMD,
    Agent,
    AgentServer,
    AgentSession,
    AMDCategory,
    CloseReason,
    JobContext,
    RunContext,
    ToolError,
    function_tool,
)
from livekit.agents.llm import ToolResult
from livekit.agents.voice.room_io import RoomOptions

from voicefleet import build_session, settings_of
from voicefleet.agents import closing, silence
from voicefleet.settings.agents import Phone

from . import dialling, repairs
from .dialling import CALLEE, NotAnsweredError, Order, WrongOrderError
from .telephone import Keypad, Line, Telephone, TransferError

logger = logging.getLogger(__name__)

GREETING = "Hello, this is the bicycle workshop. What can I do for you?"
CALLING = "Hello, this is the bicycle workshop. I am calling about your repair: {status}"
VOICEMAIL = "Hello, this is the bicycle workshop. Your repair: {status} Goodbye."
CONNECTING = "I am connecting you. One moment, please."
FAREWELL = "Thank you for calling. Goodbye."

# A caller from a browser may come after the agent, and LiveKit tells of one up to 3 s late.
CALLER_COMES_WITHIN_SECONDS = 3.0

PROMPT = Path(__file__).with_name("prompt.md").read_text(encoding="utf-8")

server = AgentServer()


class Workshop(Agent):
    """Talks on one line. What it is told depends on the line, and on who has called whom."""

    def __init__(self, phone: Telephone, settings: Phone, order: Order | None = None) -> None:
        super().__init__(instructions=f"{PROMPT}\n# This call\n{_about(phone.line, order)}\n")
        self._phone, self._settings, self._order = phone, settings, order
        self._keypad = Keypad(self._on_entry)

    async def on_enter(self) -> None:
        self._phone.room.on("sip_dtmf_received", self._on_key)
        # Whoever is called hears nothing before it is known whether that is a person.
        if self._order is None:
            self.session.say(GREETING)

    async def on_exit(self) -> None:
        self._phone.room.off("sip_dtmf_received", self._on_key)
        self._keypad.close()

    @function_tool
    async def look_up_repair(self, number: str) -> str:
        """How far a repair is.

        Args:
            number: Its four digits.
        """
        return repairs.status(number)

    @function_tool
    async def press_keys(self, keys: str) -> str:
        """Press keys on our telephone, where a machine asks for them.

        Args:
            keys: What to press, as 1 or *9; w waits half a second.
        """
        await self._phone.press(keys)
        return "Pressed. Listen to what the machine says now."

    @function_tool
    async def transfer_to_desk(self, context: RunContext[Any]) -> ToolResult:
        """Hand the call over to a person in the workshop."""
        number = self._settings.desk_number
        if number is None or not self._phone.line.is_telephone:
            raise ToolError("this call cannot be handed over: apologise and offer a call back")
        # To its end: the bridge mutes this room where it begins to ring the desk.
        await context.session.say(CONNECTING, allow_interruptions=False)
        try:
            await self._phone.transfer(number, ring_seconds=self._settings.ring_seconds)
        except TransferError as error:
            logger.warning("transfer failed", extra={"reason": str(error)})
            raise ToolError(f"{error}: apologise and offer a call back") from error
        logger.info("handed over")
        closing.hang_up(context.session)
        return ToolResult("The call was handed over.", reply_required=False)

    @function_tool
    async def end_call(self, context: RunContext[Any]) -> ToolResult:
        """Say goodbye and hang up, once the caller has said goodbye."""
        context.session.say(FAREWELL, allow_interruptions=False)
        closing.hang_up(context.session)
        return ToolResult("Goodbye is being said.", reply_required=False)

    def _on_key(self, event: rtc.SipDTMF) -> None:
        if event.participant is None or event.participant.identity == self._phone.line.identity:
            self._keypad.press(event.digit)

    def _on_entry(self, keys: str) -> None:
        self.session.interrupt()
        self.session.generate_reply(user_input=f"I have keyed in: {' '.join(keys)}")


def _about(line: Line, order: Order | None) -> str:
    if order is not None:
        return (
            f"You have called the customer of repair {order.repair}: {repairs.status(order.repair)}"
        )
    if not line.is_telephone:
        return "It comes from a browser, so no keys can be pressed and it cannot be handed over."
    return "The caller's number is known." if line.number else "The caller's number is withheld."


@server.rtc_session(agent_name="phone")
async def answer(ctx: JobContext) -> None:
    """One call, whoever has called whom."""
    settings = settings_of(ctx.proc).phone
    try:
        order = dialling.order_of(ctx.job.metadata)
    except WrongOrderError as error:
        logger.error("nobody can be called", extra={"reason": str(error)})
        ctx.shutdown("wrong order")
        return
    call: AgentSession[None] = build_session(ctx.proc)
    closing.watch(call)
    await ctx.connect()
    if order is None:
        caller = await caller_of(ctx)
        if caller is None:
            logger.info("the caller hung up before the agent had joined")
            ctx.shutdown(CloseReason.PARTICIPANT_DISCONNECTED.value)
            return
        line = Line.of(caller)
    else:
        line = Line(CALLEE, is_telephone=True, number=order.phone_number, status="dialing")
    agent = Workshop(Telephone(ctx.room, ctx.api, line), settings, order)
    options = RoomOptions(participant_identity=line.identity)
    await call.start(agent=agent, room=ctx.room, room_options=options)
    # Where voicefleet goes on with a call, whoever was called has answered.
    if order is None or getattr(ctx, "is_resumed", False):
        silence.watch(call)
    else:
        await call_out(ctx, call, settings, order)


async def caller_of(ctx: JobContext) -> rtc.RemoteParticipant | None:
    """Whoever calls; None where the caller has gone already.

    Over SIP the caller is in the room before the agent is sent for, and LiveKit shows whoever joins
    all who are there. So an empty room is one that the caller has left. LiveKit does not say so: it
    keeps the room, and with it this call's slot, for 20 s more, in case somebody comes back.
    """
    while True:
        try:
            async with asyncio.timeout(CALLER_COMES_WITHIN_SECONDS):
                return await ctx.wait_for_participant()
        except TimeoutError:
            # One who is here, but whose sound is not connected yet, is waited for.
            if not ctx.room.remote_participants:
                return None
        except RuntimeError:
            # LiveKit's, of a room that is closed meanwhile.
            return None


async def call_out(
    ctx: JobContext, call: AgentSession[None], settings: Phone, order: Order
) -> None:
    """Dial, find out who has answered, and say what is to be said to a person or a machine."""
    trunk_id, ring_seconds = settings.trunk_id or "", settings.ring_seconds
    # Detection is there before the first sound, and keeps the agent silent while it rings.
    async with detection(call) as detector:
        try:
            await dialling.dial(
                ctx.api, ctx.room.name, order, trunk_id=trunk_id, ring_seconds=ring_seconds
            )
        except NotAnsweredError as error:
            failure = {"reason": str(error), "sip_status_code": error.sip_status_code}
            logger.warning("not answered", extra=failure)
            closing.hang_up(call)
            return
        answered = await detector.execute()
    if answered.reason == "participant_missing":
        # It gives up after 5 s of ringing without sound (1.8.9, voice/amd/detector.py).
        async with detection(call) as detector:
            answered = await detector.execute()
    logger.info("answered", extra={"by": answered.category.value, "why": answered.reason})
    status = repairs.status(order.repair)
    match answered.category:
        case AMDCategory.MACHINE_VM:
            call.say(VOICEMAIL.format(status=status), allow_interruptions=False)
            closing.hang_up(call)
        case AMDCategory.MACHINE_UNAVAILABLE:
            closing.hang_up(call)
        case AMDCategory.MACHINE_IVR:
            call.generate_reply()
        case _:
            silence.watch(call)
            # The message is the answer to the words with which somebody has answered. LiveKit may
            # have a reply to them ready, or wait for their end still, and would then cut it off.
            await call.interrupt(force=True)
            call.clear_user_turn()
            call.say(CALLING.format(status=status), allow_interruptions=False)


def detection(call: AgentSession[None]) -> AMD:
    """LiveKit's answering machine detection, by the session's own STT and LLM."""
    return AMD(
        call,
        llm=None,
        stt=None,
        participant_identity=CALLEE,
        ivr_detection=False,
        suppress_compatibility_warning=True,
    )
