"""More callers than slots, and fewer again: the autoscaler as shipped, its numbers from a real
Prometheus through the real prometheus-adapter.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.cluster import figures, fleet, outside, picture, prometheus
from tests.cluster.call import Call
from tests.cluster.callers import Callers
from tests.cluster.conftest import Record, World
from tests.cluster.heard import Heard
from tests.cluster.kubernetes import Cluster, until
from tests.cluster.picture import Line
from tests.cluster.watching import Watch

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

SLOTS, MOST_PODS = 2, 3
SCALE = {
    "slots": SLOTS,
    "scale": {
        "by": "hpa",
        "min": 1,
        "max": MOST_PODS,
        # Kubernetes' own metrics server has to be there for the guard; without its answer an
        # autoscaler never scales in.
        "cpuPercent": 0,
        # Shorter than anyone should have it: 600 s in the chart.
        "down": {"windowSeconds": 15, "periodSeconds": 15},
    },
}

CALLERS = 3
# The third caller needs the second pod: within the 60 s that the chart says it takes
# (values: scale.leadSeconds), and a little.
RINGS_EVERY_SECONDS = 33.0
METRIC_WITHIN_SECONDS = 90.0
SCALED_WITHIN_SECONDS = 180.0


@dataclass(slots=True)
class Diary:
    """When calls began and ended, and when one was refused."""

    changes: list[tuple[float, int]] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)

    def note_taken(self, call: Call) -> None:
        if call.is_on:
            self.changes.append((time.monotonic(), +1))
        else:
            self.refusals.append(time.monotonic())

    async def end(self, call: Call) -> Heard:
        heard = await call.hang_up()
        if not heard.is_refused:
            self.changes.append((time.monotonic(), -1))
        return heard


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(
    cluster: Cluster, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[None]:
    """The release, and an autoscaler that knows how many slots are wanted."""
    outside.named(outside.METRICS)
    folder, values = tmp_path_factory.mktemp("prometheus"), fleet.values(world, SCALE)
    async with (
        fleet.released(cluster, values, world.livekit),
        prometheus.running(cluster, world.host, folder, values) as asked,
    ):
        rules = str(prometheus.adapter_rules(folder))
        await asyncio.to_thread(outside.do, outside.METRICS, PROMETHEUS=asked.url, RULES=rules)
        await until(
            "the autoscaler reads the metric",
            lambda: is_reading(cluster),
            within_seconds=METRIC_WITHIN_SECONDS,
        )
        yield


async def test_pods_come_before_a_caller_is_refused_and_go_when_callers_have_gone(
    cluster: Cluster, callers: Callers, watch: Watch, record: Record
) -> None:
    began, diary, calls = time.monotonic(), Diary(), list[Call]()
    for number in range(CALLERS):
        await asyncio.sleep(began + number * RINGS_EVERY_SECONDS - time.monotonic())
        calls.append(await callers.ring())
        diary.note_taken(calls[-1])
    most = await until(
        "the fleet has the pods that the calls want",
        lambda: ready(watch) == MOST_PODS,
        within_seconds=SCALED_WITHIN_SECONDS,
    )

    # All but one hang up: the fleet shrinks, but not under the call that is left.
    heard = [await diary.end(call) for call in calls[:-1]]
    (busy,) = await asyncio.to_thread(cluster.busy)
    fewer = await until(
        "a pod is told to leave",
        lambda: ready(watch) < MOST_PODS,
        within_seconds=SCALED_WITHIN_SECONDS,
    )
    await calls[-1].until_answered(2)
    assert list(await asyncio.to_thread(cluster.busy)) == [busy]
    # Which one goes is Kubernetes' choice: ops/decisions/deployment.md.
    is_told_to_leave = busy not in await asyncio.to_thread(cluster.names)
    heard.append(await diary.end(calls[-1]))
    await until("one pod is left", lambda: is_left(watch, 1), within_seconds=SCALED_WITHIN_SECONDS)

    refused = len(diary.refusals)
    record(
        "scale out and in",
        heard,
        f"a caller every {RINGS_EVERY_SECONDS:.0f} s, {SLOTS} slots a pod: {refused} refused;"
        f" {MOST_PODS} pods {most:.0f} s after the last, one less {fewer:.0f} s after all but one"
        f" have gone; the call that is left stays in its pod, which"
        f" {'drains' if is_told_to_leave else 'is not the one'}",
    )
    draw(watch, diary, began)
    assert refused == 0
    assert not any(call.is_lost or call.is_refused for call in heard)


def is_reading(cluster: Cluster) -> bool:
    (scaler,) = cluster.get("hpa")
    conditions = scaler.get("status", {}).get("conditions", [])
    return any(c["type"] == "ScalingActive" and c["status"] == "True" for c in conditions)


def ready(watch: Watch) -> int:
    return watch.looks[-1].ready


def is_left(watch: Watch, pods: int) -> bool:
    last = watch.looks[-1]
    return (last.starting, last.ready, last.draining) == (0, pods, 0)


def draw(watch: Watch, diary: Diary, began: float) -> None:
    """The picture of what was measured, where the environment names a folder for it."""
    folder = figures.folder()
    if folder is None:
        return
    looks = [look for look in watch.looks if look.at >= began]
    calls = [
        (at, sum(change for when, change in diary.changes if when <= at))
        for at in sorted([began, *(when for when, _ in diary.changes)])
    ]
    lines = (
        Line("slots of ready pods", "#2f9e44", [(look.at, look.ready * SLOTS) for look in looks]),
        Line("calls", "#1971c2", calls),
        Line("ready pods", "#868e96", [(look.at, look.ready) for look in looks]),
        Line("pods that drain", "#e8590c", [(look.at, look.draining) for look in looks]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    drawn = picture.draw(lines, diary.refusals, began, looks[-1].at)
    (folder / "scale.svg").write_text(drawn, encoding="utf-8")
