"""Importing an agent file, and keeping out of the process what the import does to it.

A file may have been written for a process of its own: it sets up logging, signals, the working
directory. Under voicefleet the pod's log, its drains and its other calls depend on those. So what
was there before is put back, and what the file has added for itself stays where it harms nobody.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

# Whose loggers stay on.
KEPT = ("voicefleet", "livekit")


@contextmanager
def contained() -> Iterator[None]:
    """Put logging, signal handlers, `sys.argv`, the working directory, warning filters and the
    event-loop policy back when the context ends, however it ends.
    """
    with ExitStack() as stack:
        stack.enter_context(log_contained())
        stack.enter_context(_signals())
        stack.enter_context(_process())
        yield


@contextmanager
def log_contained() -> Iterator[None]:
    """The handlers that were there go on to write every record. Of those that the import adds, the
    ones that write to the console are taken out, because the console is the pod's log, in which
    each record stands once, redacted; all others get the records of everybody but voicefleet.
    """
    root = logging.getLogger()
    before, known = _Loggers.now(), set(_loggers())
    handlers = [handler for logger in (root, *known) for handler in logger.handlers]
    # dictConfig and basicConfig(force=True) close every handler that there is.
    for handler in handlers:
        handler.close = _leave_open  # type: ignore[method-assign]
    try:
        yield
    finally:
        for handler in handlers:
            with contextlib.suppress(AttributeError):
                del handler.close
        added = [handler for handler in root.handlers if handler not in handlers]
        before.restore()
        for handler in added:
            if not _writes_to_console(handler):
                handler.addFilter(_is_not_ours)
                root.addHandler(handler)
        for logger in set(_loggers()) - known:
            for handler in [h for h in logger.handlers if _writes_to_console(h)]:
                logger.removeHandler(handler)
                logger.propagate = True


@contextmanager
def log_kept() -> Iterator[None]:
    """Keep the handlers that there are, and console handlers out of the root logger, while a call
    lasts, whose code may set up its logging at any time. Nor does it switch off the loggers of
    voicefleet and of LiveKit, as `dictConfig` does with all whom it does not name.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.getEffectiveLevel()
    remove, add = root.removeHandler, root.addHandler
    ours = logging.getLogger("voicefleet")
    level_before = ours.level

    def remove_others(hdlr: logging.Handler) -> None:
        if hdlr not in handlers:
            remove(hdlr)

    def add_unless_console(hdlr: logging.Handler) -> None:
        if not _writes_to_console(hdlr):
            add(hdlr)

    root.removeHandler = remove_others  # type: ignore[method-assign]
    root.addHandler = add_unless_console  # type: ignore[method-assign]
    ours.setLevel(ours.level or level)
    for handler in handlers:
        handler.close = _leave_open  # type: ignore[method-assign]
    kept = {x: type(x) for x in _loggers() if x.name.startswith(KEPT)}
    for logger, kind in kept.items():
        # LiveKit's is of a class of its own.
        logger.__class__ = type(kind.__name__, (_NeverDisabled, kind), {})
    try:
        yield
    finally:
        for logger, kind in kept.items():
            logger.__class__ = kind
        ours.setLevel(level_before)
        del root.removeHandler, root.addHandler
        for handler in handlers:
            with contextlib.suppress(AttributeError):
                del handler.close


class _NeverDisabled(logging.Logger):
    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Asked for, and not done."""


class _Loggers:
    """How every logger is set at one moment."""

    def __init__(self) -> None:
        loggers = (logging.getLogger(), *_loggers())
        self._settings = [(x, x.level, x.propagate, x.disabled, list(x.handlers)) for x in loggers]
        self._disabled_up_to = logging.getLogger().manager.disable

    @classmethod
    def now(cls) -> "_Loggers":
        return cls()

    def restore(self) -> None:
        logging.disable(self._disabled_up_to)
        for logger, level, propagate, disabled, handlers in self._settings:
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
            # What the import adds to a logger that it knows by name is its own affair.
            is_root = logger is logging.getLogger()
            added = [] if is_root else [h for h in logger.handlers if h not in handlers]
            logger.handlers = [*handlers, *(h for h in added if not _writes_to_console(h))]


def _loggers() -> list[logging.Logger]:
    known = logging.getLogger().manager.loggerDict.values()
    return [logger for logger in tuple(known) if isinstance(logger, logging.Logger)]


def _leave_open() -> None:
    pass


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not record.name.startswith("voicefleet")


def _writes_to_console(handler: logging.Handler) -> bool:
    consoles = {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}
    # Rich's handler has no stream, and a console.
    return getattr(handler, "stream", None) in consoles or hasattr(handler, "console")


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python, and that stays as it is.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _process() -> Iterator[None]:
    argv, folder, filters = list(sys.argv), os.getcwd(), list(warnings.filters)
    policy = asyncio.get_event_loop_policy()
    try:
        yield
    finally:
        sys.argv[:] = argv
        os.chdir(folder)
        warnings.filters[:] = filters  # type: ignore[index]
        if asyncio.get_event_loop_policy() is not policy:
            asyncio.set_event_loop_policy(policy)
