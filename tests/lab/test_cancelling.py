"""A call that is given up while its caller connects."""

import asyncio

import pytest

from voicefleet.lab import line


async def test_whoever_is_cancelled_half_way_goes_when_the_work_is_over() -> None:
    """A comparison ended by itself, without a word: one of its callers had been cancelled in its
    connect, and 15 s later LiveKit's native side sent the process a SIGTERM.
    """
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def connect() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    calling = asyncio.create_task(line.after(connect()))
    await begun.wait()
    calling.cancel()
    await asyncio.sleep(0)
    assert not calling.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ended.is_set()


async def test_what_the_work_raises_is_raised() -> None:
    async def connect() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await line.after(connect())
