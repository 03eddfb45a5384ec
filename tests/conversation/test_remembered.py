"""What a job records, as the next one reads it."""

import json

import pytest
from livekit.agents.llm import ChatMessage, ChatRole, FunctionCall, FunctionCallOutput, ImageContent

from voicefleet.conversation import record
from voicefleet.conversation.remembered import UNKNOWN_RESULT, Remembered
from voicefleet.telemetry.messages import LONGEST_PIECE, Kept


def message(role: ChatRole, text: str, at: float) -> ChatMessage:
    return ChatMessage(role=role, content=[text], created_at=at)


def test_the_history_is_what_was_said_and_done_in_its_order() -> None:
    kept = list[Kept]()
    recorder = record.Recorder(kept.append)
    call = FunctionCall(call_id="c1", name="book", arguments='{"day": "monday"}', created_at=2.0)
    output = FunctionCallOutput(
        call_id="c1", name="book", output="Booked.", is_error=False, created_at=2.5
    )
    for item in (message("user", "Book.", 1.0), call, output, message("assistant", "Done.", 3.0)):
        recorder.item(item)
    items = Remembered(tuple(kept), 0.5).history().items
    assert [item.type for item in items] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert (items[1], items[2]) == (call, output)


def test_a_tool_that_was_begun_and_has_no_result_says_so() -> None:
    call = FunctionCall(call_id="c1", name="book", arguments="{}", created_at=2.0)
    begun = Kept(kind="tool", key="c1", data=record.tool_as_json(call))
    ended = Kept(kind="tool", key="c2", data=record.tool_as_json(call, "Booked."))
    first, second = Remembered((begun,), 0.5).history().items
    assert (first.type, second.type) == ("function_call", "function_call_output")
    assert isinstance(second, FunctionCallOutput)
    assert (second.output, second.is_error) == (UNKNOWN_RESULT, True)
    done = Remembered((ended,), 0.5).history().items[-1]
    assert isinstance(done, FunctionCallOutput)
    assert (done.output, done.is_error) == ("Booked.", False)


def test_a_piece_that_cannot_be_read_is_left_out_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = list[Kept]()
    record.Recorder(kept.append).item(message("user", "Book.", 1.0))
    pieces = (*kept, Kept(kind="item", key="x", data='{"Anna'), Kept(kind="hearing", data='"Anna'))
    remembered = Remembered(pieces, 0.5)
    assert len(remembered.history().items) == 1
    assert remembered.one("hearing") is None
    assert "cannot be read" in caplog.text
    assert "Anna" not in caplog.text


def test_what_was_dropped_is_told_with_the_next_as_it_is_then_and_in_its_order() -> None:
    """Else a pod that had stood still for a moment would bring back a call with a hole."""
    kept, has_room = list[Kept](), [True, False, False, True, True, True]

    def tell(piece: Kept) -> bool:
        if has_room.pop(0):
            kept.append(piece)
            return True
        return False

    recorder = record.Recorder(tell)
    said = [message("user", f"{number}.", float(number)) for number in range(3)]
    for one in said:
        recorder.item(one)
    assert len(kept) == 1
    said[1].content = ["1, at last."]
    recorder.item(said[1])
    assert Remembered(tuple(kept), 0.5).history().items == said
    assert len(kept) == 3


def test_an_item_is_text_and_never_too_long() -> None:
    picture = ImageContent(image="data:image/jpeg;base64,AAAA")
    seen = ChatMessage(role="user", content=["Look.", picture], created_at=1.0)
    assert json.loads(record.encoded(seen))["content"] == ["Look."]
    for item in (
        message("user", "é" * 100_000, 1.0),
        FunctionCall(call_id="c", name="n", arguments=json.dumps({"a": "x" * 100_000})),
        FunctionCallOutput(call_id="c", name="n", output="x" * 100_000, is_error=False),
    ):
        assert len(record.encoded(item)) <= LONGEST_PIECE
