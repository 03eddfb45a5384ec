"""What a pod keeps of a conversation: enough, in order, and no more than its limit."""

import pytest

from voicefleet.conversation import memory
from voicefleet.conversation.memory import Conversation
from voicefleet.telemetry.messages import LONGEST_PIECE, Kept, KeptKind


def item(key: str, data: str = "{}") -> Kept:
    return Kept(kind="item", key=key, data=data)


def test_items_are_kept_in_their_order_and_the_newest_of_each_other_kind() -> None:
    conversation = Conversation()
    for piece in (
        item("one"),
        Kept(kind="agent", data='"desk"'),
        item("two"),
        Kept(kind="agent", data='"billing"'),
        item("one", '{"interrupted": true}'),
    ):
        conversation.keep(piece)
    kept = [(piece.kind, piece.key, piece.data) for piece in conversation]
    assert kept == [
        ("item", "one", '{"interrupted": true}'),
        ("agent", "", '"billing"'),
        ("item", "two", "{}"),
    ]


def test_a_piece_without_data_is_forgotten() -> None:
    conversation = Conversation()
    conversation.keep(Kept(kind="tool", key="call", data="{}"))
    conversation.keep(Kept(kind="tool", key="call"))
    conversation.keep(Kept(kind="hearing"))
    assert list(conversation) == []


def test_the_oldest_items_go_first_and_the_last_is_never_lost() -> None:
    conversation = Conversation()
    conversation.keep(Kept(kind="userdata", data="{}"))
    long = "x" * LONGEST_PIECE
    for number in range(100):
        conversation.keep(item(str(number), long))
    keys = [piece.key for piece in conversation if piece.kind == "item"]
    assert keys == [str(n) for n in range(100 - len(keys), 100)]
    held = sum(len(piece.data) for piece in conversation)
    assert memory.MOST_BYTES * 0.9 < held < memory.MOST_BYTES
    assert any(piece.kind == "userdata" for piece in conversation)


@pytest.mark.parametrize("kind", ["item", "tool"])
def test_pieces_without_end_are_not_kept_without_end(kind: KeptKind) -> None:
    """Agent code runs in the process that tells them."""
    conversation = Conversation()
    for number in range(10_000):
        conversation.keep(Kept(kind=kind, key=str(number), data="1"))
    assert len(conversation) <= memory.MOST_BYTES // memory.PIECE_BYTES
    with pytest.raises(ValueError, match="userdata has a key"):
        conversation.keep(Kept(kind="userdata", key="another", data="1"))
