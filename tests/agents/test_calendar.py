"""The front desk's calendar under processes that want the same time in the same moment."""

import asyncio
import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from voicefleet.agents.front_desk.calendar import (
    Appointment,
    SqliteCalendar,
    TakenError,
    UnavailableError,
)
from voicefleet.agents.front_desk.opening import RefusedError

TEN = datetime(2030, 1, 8, 10)
CALLERS = 6
TIMES = [TEN + timedelta(minutes=30 * number) for number in range(4)]

Step = Callable[[Path, int], list[str]]


def books_every_time(path: Path, caller: int) -> list[str]:
    """The times that this caller got; all callers ask for the same ones in the same order."""
    store = SqliteCalendar(path)
    got = []
    for at in TIMES:
        try:
            made = asyncio.run(store.book(f"{caller} {at}", at, f"Caller {caller}"))
        except TakenError:
            continue
        got.append(f"{made.at} {made.reference}")
    return got


def moves_to_ten(path: Path, caller: int) -> list[str]:
    """Every caller has an appointment of their own day, and all want to come at the same time."""
    store = SqliteCalendar(path)
    own = asyncio.run(store.book(str(caller), TEN + timedelta(days=caller + 1), "Caller"))
    try:
        asyncio.run(store.move(own.reference, TEN))
    except TakenError:
        return []
    return [own.reference]


def run_one(
    step: Step,
    path: Path,
    caller: int,
    barrier: Barrier,
    results: "multiprocessing.Queue[list[str]]",
) -> None:
    barrier.wait()
    results.put(step(path, caller))


def at_once(step: Step, path: Path) -> list[str]:
    """What all callers got, each in a process of its own, as the calls of a pod are."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, as in a pod; a spawned process would take seconds for it.
    context.set_forkserver_preload([__name__])
    barrier, results = context.Barrier(CALLERS), context.Queue()
    callers = [
        context.Process(target=run_one, args=(step, path, number, barrier, results))
        for number in range(CALLERS)
    ]
    for process in callers:
        process.start()
    got = [entry for _ in callers for entry in results.get(timeout=60)]
    for process in callers:
        process.join(timeout=10)
        assert process.exitcode == 0
    return got


@pytest.mark.slow
async def test_of_calls_in_six_processes_each_time_goes_to_exactly_one(tmp_path: Path) -> None:
    path = tmp_path / "calendar.sqlite3"
    got = await asyncio.to_thread(at_once, books_every_time, path)
    assert sorted(entry[:19] for entry in got) == [str(at) for at in TIMES]
    assert len({entry[20:] for entry in got}) == len(TIMES)
    assert await SqliteCalendar(path).taken(TEN.date()) == frozenset(TIMES)


@pytest.mark.slow
async def test_of_six_moves_to_one_time_one_succeeds_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "calendar.sqlite3"
    (winner,) = await asyncio.to_thread(at_once, moves_to_ten, path)
    store = SqliteCalendar(path)
    assert await store.find(winner) == Appointment(winner, TEN, "Caller")
    days = [(TEN + timedelta(days=caller + 1)).date() for caller in range(CALLERS)]
    kept = [at for day in days for at in await store.taken(day)]
    assert len(kept) == CALLERS - 1


async def test_the_same_wish_twice_is_one_appointment(tmp_path: Path) -> None:
    store = SqliteCalendar(tmp_path / "calendar.sqlite3")
    first = await store.book("wish", TEN, "Anna Smith")
    assert await store.book("wish", TEN, "Anna Smith") == first
    assert await store.taken(TEN.date()) == {TEN}


async def test_a_cancelled_time_is_free_again_and_cancelling_twice_is_no_harm(
    tmp_path: Path,
) -> None:
    store = SqliteCalendar(tmp_path / "calendar.sqlite3")
    first = await store.book("first", TEN, "Anna Smith")
    await store.cancel(first.reference)
    await store.cancel(first.reference)
    second = await store.book("second", TEN, "Ben Miller")
    assert await store.find(second.reference) == second
    with pytest.raises(RefusedError, match="has been cancelled"):
        await store.move("none", TEN)


async def test_names_are_data_and_never_sql(tmp_path: Path) -> None:
    store = SqliteCalendar(tmp_path / "calendar.sqlite3")
    name = "Robert'); DROP TABLE appointments;--"
    made = await store.book("wish", TEN, name)
    assert await store.find(made.reference) == made
    assert await store.find("' OR '1'='1") is None


async def test_a_calendar_that_another_process_holds_is_unavailable_and_then_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicefleet.agents.front_desk.calendar.LOCK_WAIT_SECONDS", 0.1)
    path = tmp_path / "calendar.sqlite3"
    store = SqliteCalendar(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError):
            await store.book("wish", TEN, "Anna Smith")
        other.execute("ROLLBACK")
    assert (await store.book("wish", TEN, "Anna Smith")).at == TEN
