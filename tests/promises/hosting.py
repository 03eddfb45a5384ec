"""Hosts the agent files of `cases/` in whole stacks, and asks what became of their calls."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.promises.conftest import CASES
from tests.promises.test_pod import causes, endpoints_of, exit_code_of, worker_of
from tests.promises.visitor import dispatch, new_room, visiting
from tests.waiting import wait_until
from voicefleet.errors import ExitCode
from voicefleet.lab import processes, stack
from voicefleet.lab.stack import Stack

# A caller hangs up, and the slot is free.
FREE_WITHIN_SECONDS = 5.0
LIVEKIT_HEARS_SECONDS = 0.5
# From a death to the end of the programs that it left: SIGTERM, 2 s, SIGKILL.
REAPED_WITHIN_SECONDS = 8.0
KEY_IN_THE_LOG = stack.KEY * 4


def marks(up: Stack) -> Path:
    return up.folder / "marks"


async def written(up: Stack, name: str, within_seconds: float = 10.0) -> str:
    """What the agent file has written down under this name."""
    mark = marks(up) / name
    await wait_until(
        lambda: mark.is_file() and mark.read_text() != "",
        because=f"the file writes {name}",
        timeout_seconds=within_seconds,
    )
    return mark.read_text()


async def drainz(up: Stack) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await endpoints_of(worker_of(up))}/drainz") as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


async def is_free(up: Stack, within_seconds: float = FREE_WITHIN_SECONDS) -> None:
    async def has_no_call_in_a_slot() -> bool:
        now = await drainz(up)
        return bool(now["free_slots"] == now["slots"])

    await wait_until(
        has_no_call_in_a_slot, because="every slot is free", timeout_seconds=within_seconds
    )
    # LiveKit is told at once, and offers nothing before it has heard it.
    await asyncio.sleep(LIVEKIT_HEARS_SECONDS)


async def is_taken(up: Stack) -> None:
    async def has_a_call() -> bool:
        return bool((await drainz(up))["free_slots"] == 0)

    await wait_until(has_a_call, because="the slot is taken")


async def over(up: Stack, *expected: str, within_seconds: float = 15.0) -> None:
    await wait_until(
        lambda: causes(up) == sorted(expected),
        because=f"calls are over for {sorted(expected)}",
        timeout_seconds=within_seconds,
    )


async def leaves_when_told(up: Stack) -> None:
    os.kill(worker_of(up).pid, signal.SIGTERM)
    assert await exit_code_of(worker_of(up)) == ExitCode.OK


async def is_answered(up: Stack, metadata: str = "") -> None:
    """A caller comes, is greeted, and leaves."""
    room = new_room()
    async with visiting(up, room) as visitor:
        await dispatch(up, room, metadata)
        await visitor.is_greeted()


def output(up: Stack) -> list[str]:
    return worker_of(up).log.read_text().splitlines()


def plain_lines(up: Stack) -> list[str]:
    """What is on the pod's standard output and is no record of its log."""
    return [line for line in output(up) if line and not line.startswith("{")]


def counted(text: str) -> dict[str, int]:
    """How many calls /metrics counts for each cause."""
    calls = (line for line in text.splitlines() if line.startswith("voicefleet_calls_total{"))
    found = ((line.split('cause="')[1].split('"')[0], line.rpartition(" ")[2]) for line in calls)
    return {cause: int(float(count)) for cause, count in found if float(count)}


async def metrics(up: Stack) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await endpoints_of(worker_of(up))}/metrics") as answer,
    ):
        return await answer.text()


def environment_of(up: Stack, case: str) -> dict[str, str]:
    its_own = {"VOICEFLEET_AGENT": f"{CASES / case}.py", "MARKS": str(marks(up))}
    return stack.operator_environment(up) | its_own


async def check(folder: Path, environment: dict[str, str]) -> str:
    """What `voicefleet check` says, run in this folder."""
    checking = await asyncio.create_subprocess_exec(
        *processes.python("voicefleet", "check"),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await checking.communicate()
    return said.decode()
