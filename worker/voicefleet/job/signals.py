"""Signals to the whole process group, from a terminal, systemd or `timeout`: they are for the pod's
parent, which drains, and tells each job when to end.

With a handler, and not with SIG_IGN, which survives exec: programs that an agent starts, MCP
servers over stdio or ffmpeg, would then ignore `terminate()`. A handler does not survive exec.
"""

import os
import signal

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def leave_to_the_parent() -> None:
    """Have them change nothing in this process, nor in what is forked from it. Call it in the main
    thread; a sleep or an event loop that one interrupts goes on.
    """
    for number in GROUP_SIGNALS:
        signal.signal(number, _change_nothing)


def restore_in_forked_children() -> None:
    """Have them end what is forked from now on, as in any process, so that `terminate()` works on
    `multiprocessing.Process` too. For jobs, once; the forkserver forks the jobs themselves.
    """
    os.register_at_fork(after_in_child=_restore)


def _change_nothing(*_: object) -> None:
    pass


def _restore() -> None:
    # Unless the agent file has set a handler of its own.
    if signal.getsignal(signal.SIGINT) is _change_nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is _change_nothing:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
