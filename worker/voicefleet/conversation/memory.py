"""What the pod keeps of a call's conversation, for the job that goes on with it where one dies."""

from collections.abc import Iterator

from voicefleet.telemetry.messages import Kept, KeptKind

# Of one call, with what each piece takes beside its text. An hour of talk is some 500 items of 300
# bytes.
MOST_BYTES = 512 * 1024
PIECE_BYTES = 512

# Of the others there is one each.
BY_KEY: tuple[KeptKind, ...] = ("item", "tool")


class Conversation:
    """The pieces that a job has told, in their order; what they hold is opaque here. Where there
    are too many, the oldest items and tools go first, and the last is never lost. Of each other
    kind the newest counts. Belongs to the parent's event loop.
    """

    def __init__(self) -> None:
        self._pieces: dict[tuple[KeptKind, str], Kept] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._pieces.values()))

    def keep(self, piece: Kept) -> None:
        """Remember this piece instead of the one before of its kind and key; without data, none.

        :raises ValueError: if a piece of which there is one has a key.
        """
        if piece.key and piece.kind not in BY_KEY:
            raise ValueError(f"{piece.kind} has a key")
        key = (piece.kind, piece.key)
        # An item that is told again, because it was interrupted, keeps its place.
        if (before := self._pieces.get(key)) is not None:
            self._bytes -= _bytes(before)
        if not piece.data:
            self._pieces.pop(key, None)
            return
        self._pieces[key] = piece
        self._bytes += _bytes(piece)
        while self._bytes > MOST_BYTES and (oldest := self._oldest(but=key)) is not None:
            self._bytes -= _bytes(self._pieces.pop(oldest))

    def _oldest(self, *, but: tuple[KeptKind, str]) -> tuple[KeptKind, str] | None:
        return next((key for key in self._pieces if key[0] in BY_KEY and key != but), None)


def _bytes(piece: Kept) -> int:
    return PIECE_BYTES + len(piece.key) + len(piece.data)
