"""What the stand-in model says next: found in the conversation, from the messages alone.

Nothing is remembered between requests, as with the real one. Messages are those of
https://platform.openai.com/docs/api-reference/chat/create
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, takewhile
from typing import Any

from voicefleet.lab import pictures
from voicefleet.lab.conversation import SEEN, Conversation, Exchange, ToolCall, words

Message = Mapping[str, Any]

NOT_UNDERSTOOD = "Sorry, I did not understand that."
BLIND = "I cannot see anything."
ALREADY_ANSWERED = "I have nothing to add to that."
# At least this share of the longer text's words are in both.
MIN_OVERLAP_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class Reply:
    """Either text or tools. The note says what was odd about the request."""

    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    note: str = ""


def reply(
    conversation: Conversation, messages: Sequence[Message], offered: frozenset[str]
) -> Reply:
    """`offered` are the names of the tools that may be called."""
    last_user = _last_index(messages, "user")
    if last_user is None:
        return Reply(conversation.greeting)
    turns = _user_turns(messages)
    exchange = _exchange(conversation, turns)
    if exchange is None and len(turns[-1]) > 1:
        exchange = _exchange(conversation, [*turns[:-1], turns[-1][-1:]])
    if exchange is None:
        return Reply(NOT_UNDERSTOOD, note="no exchange of the conversation begins like that")
    if _is_answered(messages[last_user + 1 :]):
        return Reply(ALREADY_ANSWERED, note="the caller's last words were answered before")
    since = _since_answer(messages)
    return _with_what_is_seen(_next_step(exchange, since, offered), since)


def text_of(message: Message) -> str:
    """The text of a message, whose content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in _parts_of(content))
    return " ".join(text for text in texts if isinstance(text, str))


def _with_what_is_seen(reply: Reply, since: Sequence[Message]) -> Reply:
    """The reply, where it speaks of what the newest picture shows, with that in it."""
    if SEEN not in reply.text:
        return reply
    shown = [url for message in since for url in _pictures_of(message)]
    try:
        seen = pictures.seen_in(shown[-1]) if shown else ""
    except ValueError:
        return Reply(BLIND, note="the newest picture is none")
    if not seen:
        return Reply(BLIND, note=f"nothing can be made out; pictures shown: {len(shown)}")
    return replace(reply, text=reply.text.replace(SEEN, seen))


def _pictures_of(message: Message) -> list[str]:
    shown = (part.get("image_url") for part in _parts_of(message.get("content")))
    return [str(image.get("url")) for image in shown if isinstance(image, dict)]


def _parts_of(content: object) -> list[dict[str, Any]]:
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict)]


def overlap_ratio(one: str, other: str) -> float:
    """How alike two texts are, from 0 to 1, by their words."""
    mine, theirs = Counter(words(one)), Counter(words(other))
    longer = max(mine.total(), theirs.total())
    return (mine & theirs).total() / longer if longer else 0.0


def _next_step(exchange: Exchange, since: Sequence[Message], offered: frozenset[str]) -> Reply:
    called = Counter(_called(since))
    pending: list[ToolCall] = []
    for tool in exchange.tools:
        if called[tool.name]:
            called[tool.name] -= 1
        else:
            pending.append(tool)
    # An agent that has handed over called tools which the next one neither has nor is shown.
    possible = tuple(dropwhile(lambda tool: tool.name not in offered, pending))
    if possible:
        return Reply(tools=tuple(takewhile(lambda tool: tool.name in offered, possible)))
    missing = ", ".join(tool.name for tool in pending)
    return Reply(exchange.agent, note=f"tool not offered: {missing}" if missing else "")


def _exchange(conversation: Conversation, turns: Sequence[Sequence[str]]) -> Exchange | None:
    """The exchange that the last turn begins. Where several begin alike, the turns before say how
    many of them have been had.
    """
    alike = _best(conversation, " ".join(turns[-1]))
    if not alike:
        return None
    earlier = sum(_best(conversation, " ".join(turn)) == alike for turn in turns[:-1])
    return alike[min(earlier, len(alike) - 1)]


def _best(conversation: Conversation, heard: str) -> list[Exchange]:
    ratios = [overlap_ratio(heard, exchange.caller) for exchange in conversation.exchanges]
    best = max(ratios, default=0.0)
    if best < MIN_OVERLAP_RATIO:
        return []
    return [e for e, r in zip(conversation.exchanges, ratios, strict=True) if r == best]


def _user_turns(messages: Sequence[Message]) -> list[list[str]]:
    """What the caller said; messages with no answer between them, tools or not, are one turn."""
    turns: list[list[str]] = []
    is_open = False
    for message in messages:
        if message.get("role") == "user":
            if not is_open:
                turns.append([])
            turns[-1].append(text_of(message))
            is_open = True
        elif message.get("role") == "assistant" and text_of(message):
            is_open = False
    return turns


def _since_answer(messages: Sequence[Message]) -> Sequence[Message]:
    answers = [i for i, m in enumerate(messages) if m.get("role") == "assistant" and text_of(m)]
    return messages[answers[-1] + 1 :] if answers else messages


def _last_index(messages: Sequence[Message], role: str) -> int | None:
    found = [index for index, message in enumerate(messages) if message.get("role") == role]
    return found[-1] if found else None


def _is_answered(since: Sequence[Message]) -> bool:
    spoken = [message for message in since if message.get("role") in ("assistant", "tool")]
    return bool(spoken) and bool(text_of(spoken[-1])) and spoken[-1]["role"] == "assistant"


def _called(since: Sequence[Message]) -> list[str]:
    calls: list[Any] = []
    for message in since:
        of_message = message.get("tool_calls")
        calls += of_message if isinstance(of_message, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    return [str(f.get("name")) for f in functions if isinstance(f, dict)]
