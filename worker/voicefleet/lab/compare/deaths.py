"""The process of a call dies in the middle of an answer, one call after the other."""

import asyncio

from voicefleet.lab.compare import calls
from voicefleet.lab.compare.calls import Dialled
from voicefleet.lab.compare.outcome import Drill, Figure, NotHeld, Outcome, Subject
from voicefleet.lab.compare.stage import Stage, World
from voicefleet.lab.killing import process_of_the_call

DEATHS = 10
# Into the answer: some of it was heard.
KILLED_AFTER_SECONDS = 0.5
# What is on its way to the caller when the process dies is heard all the same.
ON_ITS_WAY_SECONDS = 0.2
BACK_WITHIN_SECONDS = 10.0


async def death(world: World, subject: Subject) -> Outcome:
    question = await calls.voice(calls.WHOLE.exchanges[0].caller)
    silences, lost = list[float](), 0
    async with world.stage(subject) as stage:
        for _ in range(DEATHS):
            silence_seconds = await _silence(stage, question)
            if silence_seconds is None:
                lost += 1
            else:
                silences.append(silence_seconds)
    figures = (Figure("silent for", tuple(silences), "s"),) if silences else ()
    return Outcome(lost, DEATHS, figures, why="silence until the caller hung up" if lost else "")


async def _silence(stage: Stage, question: bytes) -> float | None:
    """From the death until the agent speaks again; None if it does not, or answers nothing more."""
    async with calls.dialled(stage) as call:
        await call.until_greeted(within_seconds=calls.ANSWER_WITHIN_SECONDS)
        if not await call.is_answered(question, within_seconds=calls.ANSWER_WITHIN_SECONDS):
            raise NotHeld("the call was not answered before the death")
        await asyncio.sleep(KILLED_AFTER_SECONDS)
        process = process_of_the_call(stage.worker.pid, stage.livekit.url)
        if process is None:
            raise NotHeld("no process of the call was found")
        process.kill()
        return await _until_back(call, question)


async def _until_back(call: Dialled, question: bytes) -> float | None:
    loop = asyncio.get_running_loop()
    died_at = loop.time()
    heard = await call.until_heard(died_at + ON_ITS_WAY_SECONDS, within_seconds=BACK_WITHIN_SECONDS)
    if heard is None:
        return None
    await call.changes.until(lambda: heard.is_over, timeout_seconds=calls.ANSWER_WITHIN_SECONDS)
    is_kept = await call.is_answered(question, within_seconds=calls.ANSWER_WITHIN_SECONDS)
    return heard.started_at - died_at if is_kept else None


DRILLS = (Drill("death", f"A call's process is killed in its answer, in {DEATHS} calls", death),)
