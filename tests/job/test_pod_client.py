"""The job's connection to its pod, with real sockets and a pod that reads when it likes."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.waiting import wait_until
from voicefleet.job.pod_client import LONGEST_BACKLOG_BYTES, PodClient
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    Fact,
    PrewarmFailed,
    Said,
    Spans,
    Stalled,
    Warm,
)

ENDED = CallEnded(cause=Cause.CALLER_LEFT, seconds=1.0)


@dataclass
class Pod:
    """The other end. It reads only when it is told to."""

    connection: socket.socket
    facts: list[Fact] = field(default_factory=list)
    _rest: bytes = b""

    def read(self) -> None:
        """All that has arrived; what is no whole fact fails the test."""
        with contextlib.suppress(BlockingIOError):
            while received := self.connection.recv(1 << 20):
                *lines, self._rest = (self._rest + received).split(b"\n")
                self.facts += [messages.FACT.validate_json(line) for line in lines]

    def heard(self, fact: Fact) -> bool:
        self.read()
        return fact in self.facts


@pytest.fixture
def ends() -> Iterator[tuple[PodClient, Pod]]:
    its, ours = socket.socketpair()
    for end in (its, ours):
        end.setblocking(False)
    client = PodClient(its)
    yield client, Pod(ours)
    client.close()
    ours.close()


def fill(client: PodClient, text: str = "x" * 3000) -> None:
    """Send until an ordinary fact of this length is dropped, because the pod does not read."""
    dropped = client.dropped
    while client.dropped == dropped:
        client.send(Said(by="agent", text=text))


def test_a_full_backlog_is_sent_when_the_pod_reads_again_whatever_the_next_fact(
    ends: tuple[PodClient, Pod],
) -> None:
    """Once the backlog had less room than the smallest fact, `send` returned before it tried to
    send the backlog: nothing arrived any more, however much the pod read, and a call that had ended
    well was counted as crashed.
    """
    client, pod = ends
    fill(client)
    fill(client, "")
    while client.dropped < 10:
        client.send(Stalled(seconds=1.0))
    for _ in range(10):
        pod.read()
        client.send(Stalled(seconds=2.0))
    dropped = client.dropped
    client.send(ENDED)
    pod.read()
    assert pod.facts[-1] == ENDED
    assert client.dropped == dropped


@pytest.mark.parametrize("seed", range(5))
def test_control_facts_arrive_whatever_is_dropped_and_later_facts_after_every_pause(
    ends: tuple[PodClient, Pod], seed: int
) -> None:
    """Lines of all sizes, and a pod that pauses: each fact arrives once, whole and in order, or is
    counted as dropped; one that the pod counts calls by is never dropped.
    """
    client, pod = ends
    draw = random.Random(seed)
    sent: list[Fact] = []
    pauses = 0
    for number in range(3_000):
        fact: Fact = Stalled(seconds=float(number))
        match draw.randrange(10):
            case 0:
                fact = CallStarted(job_id=str(number))
            case 1:
                fact = Spans(data="s" * draw.randrange(60_000))
            case 2 | 3 | 4 | 5:
                fact = Said(by="caller", text="t" * draw.randrange(messages.LONGEST_TEXT))
        sent.append(fact)
        client.send(fact)
        if draw.randrange(300) == 0:
            pauses += 1
            # What is behind the kernel's buffer comes with the next fact.
            for _ in range(20):
                pod.read()
                client.send(CallEnding())
            pod.read()
            assert pod.facts[-1] == CallEnding()
    for _ in range(20):
        pod.read()
        client.send(Warm())
    assert pauses
    assert client.dropped
    pod.read()
    arrived = iter(fact for fact in pod.facts if not isinstance(fact, CallEnding | Warm))
    kept = list(arrived)
    assert len(kept) == len(sent) - client.dropped
    remaining = iter(sent)
    assert all(fact in remaining for fact in kept), "out of order, or twice"
    control = [fact for fact in sent if isinstance(fact, CallStarted)]
    assert [fact for fact in kept if isinstance(fact, CallStarted)] == control


def test_the_longest_error_fits_where_nothing_else_does(ends: tuple[PodClient, Pod]) -> None:
    client, pod = ends
    fill(client)
    fill(client, "")
    failed = PrewarmFailed(error="\x01" * messages.LONGEST_TEXT)
    dropped = client.dropped
    for fact in (failed, ENDED):
        client.send(fact)
    assert client.dropped == dropped
    for _ in range(20):
        pod.read()
        client.send(Warm())
    pod.read()
    assert [fact for fact in pod.facts if isinstance(fact, PrewarmFailed | CallEnded)] == [
        failed,
        ENDED,
    ]


def test_the_backlog_is_bounded_for_control_facts_too(ends: tuple[PodClient, Pod]) -> None:
    client, _ = ends
    for _ in range(10_000):
        client.send(CallStarted(job_id="x" * 200))
    assert client.dropped
    assert len(client._backlog) <= LONGEST_BACKLOG_BYTES


async def test_what_was_kept_is_delivered_without_a_next_fact(
    ends: tuple[PodClient, Pod],
) -> None:
    """A caller had hung up, and the slot stayed taken until the next fact."""
    client, pod = ends
    delivering = asyncio.create_task(client.deliver())
    fill(client)
    client.send(CallEnding())
    await wait_until(lambda: pod.heard(CallEnding()), because="the pod reads")
    # Again, from another thread, after it had caught up.
    await asyncio.to_thread(fill, client)
    await asyncio.to_thread(client.send, ENDED)
    await wait_until(lambda: pod.heard(ENDED), because="the pod reads")
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)


async def test_the_end_of_a_call_waits_for_a_pod_that_reads_late(
    ends: tuple[PodClient, Pod],
) -> None:
    """The last fact was left in the backlog of a process that ended: the call had crashed."""
    client, pod = ends
    fill(client)
    client.send(ENDED)
    flushing = asyncio.create_task(client.flush())
    await asyncio.sleep(0.5)
    assert not flushing.done()
    while not flushing.done():
        pod.read()
        await asyncio.sleep(0.01)
    assert pod.heard(ENDED)


async def test_the_end_of_a_call_does_not_wait_for_ever(ends: tuple[PodClient, Pod]) -> None:
    client, pod = ends
    fill(client)
    async with asyncio.timeout(5):
        await client.flush(0.1)
        pod.connection.close()
        await client.flush(10.0)


def test_the_end_of_a_process_waits_for_a_pod_that_reads_late(ends: tuple[PodClient, Pod]) -> None:
    client, pod = ends
    fill(client)
    client.send(ENDED)

    async def read_later() -> None:
        closing = asyncio.create_task(asyncio.to_thread(client.flush_at_exit))
        await asyncio.sleep(0.2)
        while not closing.done():
            pod.read()
            await asyncio.sleep(0.01)

    asyncio.run(read_later())
    assert pod.heard(ENDED)
