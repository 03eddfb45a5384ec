"""A call in words: each event as it happens, and what it came to at the end."""

from collections.abc import Callable, Sequence

from worker.lab.timeline import Event, EventKind, Timeline, Turn

QUOTED = {EventKind.CALLER_SPEAKS, EventKind.AGENT_HEARD, EventKind.AGENT_SPEAKS}


def event(what: Event) -> str:
    """One line: when, what, and the words."""
    text = f"“{what.text}”" if what.kind in QUOTED and what.text else what.text
    return f"{what.at_seconds:7.2f} s  {what.kind.value:<14} {text}".rstrip()


def printer() -> Callable[[Event], None]:
    """Prints each event at once, for `place_call(on_event=…)`."""
    return lambda what: print(event(what), flush=True)


def summary(timeline: Timeline) -> str:
    """The turns side by side: what was said, what the other side heard, and the gap."""
    lines = [
        "  turn  gap      the caller said → the agent heard / the agent said → the caller heard"
    ]
    for number, turn in enumerate(timeline.turns):
        lines += _turn(number, turn)
    gaps = [g for turn in timeline.turns if (g := turn.gap_seconds) is not None]
    lines.append(f"  joined in {timeline.agent_joined_seconds:.2f} s; gaps {_range(gaps)}")
    return "\n".join(lines)


def _turn(number: int, turn: Turn) -> list[str]:
    gap = f"{turn.gap_seconds:.2f} s" if turn.gap_seconds is not None else "–"
    tools = f"  (tools: {', '.join(turn.tools)})" if turn.tools else ""
    cut = "  (interrupted)" if turn.was_interrupted else ""
    lines = []
    if turn.said:
        heard = turn.agent_heard if turn.agent_heard is not None else "(it shows no transcript)"
        lines.append(f"  {number:>4}  {'':8} caller {turn.said!r} → {heard!r}")
    said = turn.expected or turn.agent_said
    lines.append(f"  {'':4}  {gap:<8} agent  {said!r} → {turn.heard!r}{tools}{cut}")
    return lines


def _range(values: Sequence[float]) -> str:
    if not values:
        return "none"
    middle = sorted(values)[len(values) // 2]
    return f"{min(values):.2f} to {max(values):.2f} s, median {middle:.2f} s"
