"""LiveKit still sets up the log as we rely on: one handler, which writes JSON or text."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from voicefleet.livekit_compat import logging as livekit_logging


@pytest.fixture(autouse=True)
def log_put_back() -> Iterator[None]:
    root, livekit = logging.getLogger(), logging.getLogger("livekit")
    before = list(root.handlers), root.level, livekit.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    livekit.setLevel(before[2])


def lines_of(handler: logging.Handler, **fields: object) -> str:
    record = logging.LogRecord("name", logging.INFO, "f.py", 1, "an event", (), None)
    vars(record).update(fields)
    return handler.format(record)


def test_it_adds_one_handler_on_standard_output_at_this_level() -> None:
    (handler,) = livekit_logging.add_handler("WARNING", is_text=False)
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout
    assert logging.getLogger().level == logging.WARNING


def test_json_has_the_event_the_level_and_every_field() -> None:
    (handler,) = livekit_logging.add_handler("INFO", is_text=False)
    written = json.loads(lines_of(handler, job_id="AJ_1", deep={"a": [1]}))
    assert (written["message"], written["level"]) == ("an event", "INFO")
    assert (written["job_id"], written["deep"]) == ("AJ_1", {"a": [1]})


def test_text_has_the_event_and_every_field() -> None:
    (handler,) = livekit_logging.add_handler("INFO", is_text=True)
    written = lines_of(handler, job_id="AJ_1")
    assert "an event" in written
    assert "AJ_1" in written
