"""What an agent file does to the process that imports it, and what is left of it afterwards."""

import asyncio
import io
import logging
import logging.config
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from livekit.agents import log as livekit_log

from voicefleet.job import importing


class Closable(logging.StreamHandler[io.StringIO]):
    """The pod's own handler: one that writes no more once it was closed, as LiveKit's in a job."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.is_closed = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.is_closed:
            super().emit(record)

    def close(self) -> None:
        self.is_closed = True
        super().close()

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def pods_own() -> Iterator[Closable]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    handler = Closable()
    root.handlers, root.level = [handler], logging.INFO
    yield handler
    billing = logging.getLogger("billing")
    for opened in {*root.handlers, *billing.handlers} - {*handlers}:
        opened.close()
    root.handlers, root.level, billing.handlers = handlers, level, []


def dict_config(file: Path) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "formatters": {"line": {"format": "SVC %(message)s"}},
            "handlers": {
                "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
                "file": {"class": "logging.FileHandler", "filename": str(file)},
            },
            "root": {"level": "ERROR", "handlers": ["out", "file"]},
        }
    )


def basic_config(file: Path) -> None:
    logging.basicConfig(level="ERROR", force=True, filename=str(file), format="SVC %(message)s")
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))


def file_config(file: Path) -> None:
    configuration = file.with_suffix(".ini")
    configuration.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=out,file\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=ERROR\nhandlers=out,file\n"
        "[handler_out]\nclass=StreamHandler\nargs=(sys.stdout,)\n"
        f"[handler_file]\nclass=FileHandler\nargs=('{file}',)\n"
    )
    logging.config.fileConfig(configuration)


def by_hand(file: Path) -> None:
    logging.disable(logging.CRITICAL)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(logging.FileHandler(file))
    root.setLevel(logging.CRITICAL)


@pytest.mark.parametrize("set_up", [dict_config, basic_config, file_config, by_hand])
def test_the_pods_log_is_the_same_after_an_import_that_sets_up_its_own(
    set_up: Callable[[Path], None],
    pods_own: Closable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """dictConfig left no line at all, and a call killed for its memory counted as crashed."""
    file = tmp_path / "service.log"
    with importing.contained():
        set_up(file)
        orders = logging.getLogger("orders")
    for name in ("voicefleet.pod.calls", "livekit.agents", "orders"):
        logging.getLogger(name).info("from %s", name)
    orders.info("one more")
    expected = ["from voicefleet.pod.calls", "from livekit.agents", "from orders", "one more"]
    assert pods_own.lines == expected
    assert capsys.readouterr() == ("", "")
    # The file's own handler has the file's own records, and none of the pod's.
    written = file.read_text()
    assert "from orders" in written
    assert "one more" in written
    assert "voicefleet" not in written


def test_a_logger_with_a_console_of_its_own_writes_to_the_pods_log(
    pods_own: Closable, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What went by the pod's handler was not redacted, and no line of JSON."""
    with importing.contained():
        billing = logging.getLogger("billing")
        billing.propagate = False
        billing.addHandler(logging.StreamHandler(sys.stdout))
        billing.addHandler(logging.FileHandler(tmp_path / "billing.log"))
    billing.warning("paid")
    assert pods_own.lines == ["paid"]
    assert capsys.readouterr().out == ""
    assert (tmp_path / "billing.log").read_text() == "paid\n"


def test_an_import_that_fails_is_contained_as_well(pods_own: Closable, tmp_path: Path) -> None:
    def fails() -> None:
        with importing.contained():
            by_hand(tmp_path / "service.log")
            raise ModuleNotFoundError

    with pytest.raises(ModuleNotFoundError):
        fails()
    logging.getLogger("voicefleet").info("still here")
    assert pods_own.lines == ["still here"]


def test_signals_arguments_folder_warnings_and_loop_policy_are_put_back(tmp_path: Path) -> None:
    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    here, argv, filters = Path.cwd(), list(sys.argv), list(warnings.filters)
    terminating, policy = signal.getsignal(signal.SIGTERM), asyncio.get_event_loop_policy()
    with importing.contained():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.argv[1:] = ["of", "its", "own"]
        os.chdir(tmp_path)
        warnings.simplefilter("ignore")
        asyncio.set_event_loop_policy(Policy())
    assert (Path.cwd(), sys.argv, list(warnings.filters)) == (here, argv, filters)
    assert signal.getsignal(signal.SIGTERM) is terminating
    assert asyncio.get_event_loop_policy() is policy


def test_a_call_that_sets_up_logging_leaves_the_pods_own_where_it_was(
    pods_own: Closable, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with importing.log_kept():
        logging.basicConfig(level="ERROR", force=True, format="SVC %(message)s")
        logging.getLogger().addHandler(logging.FileHandler(tmp_path / "log"))
        logging.getLogger("billing").error("theirs")
        logging.getLogger("voicefleet.job").info("ours")
    assert {"theirs", "ours"} <= set(pods_own.lines)
    assert "theirs" in (tmp_path / "log").read_text()
    assert capsys.readouterr().out == ""
    pods_own.close()
    assert pods_own.is_closed


def test_a_configuration_in_a_call_switches_off_nobody_whom_the_pod_reads(
    pods_own: Closable,
) -> None:
    """`disable_existing_loggers` is the default of dictConfig: the job said nothing any more."""
    ours, livekits, theirs = (
        logging.getLogger(name) for name in ("voicefleet.job", "livekit.agents", "orders.old")
    )
    with importing.log_kept():
        logging.config.dictConfig({"version": 1, "root": {"level": "INFO", "handlers": []}})
        for logger in (ours, livekits, theirs):
            logger.warning("a line of %s", logger.name)
    assert pods_own.lines == ["a line of voicefleet.job", "a line of livekit.agents"]
    assert type(livekits) is livekit_log.Logger
    assert not ours.disabled
    theirs.disabled = False
