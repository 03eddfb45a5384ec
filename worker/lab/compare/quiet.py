"""Waits for a quiet machine: a stock worker reports the machine's CPU as its load, so whatever else
runs here would count against it.
"""

import asyncio
import time

import psutil

# The lab and an idle worker themselves stay well below.
QUIET_RATIO = 0.2
LOOK_SECONDS = 1.0
WAIT_AT_MOST_SECONDS = 20.0


async def wait() -> float:
    """How busy the cores are, 0 to 1, when they are quiet or have not become so in time."""
    deadline = time.monotonic() + WAIT_AT_MOST_SECONDS
    while True:
        busy = await asyncio.to_thread(psutil.cpu_percent, LOOK_SECONDS) / 100
        if busy <= QUIET_RATIO or time.monotonic() > deadline:
            return busy
