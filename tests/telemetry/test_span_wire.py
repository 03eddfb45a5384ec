"""Spans cross from the call to its pod as they were, and nothing else gets across."""

import base64
import random
import zlib

import pytest

from tests.telemetry.made_spans import span
from voicefleet.telemetry import span_wire
from voicefleet.telemetry.messages import LONGEST_SPAN_DATA
from voicefleet.telemetry.span_wire import MalformedSpansError


def test_a_span_arrives_as_it_was() -> None:
    sent = span(parent=9, events=("accepted",), text="a", number=2, ratio=0.5, flag=True)
    (text,) = span_wire.encode([sent])
    (got,) = span_wire.decode(text)
    assert (got.name, got.start_time, got.end_time) == (sent.name, sent.start_time, sent.end_time)
    assert got.context == sent.context
    assert got.parent == sent.parent
    assert dict(got.attributes or {}) == dict(sent.attributes or {})
    assert [event.name for event in got.events] == ["accepted"]
    assert got.resource.attributes["service.name"] == "voicefleet"
    assert got.status.status_code is sent.status.status_code
    # What came out goes in again: the exporter takes it as one of its own.
    assert list(span_wire.encode([got])) == [text]


def test_many_spans_are_spread_over_lines_that_each_fit() -> None:
    noise = random.Random(1)
    sent = [span(span_id=n + 1, noise=noise.randbytes(2000).hex()) for n in range(100)]
    texts = list(span_wire.encode(sent))
    assert len(texts) > 1
    assert all(len(text) <= LONGEST_SPAN_DATA for text in texts)
    assert sum(len(span_wire.decode(text)) for text in texts) == 100


def test_one_span_that_cannot_fit_costs_only_itself() -> None:
    noise = random.Random(1)
    sent = [span(span_id=1), span(span_id=2, noise=noise.randbytes(200_000).hex())]
    got = [s for text in span_wire.encode(sent) for s in span_wire.decode(text)]
    assert len(got) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64!",
        base64.b64encode(b"not compressed").decode(),
        base64.b64encode(zlib.compress(b"not protobuf")).decode(),
        base64.b64encode(zlib.compress(bytes(100_000_000), 9)).decode(),
    ],
    ids=["empty", "no-base64", "no-zlib", "no-protobuf", "bomb"],
)
def test_anything_else_is_malformed_and_never_more(text: str) -> None:
    with pytest.raises(MalformedSpansError):
        span_wire.decode(text)
