"""What dies, what it costs, and how soon the fleet is whole: a call's process, a worker, a pod."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.cluster import fleet, outside
from tests.cluster.callers import Callers
from tests.cluster.conftest import Record, World
from tests.cluster.drills import DRILLS, PODS, failed, resumed, until_started_again
from tests.cluster.kubernetes import Cluster, until
from tests.cluster.placing import one_in_each_pod

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def release(cluster: Cluster, world: World) -> AsyncIterator[None]:
    async with fleet.released(cluster, fleet.values(world, DRILLS), world.livekit):
        yield


async def test_a_call_whose_process_dies_goes_on_and_leaves_nothing(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    others = await one_in_each_pod(cluster, callers)
    ill = await callers.ring(room="die")
    await until("its programs run", lambda: bool(left_over(cluster)), within_seconds=60.0)
    await until("its call goes on", lambda: resumed(cluster) == 1, within_seconds=60.0)
    calls = [ill, *others.values()]
    kept = [await (await call.until_answered()).hang_up() for call in calls]
    await until("its programs are gone", lambda: not left_over(cluster), within_seconds=30.0)
    seen = "its call goes on in another process; no program of it and no zombie is left"
    record("a call's process killed", kept, seen)
    assert not any(call.is_lost for call in kept)


async def test_a_killed_worker_costs_the_calls_of_its_pod(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    calls = await one_in_each_pod(cluster, callers)
    victim, spared = sorted(calls)
    (await asyncio.to_thread(worker_of, cluster, victim)).kill()
    healing = asyncio.create_task(until_started_again(cluster))
    new = await callers.ring()
    whole = await healing
    lost = await calls[victim].heard()
    kept = await (await calls[spared].until_answered()).hang_up()
    record(
        "a worker killed",
        [kept, await new.hang_up()],
        f"the one call of its pod is lost; whole again after {whole:.0f} s in the same pod; its"
        f" counters begin anew: {failed(cluster, victim)} failed calls, 1 restart",
    )
    assert lost.is_lost
    assert not kept.is_lost


async def test_a_pod_deleted_without_grace_costs_its_calls(
    cluster: Cluster, callers: Callers, record: Record
) -> None:
    calls = await one_in_each_pod(cluster, callers)
    victim, spared = sorted(calls)
    await cluster.tell("delete", "pod", victim, "--grace-period=0", "--force")
    healing = asyncio.create_task(fleet.until_whole(cluster, PODS))
    new = await callers.ring()
    whole = await healing
    lost = await calls[victim].heard()
    kept = await (await calls[spared].until_answered()).hang_up()
    record(
        "a pod deleted with no grace",
        [kept, await new.hang_up()],
        f"its one call is lost; whole again after {whole:.0f} s",
    )
    assert lost.is_lost
    assert not kept.is_lost


def left_over(cluster: Cluster) -> list[str]:
    """What a call has left in the fleet's pods: its programs, and zombies of any kind."""
    found = list[str]()
    for name in cluster.names():
        for process in worker_of(cluster, name).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "sleep" or process.status() == psutil.STATUS_ZOMBIE:
                    found.append(f"{name}: {process.name()} {process.status()}")
    return found


def is_worker(command: list[str]) -> bool:
    """Whether a process is `voicefleet start`: the interpreter, the script or `-m`, and the verb.
    The pod's forkserver and its calls' processes are forks of it, with the same command line.
    """
    program = Path(command[-2]).name if len(command) > 2 else ""
    return program == "voicefleet" and command[-1] == "start"


def worker_of(cluster: Cluster, name: str) -> psutil.Process:
    """The first process of the pod. Nobody inside may kill it, so it is looked for from outside:
    by the pod's uid in its control group, where a driver may write _ for -.
    """
    (uid,) = [u for u, pod in cluster.pods().items() if pod["metadata"]["name"] == name]
    wanted = re.compile(uid.replace("-", "[-_]"))
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if is_worker(process.info["cmdline"] or [])
        and wanted.search(Path(f"/proc/{process.pid}/cgroup").read_text())
    ]
    if not found:
        outside.missing("the nodes' processes are not this machine's")
    return min(found, key=psutil.Process.create_time)
