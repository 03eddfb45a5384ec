"""What a caller heard."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """A whole call, as its caller heard it; `answers` counts those after the greeting. Seconds to
    `joined` and `first_sound` count from the dispatch.
    """

    joined_seconds: float | None
    first_sound_seconds: float | None = None
    answers: int = 0
    longest_silence_seconds: float = 0.0
    is_lost: bool = False

    @property
    def is_refused(self) -> bool:
        """Nobody took it. LiveKit tells the caller nothing: it is silence, too."""
        return self.joined_seconds is None
