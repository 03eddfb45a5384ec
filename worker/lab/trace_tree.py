"""A call's trace as a tree for the terminal: what ran under what, when, and for how long."""

from collections.abc import Iterator, Sequence

from worker.lab.otlp_receiver import ReceivedSpan

# What is worth a line's end, by the last part of its name.
SHOWN = (
    "voicefleet.outcome",
    "voicefleet.cause",
    "voicefleet.slot",
    "voicefleet.join_seconds",
    "lk.e2e_latency",
    "lk.transcription_delay",
    "lk.end_of_turn_delay",
    "lk.response.ttft",
    "lk.response.ttfb",
    "lk.interrupted",
    "lk.eou.outcome",
    "lk.function_tool.name",
    "lk.shutdown.reason",
    "gen_ai.request.model",
)


def tree(spans: Sequence[ReceivedSpan]) -> str:
    """One line a span, in order of time; one whose parent never came stands at the top, marked."""
    if not spans:
        return "no span came"
    began = min(span.started_at for span in spans)
    known = {span.span_id for span in spans}
    tops = [span for span in spans if span.parent_id not in known]
    width = max(len(name) + 2 * depth for span in tops for depth, name in _names(span, spans, 0))
    return "\n".join(
        line for top in _in_time(tops) for line in _lines(top, spans, began, width, depth=0)
    )


def _names(
    span: ReceivedSpan, spans: Sequence[ReceivedSpan], depth: int
) -> Iterator[tuple[int, str]]:
    yield depth, span.name
    for child in _children(span, spans):
        yield from _names(child, spans, depth + 1)


def _lines(
    span: ReceivedSpan, spans: Sequence[ReceivedSpan], began: float, width: int, *, depth: int
) -> Iterator[str]:
    name = f"{'  ' * depth}{span.name}"
    at = span.started_at - began
    yield f"{at:8.3f} s {span.seconds:9.3f} s  {name:<{width}}  {_end(span, depth)}".rstrip()
    for child in _children(span, spans):
        yield from _lines(child, spans, began, width, depth=depth + 1)


def _end(span: ReceivedSpan, depth: int) -> str:
    shown = [
        f"{key.rpartition('.')[2]}={_short(value)}"
        for key in SHOWN
        if (value := span.attributes.get(key)) is not None and value is not False
    ]
    if depth == 0 and span.parent_id:
        shown.append("(its parent never ended)")
    if span.is_error:
        shown.append("ERROR")
    return " ".join(shown)


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _children(span: ReceivedSpan, spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    return _in_time([child for child in spans if child.parent_id == span.span_id])


def _in_time(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    return sorted(spans, key=lambda span: (span.started_at, -span.ended_at))
