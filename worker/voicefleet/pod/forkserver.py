"""The forkserver, forked from this process and not started beside it.

Jobs come from Python's forkserver, an interpreter of its own that imports all over again what the
parent has imported: seconds of every start, and a second copy in memory. Here the parent forks
once, early. The fork waits until multiprocessing wants its forkserver, and then becomes it; what
was imported by then, the two share, copy on write. If it dies, multiprocessing starts the next
forkserver as usual.

For this, one function of the standard library is replaced until it is called for the forkserver:
`multiprocessing.util.spawnv_passfds`, which is public by name and documented nowhere (CPython 3.11
to 3.13, forkserver.py, `ensure_running`).
"""

import ctypes
import fcntl
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

from voicefleet import settings
from voicefleet.job import signals

logger = logging.getLogger(__name__)

# What a new forkserver is told to run, as it begins; and the most descriptors that it is passed.
COMMAND = "from multiprocessing.forkserver import main;"
MAX_PASSED = 8

# onnxruntime's wheels for Linux, from 1.29, start a thread when they are imported, which reports
# each model that is loaded to Microsoft, with its file name. An import of it would end the fork,
# and a pod tells nobody what it runs unless it was asked to. For jobs too, by the environment.
NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1"}


def fork(load: Callable[[], object]) -> bool:
    """Fork what will be the forkserver, after `load` has imported what both are to have. False
    where multiprocessing is left to itself.

    `load` may start no thread and open no connection, and this comes before anything else that
    does, and before logging is set up, which jobs set up for themselves. An error of `load` is left
    for whoever imports the same in earnest.
    """
    settings.adopt(NO_REPORTS | settings.environment())
    if not sys.platform.startswith("linux"):
        # LiveKit spawns its jobs there (1.8.9, worker.py), and nobody would ask for the fork.
        return False
    with suppress(Exception):
        load()
    gc.collect()
    # Else the next collection writes to every object, and nothing is shared any more.
    gc.freeze()
    # Else each job ends with what the parent had not yet written.
    sys.stdout.flush()
    sys.stderr.flush()
    ours, its = socket.socketpair()
    # Else a signal of just then is answered in the fork as in the parent, which ends.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.GROUP_SIGNALS)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _become_the_forkserver(its)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.GROUP_SIGNALS)
    its.close()
    if _thread_count() > 1:
        # A lock that another thread held in that moment is locked in the fork for ever.
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        logger.warning(
            "an import before the fork started a thread, so jobs share less memory and the start"
            " takes longer: start it in the entrypoint, or set VOICEFLEET_PRELOAD_AGENT=false"
        )
        return False
    _lend(pid, ours)
    return True


def _thread_count() -> int:
    """The threads of the kernel, also those of native libraries, which `threading` does not know.

    Counted after a fork: OpenBLAS, in numpy, starts threads when it is imported and ends them right
    before each fork (its handler for pthread_atfork, driver/others/memory.c).
    """
    return len(os.listdir("/proc/self/task"))


def _lend(pid: int, ours: socket.socket) -> None:
    """Let multiprocessing have the fork where it would start a forkserver."""
    start_anew = util.spawnv_passfds

    def spawn(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        command = str(args[-1])
        if not command.startswith(COMMAND):
            return start_anew(path, args, passfds)
        util.spawnv_passfds = start_anew
        order = {"command": command, "fds": passfds, "environment": settings.environment()}
        try:
            with ours:
                socket.send_fds(ours, [b"\n"], list(passfds))
                ours.sendall(json.dumps(order).encode())
        except OSError:  # it has died
            return start_anew(path, args, passfds)
        return pid

    util.spawnv_passfds = spawn


def _become_the_forkserver(its: socket.socket) -> NoReturn:
    """In the fork: wait for the order, and end without a word if the parent goes first."""
    code = 1
    try:
        signals.leave_to_the_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.GROUP_SIGNALS)
        _, received, _, _ = socket.recv_fds(its, 1, MAX_PASSED)
        if received:
            with its, its.makefile("rb") as rest:
                order = json.load(rest)
            _renumber(received, order["fds"])
            settings.adopt(order["environment"])
            _forget_first_environment()
            # What `python -c` would run.
            exec(order["command"], {})
        code = 0
    except (SystemExit, KeyboardInterrupt):
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def _renumber(received: Sequence[int], wanted: Sequence[int]) -> None:
    """The command knows its descriptors by the numbers that they have in the parent. No other copy
    of them stays: every job would inherit it.
    """
    # By way of numbers that nobody wants: what is received may have the number of another.
    free = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(wanted) + 1) for fd in received]
    for fd in received:
        os.close(fd)
    for fd, number in zip(free, wanted, strict=True):
        os.dup2(fd, number, inheritable=False)
        os.close(fd)


def _forget_first_environment() -> None:
    """What the parent was started with, secrets and all, is still where the kernel had put it, and
    in /proc/PID/environ of every job. Nothing points there once another environment was adopted.
    """
    # Fields 50 and 51, counted from 1: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(after_name[47]), int(after_name[48])
    ctypes.memset(begin, 0, end - begin)
