"""LiveKit's side of one call, seen from its job: who in a room is a caller, when a session starts,
whether it ends where its caller hangs up, and the reasons that LiveKit gives for the end of a job.

Only the option and the reasons are private. `AgentSession.start` is public, and replaced while a
call lasts: LiveKit tells of a job's first session alone (`JobContext.primary_session`).
"""

import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, CloseReason
from livekit.agents.types import ATTRIBUTE_PUBLISH_ON_BEHALF
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS
from livekit.protocol import models

logger = logging.getLogger(__name__)

# What LiveKit gives a job as the reason of its end (livekit-agents 1.8.9,
# ipc/job_proc_lazy_main.py): its room went away, the server ended it, its entrypoint raised. The
# first two race where a caller hangs up.
ROOM_WENT = ("room disconnected", "parent process shutdown")
# Beside the last, LiveKit's word for a session that failed, from agents that end the job
# themselves.
FAILED = ("job crashed", CloseReason.ERROR.value)

# How a participant leaves who has hung up: LiveKit closes the session then.
HUNG_UP = frozenset(DEFAULT_CLOSE_ON_DISCONNECT_REASONS)

Prepare = Callable[[AgentSession[Any], Agent], Awaitable[Agent]]

# Agents, and recorders.
NO_CALLERS: tuple[int, ...] = (
    rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
    rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS,
)


def is_caller(who: rtc.Participant | models.ParticipantInfo) -> bool:
    """Whether an agent may serve this participant: not one who only listens, unseen by the room."""
    is_hidden = isinstance(who, models.ParticipantInfo) and who.permission.hidden
    return who.kind not in NO_CALLERS and not is_avatar(who) and not is_hidden


def is_avatar(who: rtc.Participant | models.ParticipantInfo) -> bool:
    """Whether it is somebody who speaks on behalf of an agent, and leaves when the agent has."""
    return ATTRIBUTE_PUBLISH_ON_BEHALF in who.attributes


def ends_with_its_caller(session: AgentSession[Any]) -> bool:
    """Whether LiveKit closes it where the caller hangs up; an agent file may have it wait for one
    who comes back (`close_on_disconnect` of its RoomOptions).
    """
    with contextlib.suppress(RuntimeError):
        return session.room_io._options.close_on_disconnect
    # Started without a room: LiveKit watches over no caller.
    return False


def is_waiting(session: AgentSession[Any]) -> bool:
    """Whether it waits for somebody to come into its room."""
    with contextlib.suppress(RuntimeError):
        return session.room_io.linked_participant is None
    # Started without a room.
    return False


def watch_starts(
    started: Callable[[AgentSession[Any]], None], prepared: Prepare | None = None
) -> Callable[[], None]:
    """Call `started` right before each session starts, from now on until what is returned is
    called; again for one that is started again. It starts with the agent that `prepared` makes of
    its own. An error of either is logged, and the session starts.
    """
    start: Any = AgentSession.start

    @functools.wraps(start)
    async def watched(session: AgentSession[Any], agent: Agent, **named: Any) -> Any:
        try:
            started(session)
            if prepared is not None:
                agent = await prepared(session, agent)
        except Exception:
            logger.exception("the start of a session was not seen")
        with _opening_is(None):
            return await start(session, agent, **named)

    def stop() -> None:
        AgentSession.start = start  # type: ignore[method-assign]

    AgentSession.start = watched  # type: ignore[method-assign,assignment]
    return stop


def skip_echo_warmup(session: AgentSession[Any]) -> None:
    """Have the caller interrupt from the first moment: LiveKit lets a new session's echo
    cancellation warm up for 3 s, in which interruptions wait.
    """
    session._aec_warmup_remaining = 0.0
    session._aec_warmup_duration_explicit = True
    session._opts.aec_warmup_duration = None


@contextlib.contextmanager
def openings_replaced(
    is_opening: Callable[[], bool], handle: Callable[[], SpeechHandle | None]
) -> Iterator[None]:
    """What this task, or one that it begins, says or asks for, as long as it is its opening, is not
    said: it gets this handle, or one of something that is over. Not a session that it starts.
    """
    for name in ("say", "generate_reply"):
        if (real := getattr(AgentSession, name)) not in _replaced:
            replaced = _unless_quiet(real)
            _replaced.add(replaced)
            setattr(AgentSession, name, replaced)
    with _opening_is((is_opening, handle)):
        yield


Opening = tuple[Callable[[], bool], Callable[[], SpeechHandle | None]]

# Whose opening this is, in a task and in those that it begins; and what was put in the place of
# LiveKit's methods, for good: a process has one call.
_opening = ContextVar[Opening | None]("opening", default=None)
_replaced = set[Any]()


@contextlib.contextmanager
def _opening_is(opening: Opening | None) -> Iterator[None]:
    before = _opening.set(opening)
    try:
        yield
    finally:
        _opening.reset(before)


def _unless_quiet(real: Any) -> Any:
    @functools.wraps(real)
    def opened(session: AgentSession[Any], *arguments: Any, **named: Any) -> SpeechHandle:
        opening = _opening.get()
        if opening is None or not opening[0]():
            spoken: SpeechHandle = real(session, *arguments, **named)
            return spoken
        if (known := opening[1]()) is not None:
            return known
        over = SpeechHandle.create()
        over._mark_done()
        return over

    return opened
