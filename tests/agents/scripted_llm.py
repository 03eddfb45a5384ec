"""An LLM that says what a test has written for it, through LiveKit's real interface."""

import json
from dataclasses import dataclass, field
from typing import Any, Never

from livekit.agents import APIConnectionError, APIConnectOptions, llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` may be text, to send what is not JSON."""

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BreaksOff:
    """The beginning of an answer, after which the provider is gone."""

    text: str


Reply = str | Call | tuple[Call, ...] | BreaksOff | Exception


class ScriptedLLM(llm.LLM[Never]):
    """Gives one reply per request, in order; an exception is raised as a provider would.

    `requests` keeps what each request contained, for assertions.
    """

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self.replies = list(replies)
        self.requests: list[llm.ChatContext] = []

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> "ScriptedStream":
        self.requests.append(chat_ctx.copy())
        reply = self.replies.pop(0) if self.replies else AssertionError("the script has ended")
        return ScriptedStream(self, reply, chat_ctx, tools or [], conn_options)


class ScriptedStream(llm.LLMStream):
    """One reply, as one chunk."""

    def __init__(
        self,
        model: ScriptedLLM,
        reply: Reply,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(model, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)
        self._reply = reply
        self._number = len(model.requests)

    async def _run(self) -> None:
        if isinstance(self._reply, Exception):
            raise self._reply
        self._event_ch.send_nowait(
            llm.ChatChunk(id=f"reply-{self._number}", delta=self._delta(self._reply))
        )
        if isinstance(self._reply, BreaksOff):
            raise APIConnectionError("the provider is gone", retryable=False)

    def _delta(self, reply: str | Call | tuple[Call, ...] | BreaksOff) -> llm.ChoiceDelta:
        match reply:
            case str(text) | BreaksOff(text):
                return llm.ChoiceDelta(role="assistant", content=text)
            case Call():
                return llm.ChoiceDelta(role="assistant", tool_calls=[self._call(reply)])
            case calls:
                together = [self._call(call, number) for number, call in enumerate(calls)]
                return llm.ChoiceDelta(role="assistant", tool_calls=together)

    def _call(self, call: Call, number: int = 0) -> llm.FunctionToolCall:
        arguments = call.arguments
        return llm.FunctionToolCall(
            name=call.name,
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            call_id=f"call-{self._number}-{number}",
        )
