"""What Deepgram's answers are made of, live or not."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from worker.lab import conversation
from worker.lab.recognition import HeardWord

PROVIDER = "deepgram"
# A recogniser that knows every sentence is never unsure.
CONFIDENCE = 0.99


def alternative(text: str, words: Sequence[HeardWord]) -> dict[str, Any]:
    """What both kinds of answer call an alternative."""
    return {
        "transcript": text,
        "confidence": CONFIDENCE if text else 0.0,
        "words": [
            {
                "word": " ".join(conversation.words(word.text)),
                "punctuated_word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "confidence": CONFIDENCE,
            }
            for word in words
        ],
    }


def metadata(request_id: str, seconds: float, sound: bytes = b"") -> dict[str, Any]:
    return {
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": hashlib.sha256(sound).hexdigest(),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": round(seconds, 3),
        "channels": 1,
    }
