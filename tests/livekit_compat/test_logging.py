"""LiveKit still sets up the log as we rely on: one handler, which writes JSON or text."""

import inspect
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from livekit.agents.ipc import supervised_proc

from tests.livekit_compat.contract import expect, expected_to_work
from voicefleet.livekit_compat import logging as livekit_logging

WHERE = "See livekit_compat/logging.py."


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


def added(level: str, *, is_text: bool) -> logging.Handler:
    with expected_to_work(f"LiveKit's cli.log.setup_logging is called in another way. {WHERE}"):
        handlers = livekit_logging.add_handler(level, is_text=is_text)
    expect(
        len(handlers) == 1,
        f"LiveKit's setup_logging adds {len(handlers)} handlers to the root logger, and not one:"
        f" each line of the log would appear so many times. {WHERE}",
    )
    return handlers[0]


def test_it_adds_one_handler_on_standard_output_at_this_level() -> None:
    handler = added("WARNING", is_text=False)
    expect(
        isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout,
        "LiveKit no longer logs to standard output: whatever collects a pod's log gets none."
        f" {WHERE}",
    )
    expect(
        logging.getLogger().level == logging.WARNING,
        "LiveKit's setup_logging no longer sets the level: VOICEFLEET_LOG_LEVEL does nothing."
        f" {WHERE}",
    )


def test_each_process_does_not_tell_of_its_selector() -> None:
    """It did in `dev`, before the first word of the agent file."""
    added("DEBUG", is_text=True)
    assert not logging.getLogger("asyncio").isEnabledFor(logging.DEBUG)


def test_json_has_the_event_the_level_and_every_field() -> None:
    written = json.loads(lines_of(added("INFO", is_text=False), job_id="AJ_1", deep={"a": [1]}))
    expected = {"message": "an event", "level": "INFO", "job_id": "AJ_1", "deep": {"a": [1]}}
    expect(
        written.items() >= expected.items(),
        f"LiveKit's JSON has other fields: queries of the log find nothing. {WHERE} {written}",
    )


def test_text_has_the_event_and_every_field() -> None:
    written = lines_of(added("INFO", is_text=True), job_id="AJ_1")
    expect(
        "an event" in written and "AJ_1" in written,
        f"LiveKit's text leaves out fields of a record. {WHERE} It has: {written}",
    )


def test_text_has_colours_at_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord("name", logging.INFO, "f.py", 1, "an event", (), None)
    in_a_file = added("INFO", is_text=True).format(record)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    at_a_terminal = added("INFO", is_text=True).format(record)
    assert "\x1b" not in in_a_file
    expect(
        livekit_logging.COLOUR.sub("", at_a_terminal) == in_a_file and "\x1b" in at_a_terminal,
        f"LiveKit's text no longer differs by colours alone. {WHERE} It has: {at_a_terminal!r}",
    )


@pytest.mark.parametrize(("level", "is_told"), [("INFO", False), ("DEBUG", True)])
def test_the_beginning_of_each_process_is_told_at_debug_alone(level: str, is_told: bool) -> None:
    handler = added(level, is_text=False)
    begins = logging.LogRecord("l", logging.INFO, "f.py", 1, livekit_logging.ROUTINE[0], (), None)
    assert bool(handler.filter(begins)) is is_told


def test_livekit_still_tells_of_each_process_in_these_words() -> None:
    told = inspect.getsource(supervised_proc)
    missing = [words for words in livekit_logging.ROUTINE if f'"{words}"' not in told]
    expect(
        not missing,
        f"LiveKit tells of a new process in other words than {missing}: the log of a start has two"
        f" more lines for each slot. {WHERE}",
    )
