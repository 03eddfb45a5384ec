"""A call as the test sees it, which goes on in the caller's own process."""

import asyncio
import contextlib
import multiprocessing
import secrets
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster import caller
from tests.cluster.caller import Progress
from tests.cluster.heard import Heard
from voicefleet.lab.changes import Changes
from voicefleet.lab.line import Address
from voicefleet.lab.livekit_server import LiveKitServer

# A caller who has heard nothing for so long has hung up.
PATIENCE_SECONDS = 15.0
HEARD_WITHIN_SECONDS = 60.0
LOG_BYTES = 2_000

# Forked where everything is imported: a caller costs no start of Python.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([caller.__name__])


class CallerBrokeError(Exception):
    """The caller's own process ended in the middle of the call, which says nothing of the fleet:
    LiveKit's client ends its process where it panics (livekit 1.1.21 is built to abort then).
    """


class Call:
    """From the dialling to the hanging up. `room` is the name of its process, too."""

    def __init__(
        self, livekit: LiveKitServer, *, room: str = "call", patience: float = PATIENCE_SECONDS
    ) -> None:
        self._progress = Progress()
        self._changes = Changes()
        self.room = f"{room}-{secrets.token_hex(6)}"
        self._patience = patience
        self._address = Address(
            *(livekit.url, livekit.api_key, livekit.api_secret, caller.AGENT, self.room),
            identity=f"caller-{secrets.token_hex(3)}",
        )
        self._line, self._far_end = PROCESSES.Pipe()
        self._said: Heard | Exception | None = None
        self._task = asyncio.create_task(self._follow(), name=self.room)

    def __repr__(self) -> str:
        """For whoever reads why a test failed: who was heard when, in seconds of one clock."""
        asked, heard = (
            [tuple(round(at, 1) for at in span) for span in spans]
            for spans in (self._progress.asked, self._progress.heard)
        )
        how = "on" if self.is_on else "lost" if self._progress.is_lost else "over"
        return f"<{self.room}, {how}: asked {asked}, heard {heard}>"

    @property
    def is_on(self) -> bool:
        return not self._task.done()

    async def until_greeted(self) -> "Call":
        """Until the first sound was heard, or the call is over."""
        return await self._reached(lambda: bool(self._progress.heard), "greeted", 1)

    async def until_answered(self, times: int = 1) -> "Call":
        """Until so many more answers were heard, or the call is over."""
        wanted = self._progress.answers + times
        return await self._reached(lambda: self._progress.answers >= wanted, "answered", times)

    async def _reached(self, is_so: Callable[[], bool], what: str, times: int) -> "Call":
        within = HEARD_WITHIN_SECONDS * times
        waiting = asyncio.ensure_future(self._changes.until(is_so, timeout_seconds=within))
        await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()
        else:
            assert await waiting, f"{self.room} is not {what} within {within:.0f} s"
        return self

    async def hang_up(self) -> Heard:
        self._tell_to_hang_up()
        return await self._task

    async def heard(self) -> Heard:
        """The call when it is over by itself: refused, or lost."""
        return await self._task

    async def aclose(self) -> None:
        """End it, whatever became of it."""
        self._tell_to_hang_up()
        await asyncio.wait({self._task})

    def _tell_to_hang_up(self) -> None:
        if self.is_on:
            with contextlib.suppress(BrokenPipeError):
                self._line.send(None)

    async def _follow(self) -> Heard:
        """:raises CallerBrokeError: if its process ended before it had told what was heard.
        :raises LiveKitError: if LiveKit cannot be reached or refuses the key.
        """
        with tempfile.NamedTemporaryFile(prefix=f"{self.room}-", suffix=".log") as log:
            given = (self._far_end, self._address, self._patience, Path(log.name))
            process = PROCESSES.Process(target=caller.run, args=given, name=self.room, daemon=True)
            await asyncio.to_thread(process.start)
            self._far_end.close()
            await self._until_silent()
            await asyncio.to_thread(process.join)
            if self._said is None:
                said_last = log.read()[-LOG_BYTES:].decode(errors="replace")
                raise CallerBrokeError(f"{self.room} {_how(process.exitcode)}: {said_last}")
        if isinstance(self._said, Exception):
            raise self._said
        return self._said

    async def _until_silent(self) -> None:
        """Takes what the process tells until it ends."""
        loop = asyncio.get_running_loop()
        is_silent = loop.create_future()

        def take() -> None:
            try:
                said = self._line.recv()
            except (EOFError, ConnectionResetError):
                is_silent.set_result(None)
                loop.remove_reader(self._line.fileno())
                return
            if isinstance(said, Progress):
                self._progress = said
                self._changes.announce()
            else:
                self._said = said

        loop.add_reader(self._line.fileno(), take)
        await is_silent
        self._line.close()


def _how(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with {exit_code}"
    return f"ended by {signal.Signals(-exit_code).name}"
