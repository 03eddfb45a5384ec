"""Runs an agent file as LiveKit's own command does, in a process of its own."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

from voicefleet.lab.livekit_server import LiveKitServer

ROOT = Path(__file__).parent.parent.parent
REGISTERED_WITHIN_SECONDS = 60.0


@contextlib.asynccontextmanager
async def run(agent_file: Path, server: LiveKitServer) -> AsyncIterator[None]:
    """From its registration to the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livekit.agents", "start", str(agent_file)),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LIVEKIT_URL": server.url,
            "LIVEKIT_API_KEY": server.api_key,
            "LIVEKIT_API_SECRET": server.api_secret,
        },
        stdout=PIPE,
        stderr=STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []
    registered = asyncio.Event()

    async def read(output: asyncio.StreamReader) -> None:
        async for line in output:
            lines.append(line.decode())
            if "registered worker" in lines[-1]:
                registered.set()
        registered.set()

    reading = asyncio.create_task(read(process.stdout), name="agent-output")
    try:
        async with asyncio.timeout(REGISTERED_WITHIN_SECONDS):
            await registered.wait()
        assert process.returncode is None, "".join(lines)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading
