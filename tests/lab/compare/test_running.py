"""Which drills are held, in which order, and what becomes of one that fails."""

import asyncio
from pathlib import Path

import psutil
import pytest

from voicefleet import errors
from voicefleet.lab.compare import running, stage
from voicefleet.lab.compare.outcome import Drill, Figure, Hold, NotHeld, Outcome, Setting, Subject
from voicefleet.lab.compare.stage import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A quiet world, in which no stage is ever asked for."""
    monkeypatch.setattr(stage, "QUIET_RATIO", 1.0)
    monkeypatch.setattr(stage, "LOOK_SECONDS", 0.01)
    return World(tmp_path / "livekit-server", tmp_path, "http://127.0.0.1:9", 1)


async def fine(_: World, subject: Subject) -> Outcome:
    return Outcome(seen=f"{subject} was fine")


async def not_held(_: World, __: Subject) -> Outcome:
    raise NotHeld("nobody\ncame")


async def no_agent(_: World, __: Subject) -> Outcome:
    raise errors.NoAgentError("no agent joined", fix="start one")


async def defect(_: World, __: Subject) -> Outcome:
    raise ZeroDivisionError


async def long_winded(_: World, __: Subject) -> Outcome:
    raise NotHeld("x" * 1000)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (not_held, "nobody came"),
        (no_agent, "no agent joined"),
        (defect, "ZeroDivisionError"),
        (long_winded, "x" * running.LONGEST_REASON),
    ],
)
async def test_whatever_goes_wrong_in_a_drill_is_the_reason_in_its_cell(
    world: World, run: Hold, reason: str
) -> None:
    outcome = await running.held(Drill("ill", "Ill", run), world, Subject.STOCK)
    assert outcome == Outcome(failed=reason)


async def test_a_drill_that_fails_does_not_keep_the_others_from_being_held(world: World) -> None:
    drills = [Drill("ill", "", defect), Drill("well", "", fine, Setting.WAITING)]
    said: list[str] = []
    results = await running.run(world, drills, said.append)
    assert results["well", Subject.OURS].seen == "voicefleet was fine"
    assert results["ill", Subject.OURS].failed == "ZeroDivisionError"
    assert len(said) == 4
    assert said[-1].startswith("[ 4/4]")


async def test_drills_that_only_wait_are_held_at_the_same_time_and_calm_ones_beside_them(
    world: World,
) -> None:
    everybody = asyncio.Barrier(3)

    async def wait(_: World, __: Subject) -> Outcome:
        await everybody.wait()
        return Outcome(seen="met")

    async def meet(_: World, subject: Subject) -> Outcome:
        if subject is Subject.STOCK:
            await everybody.wait()
        return Outcome(seen="alone")

    drills = [Drill("waits", "", wait, Setting.WAITING), Drill("calm", "", meet, Setting.CALM)]
    async with asyncio.timeout(5):
        results = await running.run(world, drills, lambda _: None)
    assert results["waits", Subject.STOCK].seen == "met"
    assert results["calm", Subject.OURS].seen == "alone"


def test_on_a_shared_stage_one_subject_follows_the_other_and_else_they_take_turns() -> None:
    drills = [
        Drill("own", "", fine),
        Drill("first", "", fine, Setting.SHARED),
        Drill("second", "", fine, Setting.SHARED),
    ]
    order = running.ordered(drills)
    assert [(drill.name, subject.value) for drill, subject in order[Setting.SHARED]] == [
        ("first", "stock"),
        ("second", "stock"),
        ("first", "voicefleet"),
        ("second", "voicefleet"),
    ]
    assert [(drill.name, subject.value) for drill, subject in order[Setting.OWN]] == [
        ("own", "stock"),
        ("own", "voicefleet"),
    ]


async def test_where_subjects_take_turns_each_is_as_often_first(world: World) -> None:
    held: list[Subject] = []

    async def once(_: World, subject: Subject) -> Outcome:
        held.append(subject)
        return Outcome(0, 1, (Figure("joined after", (float(len(held)),), "s"),))

    said: list[str] = []
    drill = Drill("joins", "", once, Setting.IN_TURN, rounds=4)
    results = await running.run(world, [drill], said.append)
    stock, ours = Subject.STOCK, Subject.OURS
    assert held == [stock, ours, ours, stock] * 2
    assert results["joins", stock].figures[0].values == (1.0, 4.0, 5.0, 8.0)
    assert results["joins", ours].calls == 4
    assert len(said) == 2


def test_drills_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert [drill.name for drill in running.chosen(["leak", "busy-cores"])] == [
        "busy-cores",
        "leak",
    ]
    assert running.chosen([]) == running.DRILLS


def test_a_drill_that_there_is_not_is_said_with_those_that_there_are() -> None:
    with pytest.raises(errors.UsageError, match="no drill flood") as raised:
        running.chosen(["flood", "leak"])
    assert "sigterm" in raised.value.fix


def test_every_drill_has_a_name_of_its_own() -> None:
    names = [drill.name for drill in running.DRILLS]
    assert len(set(names)) == len(names)


async def test_a_machine_that_stays_busy_is_waited_for_and_then_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter([90.0, 55.0, 10.0, 90.0])
    monkeypatch.setattr(psutil, "cpu_percent", lambda _: next(looks))
    assert await stage.wait() == 0.1
    monkeypatch.setattr(stage, "WAIT_AT_MOST_SECONDS", 0.0)
    assert await stage.wait() == 0.9
