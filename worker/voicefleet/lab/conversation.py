"""The script of a call: what the caller says, which tools the stand-in LLM then calls, and what it
answers.

One TOML file serves all three who need it: the caller (what to say and when), the stand-in LLM
(what to answer) and both recognisers (the grammar of phrases to expect).
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from voicefleet import errors

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PLACEHOLDER = re.compile(rf"\{{({'|'.join(WEEKDAYS)})\}}")

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
)


def in_words(text: str) -> str:
    """The text with its days as people say them."""
    return _filled(text, lambda day: f"{day:%A} the {_ordinal(day.day)} of {day:%B}")


def as_dates(arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool's arguments with their days as ISO dates."""
    return {
        name: _filled(value, date.isoformat) if isinstance(value, str) else value
        for name, value in arguments.items()
    }


def next_day(weekday: str, today: date) -> date:
    """The first such day after today."""
    ahead = (WEEKDAYS.index(weekday) - today.weekday() - 1) % len(WEEKDAYS) + 1
    return today + timedelta(days=ahead)


def _filled(text: str, write: Callable[[date], str]) -> str:
    # The agents' own clock, unless VOICEFLEET_TIMEZONE says otherwise.
    today = datetime.now(UTC).date()
    return PLACEHOLDER.sub(lambda found: write(next_day(found[1], today)), text)


def _ordinal(number: int) -> str:
    """From 1 to 31."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    tens = "thirty" if number > 30 else "twenty"
    return "thirtieth" if number == 30 else f"{tens} {ORDINALS[number % 10 - 1]}"


FORM = "write it as docs/your-agent-without-keys.md shows"

KEYS = ("agent", "greeting", "exchange", "only_writes", "telephone")
EXCHANGE_KEYS = ("caller", "agent", "tools", "interrupts_after_seconds", "shows")
TOOL_KEYS = ("name", "arguments")

SEEN = "{seen}"
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the stand-in LLM calls before it answers; `arguments` is what a real model would
    send, as JSON.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of each side.

    `interrupts_after_seconds` makes the caller speak this long after the agent's previous answer
    became audible, instead of waiting for its end. `shows` is what the caller holds before the
    camera meanwhile; the stand-in LLM puts what it sees in the place of SEEN in `agent`.
    """

    caller: str
    agent: str
    tools: tuple[ToolCall, ...] = ()
    interrupts_after_seconds: float | None = None
    shows: str = ""

    @property
    def expected(self) -> str:
        """What the agent says if it sees what it is shown."""
        return self.agent.replace(SEEN, self.shows)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole call. `agent` is the value of VOICEFLEET_AGENT it is written for, or empty;
    `greeting` is what the agent opens with. One that `only_writes` never speaks: its answer is what
    it writes down. The caller has a `telephone`, and not a browser, where its number is given.
    """

    agent: str
    greeting: str
    exchanges: tuple[Exchange, ...]
    only_writes: bool = False
    telephone: str = ""

    @property
    def has_camera(self) -> bool:
        return any(exchange.shows for exchange in self.exchanges)

    @property
    def caller_phrases(self) -> tuple[str, ...]:
        """Every sentence that the caller may say: what the agent's recogniser listens for."""
        return tuple(s for exchange in self.exchanges for s in sentences(exchange.caller))

    @property
    def agent_phrases(self) -> tuple[str, ...]:
        """Every sentence that the agent may say: what the caller listens for."""
        spoken = (self.greeting, *(exchange.expected for exchange in self.exchanges))
        return tuple(s for text in spoken for s in sentences(text))


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, in order, with their punctuation."""
    return tuple(s.strip() for s in SENTENCE_END.split(text) if s.strip())


def words(text: str) -> tuple[str, ...]:
    """The words of a text as a recogniser knows them: lower case, apostrophes kept, no other
    punctuation.
    """
    return tuple(re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower()))


def load(name_or_path: str) -> Conversation:
    """A conversation that ships with voicefleet, by its name, or yours, by its TOML file's path.

    :raises UsageError: if there is no such file, or it is not a conversation.
    """
    path = Path(name_or_path)
    shipped = resources.files(__package__) / "conversations" / f"{name_or_path}.toml"
    source = path if path.suffix == ".toml" else shipped
    try:
        return parse(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.UsageError(
            f"there is no conversation {name_or_path!r}",
            fix=f"give the path of a .toml file, or one of: {', '.join(shipped_names())}",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise errors.UsageError(f"{name_or_path} is not TOML: {error}", fix=FORM) from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise errors.UsageError(
            f"{name_or_path} is not a conversation: {what}", fix=FORM
        ) from error


def parse(text: str) -> Conversation:
    """A conversation from the text of its TOML file.

    :raises KeyError: without a greeting, exchanges, or the caller's words in one.
    :raises ValueError: if it is no TOML, or has a key that nothing here is called.
    """
    document = tomllib.loads(text)
    _require_known(document, KEYS, "it")
    return Conversation(
        agent=document.get("agent", ""),
        greeting=document["greeting"],
        exchanges=tuple(_exchange(n, table) for n, table in enumerate(document["exchange"], 1)),
        only_writes=document.get("only_writes", False),
        telephone=document.get("telephone", ""),
    )


def shipped_names() -> tuple[str, ...]:
    folder = resources.files(__package__) / "conversations"
    return tuple(
        sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    )


def _require_known(table: dict[str, Any], known: Sequence[str], whose: str) -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"{whose} has no {key!r}; {meant}")


def _exchange(number: int, table: dict[str, Any]) -> Exchange:
    _require_known(table, EXCHANGE_KEYS, f"exchange {number}")
    for tool in table.get("tools", ()):
        _require_known(tool, TOOL_KEYS, f"a tool of exchange {number}")
    tools = tuple(
        ToolCall(tool["name"], as_dates(tool.get("arguments", {})))
        for tool in table.get("tools", ())
    )
    said, answered = in_words(table["caller"]), in_words(table.get("agent", ""))
    interrupts, shows = table.get("interrupts_after_seconds"), table.get("shows", "")
    return Exchange(said, answered, tools, interrupts, shows)
