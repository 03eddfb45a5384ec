"""Records a call's conversation from outside the agent file, as it happens: each piece is told to
the pod, which gives it to the job that goes on with the call where this one dies.
"""

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentTask,
    ConversationItemAddedEvent,
    FunctionToolsExecutedEvent,
    UserInputTranscribedEvent,
)
from livekit.agents.llm import AgentHandoff, ChatItem, ChatMessage, FunctionCall
from livekit.agents.voice.events import (
    ToolCallEnded,
    ToolCallStarted,
    ToolExecutionUpdatedEvent,
)

from voicefleet.conversation import agents, userdata
from voicefleet.telemetry.guard import never_raises
from voicefleet.telemetry.messages import LONGEST_IDENTIFIER, LONGEST_PIECE, Kept, KeptKind

logger = logging.getLogger(__name__)

LONGEST_HEARING_CHARACTERS = 1000

Tell = Callable[[Kept], object]
Save = Callable[[AgentSession[Any]], Any]


class Recorder:
    """Belongs to the job's event loop; `tell` must not wait, and a piece for which it returns False
    is told again with the next. `save` is the agent file's own, for what it wants to have again.
    Nothing of it raises into the call.
    """

    def __init__(self, tell: Tell, save: Save | None = None) -> None:
        self._tell, self._save = tell, save
        self._told: dict[tuple[KeptKind, str], str] = {}
        self._untold: dict[tuple[KeptKind, str], Kept] = {}
        self._begun: dict[str, FunctionCall] = {}
        self._too_long = set[KeptKind]()

    def listen(self, session: AgentSession[Any]) -> None:
        """Record this session. Call it once, before its start."""
        session.on("conversation_item_added", partial(self._item_added, session))
        session.on("function_tools_executed", partial(self._tools_executed, session))
        session.on("tool_execution_updated", self._tool_updated)
        session.on("user_input_transcribed", self._heard)
        # A handover is told of before the next agent has the call.
        session.on("agent_state_changed", lambda _: self._state_changed(session))

    def item(self, item: ChatItem) -> None:
        """An item of the history, for the first time or as it is now."""
        self._keep("item", item.id, encoded(item))

    def _item_added(self, session: AgentSession[Any], event: ConversationItemAddedEvent) -> None:
        with never_raises():
            item = event.item
            if isinstance(item, ChatMessage | AgentHandoff):
                self.item(item)
            if isinstance(item, ChatMessage) and item.role == "user":
                self._keep("hearing", "", "")
            self._state_of(session)

    def _tools_executed(
        self, session: AgentSession[Any], event: FunctionToolsExecutedEvent
    ) -> None:
        with never_raises():
            for asked, answered in event.zipped():
                self.item(asked)
                if answered is not None:
                    self.item(answered)
                self._begun.pop(asked.call_id, None)
                self._keep("tool", asked.call_id, "")
            self._state_of(session)

    def _tool_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        """One that has begun, and may never end; or has ended, beside others that have not."""
        with never_raises():
            match event.update:
                case ToolCallStarted(function_call=call):
                    self._begun[call.call_id] = call
                    self._keep("tool", call.call_id, tool_as_json(call))
                case ToolCallEnded(call_id=call_id, message=message, status="done"):
                    if (begun := self._begun.pop(call_id, None)) is not None:
                        self._keep("tool", call_id, tool_as_json(begun, message or ""))

    def _heard(self, event: UserInputTranscribedEvent) -> None:
        with never_raises():
            self._keep("hearing", "", json.dumps(event.transcript[-LONGEST_HEARING_CHARACTERS:]))

    def _state_changed(self, session: AgentSession[Any]) -> None:
        with never_raises():
            self._state_of(session)

    def _state_of(self, session: AgentSession[Any]) -> None:
        """Which agent has the call, and the userdata, where they have changed."""
        data = _userdata_of(session)
        agent = session.current_agent
        # A task goes back to the agent that began it, which has it begun again.
        if not isinstance(agent, AgentTask):
            self._keep("agent", "", json.dumps(agents.described(agent, data)))
        self._keep("task", "", json.dumps(agent.id) if isinstance(agent, AgentTask) else "")
        if data is not None:
            fields, lost = userdata.saved(data)
            self._keep("userdata", "", json.dumps({"fields": fields, "lost": lost}))
        if self._save is not None:
            self._keep("saved", "", self._saved(self._save, session))

    def _saved(self, save: Save, session: AgentSession[Any]) -> str:
        try:
            return json.dumps(save(session))
        except Exception as error:
            # Its words may be the caller's.
            fields = {"error": type(error).__name__}
            logger.warning("save_call failed: nothing is saved", extra=fields)
            return ""

    def _keep(self, kind: KeptKind, key: str, data: str) -> None:
        key = key[:LONGEST_IDENTIFIER]
        if self._told.get((kind, key), "") == data:
            return
        if len(data) > LONGEST_PIECE:
            # What was before is no longer true.
            data = ""
            if kind not in self._too_long:
                self._too_long.add(kind)
                logger.warning("a piece of the conversation is too long", extra={"kind": kind})
        if not data:
            self._told.pop((kind, key), None)
        elif kind != "item":
            self._told[kind, key] = data
        # As it is now, and in its place.
        self._untold[kind, key] = Kept(kind=kind, key=key, data=data)
        self._tell_all()

    def _tell_all(self) -> None:
        for at, piece in list(self._untold.items()):
            if self._tell(piece) is False:
                return
            del self._untold[at]


def tool_as_json(call: FunctionCall, output: str | None = None) -> str:
    """A call of a tool, with what came of it where it has ended."""
    done = {} if output is None else {"output": output[: LONGEST_PIECE // 8]}
    return json.dumps({"call": json.loads(encoded(call)), **done})


def encoded(item: ChatItem) -> str:
    """An item as JSON, without what is no text: pictures and sound; a long text is cut."""
    kept = item.model_dump(mode="json", exclude_none=True, exclude={"metrics"})
    if isinstance(item, ChatMessage):
        kept["content"] = [part for part in item.content if isinstance(part, str)]
    text = json.dumps(kept)
    for field in ("content", "output", "arguments"):
        if len(text) > LONGEST_PIECE and field in kept:
            kept[field] = _cut(kept[field])
            text = json.dumps(kept)
    return text


def _cut(value: Any) -> Any:
    longest = LONGEST_PIECE // 8
    if isinstance(value, list):
        return [f"{part[:longest]}…" for part in value[:1]]
    # What a tool was given is JSON itself.
    return "{}" if value.startswith("{") else f"{value[:longest]}…"


def _userdata_of(session: AgentSession[Any]) -> Any:
    try:
        return session.userdata
    except ValueError:
        return None
