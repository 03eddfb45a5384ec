"""One ill call beside a healthy one: it leaks memory, or blocks its event loop, once."""

import asyncio
from dataclasses import dataclass

from voicefleet.lab.compare import calls
from voicefleet.lab.compare.outcome import Drill, Figure, Outcome, Setting, Subject
from voicefleet.lab.compare.stage import Stage, World, weigh

WEIGH_EVERY_SECONDS = 0.5
# Where the agent file stops: nothing else would, under LiveKit's defaults.
LEAK_MOST_MIB = 1536
# It is there after 20 s, or its process has been ended, and LiveKit has noticed.
LEAK_LASTS_SECONDS = 40.0
BLOCK_SECONDS = 120
# LiveKit ends a process that has not answered for 60 s, and looks every 2.5 s.
BLOCKED_AT_MOST_SECONDS = 90.0


@dataclass(slots=True)
class Watch:
    """The most that was seen, in MiB."""

    pod: float = 0.0
    process: float = 0.0

    async def run(self, stage: Stage) -> None:
        while True:
            weight = await asyncio.to_thread(weigh, stage)
            self.pod = max(self.pod, weight.total)
            self.process = max(self.process, *weight.jobs, 0.0)
            await asyncio.sleep(WEIGH_EVERY_SECONDS)


async def leak(world: World, subject: Subject) -> Outcome:
    question = await calls.voice(calls.WHOLE.exchanges[0].caller)
    limit = {"VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": str(world.memory_limit_bytes)}
    async with world.stage(subject, **limit) as stage, calls.on(stage, 1, calls.WHOLE) as healthy:
        watch = Watch()
        watching = asyncio.create_task(watch.run(stage), name="weighing")
        try:
            async with calls.dialled(stage, room=f"leak-{LEAK_MOST_MIB}") as leaking:
                lasted = await leaking.until_agent_is_gone(within_seconds=LEAK_LASTS_SECONDS)
                is_kept = lasted is None and await leaking.is_answered(
                    question, within_seconds=calls.ANSWER_WITHIN_SECONDS
                )
            done = [*await asyncio.gather(*healthy), await calls.place(stage, calls.SHORT)]
        finally:
            watching.cancel()
    how = "went on" if lasted is None else f"was ended after {lasted:.0f} s"
    return Outcome(
        lost=sum(call.is_lost for call in done) + (not is_kept),
        calls=len(done) + 1,
        why=calls.problems(done),
        figures=(Figure("the pod grew to", (watch.pod,), "MiB"),),
        seen=f"the leaking call held up to {watch.process:.0f} MiB and {how}",
    )


async def block(world: World, subject: Subject) -> Outcome:
    async with world.stage(subject) as stage, calls.on(stage, 1) as healthy:
        async with calls.dialled(stage, room=f"block-{BLOCK_SECONDS}") as blocked:
            began = asyncio.get_running_loop().time()
            heard = await blocked.until_heard(began, within_seconds=BLOCKED_AT_MOST_SECONDS)
            until = heard.started_at if heard else asyncio.get_running_loop().time()
        done = [*await asyncio.gather(*healthy), await calls.place(stage, calls.SHORT)]
    seen = "then the blocked call went on" if heard else "then the blocked call was over"
    return Outcome(
        lost=sum(call.is_lost for call in done) + (heard is None),
        calls=len(done) + 1,
        figures=(Figure("silent for", (until - began,), "s"),),
        seen=seen,
        why=calls.problems(done),
    )


DRILLS = (
    Drill(
        "leak",
        "One call leaks memory beside a healthy one and before another (the agent file stops at"
        f" {LEAK_MOST_MIB} MiB)",
        leak,
    ),
    Drill(
        "block",
        "One call blocks its event loop beside a healthy one and before another",
        block,
        Setting.CALM,
    ),
)
