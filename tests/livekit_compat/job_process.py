"""What runs in the real processes of `test_job_process.py`: functions that a process imports."""

import asyncio
import time
from pathlib import Path

from livekit import rtc
from livekit.agents import JobContext, JobProcess

FOLDER = "folder"


def setup(process: JobProcess, folder: Path) -> None:
    process.userdata[FOLDER] = folder


def never_ready(_: JobProcess) -> None:
    time.sleep(60)


def told(folder: Path) -> str:
    """The reason of its end that the job was given."""
    return (folder / "reason").read_text()


async def _begin(ctx: JobContext) -> None:
    folder: Path = ctx.proc.userdata[FOLDER]

    async def write(reason: str) -> None:
        (folder / "reason").write_text(reason)

    ctx.add_shutdown_callback(write)
    (folder / "begun").touch()


async def shuts_down(ctx: JobContext) -> None:
    await _begin(ctx)
    ctx.shutdown("our own words")


async def crashes(ctx: JobContext) -> None:
    await _begin(ctx)
    raise ValueError("the agent file's")


async def loses_its_room(ctx: JobContext) -> None:
    await _begin(ctx)
    ctx.room.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)


async def stays(ctx: JobContext) -> None:
    await _begin(ctx)


async def hangs(ctx: JobContext) -> None:
    await _begin(ctx)
    time.sleep(60)  # noqa: ASYNC251 # the loop stands still


async def does_not_leave(ctx: JobContext) -> None:
    await _begin(ctx)

    async def wait(_: str) -> None:
        await asyncio.sleep(60)

    ctx.add_shutdown_callback(wait)
