"""A call in words: each event as it happens, then the conversation as both sides heard it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from voicefleet.lab import timeline as timelines
from voicefleet.lab.timeline import Event, EventKind, Timeline, Turn

QUOTED = {EventKind.CALLER_SPEAKS, EventKind.AGENT_HEARD, EventKind.CALLER_HEARD}
SAME = "word for word"
# Where nothing was expected, no words can be recognised.
OF_THE_AGENT = "a voice; the words are the agent's own account"
# LiveKit's turn detector waits 2.5 s for whoever sounds unfinished to it, and espeak-ng often does.
UNFINISHED_SECONDS = 2.4
UNFINISHED = "  (near 2.7 s, LiveKit's turn detector took this artificial voice for unfinished)"
INDENT = " " * 24


def printer() -> Callable[[Event], None]:
    """Prints each event at once, for `place_call(on_event=…)`; the same error of the agent once."""
    told = set[str]()

    def tell(what: Event) -> None:
        if what.kind is EventKind.AGENT_ERROR:
            text = timelines.short(what.text)
            if text in told:
                return
            told.add(text)
            what = replace(what, text=text)
        print(event(what), flush=True)

    return tell


def event(what: Event) -> str:
    """One line: when, what, and the words."""
    text = f"“{what.text}”" if what.kind in QUOTED and what.text else what.text
    if what.gap_seconds is not None:
        text = f"after {what.gap_seconds:.2f} s"
    return f"{what.at_seconds:7.2f} s  {what.kind.value:<14} {text}".rstrip()


def conversation(timeline: Timeline) -> str:
    """Who said what, and what the other side heard of it; the gap before each answer."""
    lines = [line for turn in timeline.turns for line in _turn(turn)]
    gaps = [g for turn in timeline.turns if (g := turn.gap_seconds) is not None]
    joined = f"agent joined after {timeline.agent_joined_seconds:.2f} s"
    said = [f"\n  {joined}; gaps of the turns: {spread(gaps)}"]
    if any(gap > UNFINISHED_SECONDS for gap in gaps):
        said.append(UNFINISHED)
    return "\n".join([*lines, *said])


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Least, median and most of some figures."""
    if not values:
        return "none"
    shown = f"min {min(values):.2f}, median {median(values):.2f}, max {max(values):.2f} {unit}"
    return shown.rstrip()


def _turn(turn: Turn) -> Iterator[str]:
    if turn.said:
        yield _line("", "caller", turn.said)
        yield f"{INDENT}agent heard {_heard(turn.said, turn.agent_heard)}{_tools(turn)}"
    if not turn.wants_sound:
        return
    gap = f"+{turn.gap_seconds:.2f} s" if turn.gap_seconds is not None else ""
    yield _line(gap, "agent", _said(turn))
    cut = ", interrupted" if turn.was_interrupted else ""
    heard = _heard(turn.expected, turn.heard) if turn.expected else OF_THE_AGENT
    yield f"{INDENT}caller heard {heard}{cut}"


def _said(turn: Turn) -> str:
    """What the agent said, as its caller understood it, or as it tells itself."""
    if not turn.expected or turn.is_understood_by_caller:
        return turn.expected or turn.agent_said
    own = turn.agent_said if turn.answered_at_seconds is not None else ""
    return f"{own or '…'} (expected: {turn.expected})"


def _line(gap: str, who: str, text: str) -> str:
    return f"  {gap:>9}  {who:<10} {text}"


def _heard(said: str, heard: str | None) -> str:
    if heard is None:
        return "… (it shows no transcript)"
    if not heard:
        return "nothing"
    return SAME if said and heard == said else f"“{heard}”"


def _tools(turn: Turn) -> str:
    return f", called {', '.join(turn.tools)}" if turn.tools else ""
