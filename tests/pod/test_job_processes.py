"""The line between the pod and its processes: real sockets at both ends, and strangers at one."""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from voicefleet.job import pod_client
from voicefleet.job.pod_client import PodClient
from voicefleet.livekit_compat.kill_reasons import LIVEKIT_LOGGER, KillReasons
from voicefleet.pod import job_processes as processes_module
from voicefleet.pod.calls import Call, CallTable, EndedCall
from voicefleet.pod.job_processes import JobProcesses
from voicefleet.pod.phase import PodState
from voicefleet.pod.resume import ResumePolicy
from voicefleet.telemetry import messages
from voicefleet.telemetry.messages import (
    CallEnded,
    CallEnding,
    CallStarted,
    Cause,
    Fact,
    NotResumed,
    PrewarmFailed,
    Warm,
)

NONSENSE = [
    b"\n",
    b"{}\n",
    b"null\n",
    b"\xff\xfe\x00\n",
    b'{"type":"warm"\n',
    b'{"type":"warm","extra":1}\n',
    b'{"type":"call_ended","cause":"memory","seconds":1}\n',
    b'{"type":"call_ended","cause":"silent","seconds":-1}\n',
    b'{"type":"call_ended","cause":"silent","seconds":NaN}\n',
    b'{"type":"call_started","job_id":"somebody-elses"}\n',
    b'{"type":"warming","pid":1}\n',
    b"[" * 10_000 + b"\n",
    b"x" * (messages.LONGEST_LINE_BYTES * 3) + b"\n",
]

# What a process of ours would not begin with.
STRANGE = [line for line in NONSENSE if b"warming" not in line]


class Pod:
    """The pod's side, and what it heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = PodState(is_serving=True)
        self.table = CallTable(2, finishing_budget=1)
        self.lines: list[PodClient] = []
        self.over: list[EndedCall] = []
        self.facts: list[tuple[str | None, str]] = []
        self.wrong = 0
        self.freed: list[int] = []
        self.gone: list[int] = []
        self.kill_reasons = KillReasons()
        self.died_for: list[Cause] = []
        self.not_brought_back: list[NotResumed] = []

        async def not_here(*_: object) -> None:
            raise AssertionError("nobody is to be launched or killed here")

        self.processes = JobProcesses(
            *(self.table, self.state, self.kill_reasons, self, self._on_freed, self.gone.append),
            resume=ResumePolicy(self.table, is_wanted=False, most_a_minute=2, launch=not_here),
            kill=not_here,
        )

    def observe(self, call: Call | None, fact: Fact) -> None:
        self.facts.append((call.job_id if call else None, fact.type))

    def ended(self, call: EndedCall) -> None:
        self.over.append(call)

    def not_understood(self) -> None:
        self.wrong += 1

    def died(self, cause: Cause) -> None:
        self.died_for.append(cause)

    def not_resumed(self, why: NotResumed) -> None:
        self.not_brought_back.append(why)

    async def _on_freed(self) -> None:
        self.freed.append(self.table.occupied)

    def take(self, job_id: str) -> None:
        """The pod takes this call, and LiveKit hands it to a process."""
        call = self.table.offer(job_id, "RM_1")
        assert call is not None
        self.table.accepted(call)

    def has(self, job_id: str) -> bool:
        """Whether a process has the call."""
        call = self.table.get(job_id)
        return call is not None and call.pid is not None

    @property
    def causes(self) -> list[Cause]:
        return [over.cause for over in self.over]


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Pod]:
    pod = Pod(path / "pod.sock")
    async with pod.processes.listening(pod.path):
        yield pod
        pod.state.is_stopped = True
    for line in pod.lines:
        line.close()


async def process_of(pod: Pod) -> PodClient:
    """A process that has been let in."""
    line = await asyncio.to_thread(pod_client.connect, pod.path)
    assert line is not None
    pod.lines.append(line)
    await asyncio.to_thread(line.begin)
    return line


async def call_of(pod: Pod, job_id: str) -> PodClient:
    line = await process_of(pod)
    line.send(Warm())
    pod.take(job_id)
    line.send(CallStarted(job_id=job_id))
    await wait_until(lambda: pod.has(job_id), because="the call has begun")
    return line


async def counted(pod: Pod, failures: int) -> None:
    await wait_until(lambda: pod.state.prewarm_failures == failures, because="it is counted")


async def test_a_call_that_ends_itself_is_over_for_the_cause_it_tells(tmp_path: Path) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        assert pod.table.pids() == {0: os.getpid()}
        line.send(CallEnded(cause=Cause.CALLER_LEFT, seconds=12.5))
        line.close()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        (over,) = pod.over
        assert (over.record.job_id, over.cause, over.seconds) == ("one", Cause.CALLER_LEFT, 12.5)
        assert pod.gone == [os.getpid()]


async def test_a_call_whose_caller_has_hung_up_needs_its_slot_no_more(tmp_path: Path) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        assert pod.table.occupied == 1
        line.send(CallEnding())
        await wait_until(lambda: pod.freed == [0], because="the slot is free, and LiveKit told")
        assert pod.table.taken == 1
        line.close()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        assert (pod.table.taken, len(pod.table)) == (0, 0)


async def test_a_call_whose_process_is_gone_without_a_word_has_crashed(tmp_path: Path) -> None:
    async with listening(tmp_path) as pod:
        (await call_of(pod, "one")).close()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        assert pod.causes == [Cause.CRASHED]


async def test_a_call_that_livekit_killed_ends_for_the_reason_that_livekit_logged(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        fields = {"pid": os.getpid()}
        logging.getLogger(LIVEKIT_LOGGER).error(
            "job process exceeded memory limit, killing it", extra=fields
        )
        line.close()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        assert pod.causes == [Cause.MEMORY]


async def test_a_process_that_ends_before_it_says_that_it_has_its_call_ends_the_call(
    tmp_path: Path,
) -> None:
    """A warm process that died between the assignment and the start left no trace of the call."""
    async with listening(tmp_path) as pod:
        pod.take("one")
        pod.processes.closed("one", 77)
        pod.processes.closed("one", 77)
        pod.processes.closed("nobody's", 78)
        assert pod.causes == [Cause.CRASHED]


async def test_livekits_word_of_an_end_does_not_overtake_what_the_process_says(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        pod.processes.closed("one", os.getpid())
        assert pod.over == []
        line.send(CallEnded(cause=Cause.AGENT_LEFT, seconds=1.0))
        line.close()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        assert pod.causes == [Cause.AGENT_LEFT]


async def test_a_process_is_warm_until_it_has_a_call(tmp_path: Path) -> None:
    async with listening(tmp_path) as pod:
        line = await process_of(pod)
        assert (pod.state.warm_processes, pod.state.is_warm) == (0, False)
        line.send(Warm())
        await wait_until(lambda: pod.state.warm_processes == 1, because="it is warm")
        assert pod.state.is_warm
        await call_of(pod, "one")
        assert pod.state.warm_processes == 1
        line.close()
        await wait_until(lambda: pod.state.warm_processes == 0, because="it is gone")


async def test_after_a_failed_prewarm_the_next_waits_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stock worker forks the next process a tenth of a second later, for ever."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    async with listening(tmp_path) as pod:
        for failures in range(1, 8):
            line = await process_of(pod)
            if failures % 2:
                line.send(PrewarmFailed(error="no such model"))
            line.close()
            await counted(pod, failures)
        (await process_of(pod)).send(Warm())
        await wait_until(
            lambda: pod.state.prewarm_failures == 0, because="one that is warm ends the count"
        )
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(("is_stopping", "failures"), [(True, 0), (False, 1)])
async def test_a_process_that_ends_before_it_is_warm_is_a_failure_unless_the_pod_stops(
    tmp_path: Path, is_stopping: bool, failures: int
) -> None:
    async with listening(tmp_path) as pod:
        line = await process_of(pod)
        if is_stopping:
            pod.state.begin_drain(1)
        line.close()
        # In the same turn it is counted, or not.
        await wait_until(lambda: not pod.state.job_pids, because="the pod knows that it has ended")
        assert pod.state.prewarm_failures == failures


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (PrewarmFailed(error="no such model"), "no such model"),
        (None, "the process ended while it loaded"),
    ],
)
async def test_why_a_process_could_not_load_is_in_the_pods_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fact: Fact | None, reason: str
) -> None:
    async with listening(tmp_path) as pod:
        line = await process_of(pod)
        if fact is not None:
            line.send(fact)
        line.close()
        await counted(pod, 1)
    [record] = [r for r in caplog.records if r.msg == "prewarm failed"]
    assert (record.__dict__["error"], record.__dict__["in_a_row"]) == (reason, 1)


async def test_every_call_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    async with listening(tmp_path) as pod:
        lines = [await call_of(pod, "one"), await call_of(pod, "two")]
        ending = asyncio.create_task(pod.processes.end_calls(Cause.DRAINED, 20.0))
        for line in lines:
            order = await anext(line.orders())
            assert not ending.done()
            line.send(CallEnded(cause=order.cause, seconds=1.0))
            line.close()
        await ending
        assert pod.causes == [Cause.DRAINED, Cause.DRAINED]


async def test_a_call_that_does_not_end_is_not_waited_for_longer_than_said(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        await pod.processes.end_calls(Cause.DRAINED, 0.1)
        assert pod.over == []
        line.close()


@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
async def test_nonsense_from_a_call_is_counted_and_the_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nonsense: bytes
) -> None:
    monkeypatch.setattr(processes_module, "PAUSE_AFTER_NONSENSE_SECONDS", 0.0)
    async with listening(tmp_path) as pod:
        reader, writer = await asyncio.open_unix_connection(pod.path)
        writer.write(b'{"type":"warming","pid":5}\n')
        await reader.readline()
        pod.take("one")
        writer.write(b'{"type":"call_started","job_id":"one"}\n' + nonsense)
        await wait_until(lambda: pod.wrong > 0, because="it is counted")
        writer.write(b'{"type":"call_ended","cause":"agent_left","seconds":2}\n')
        writer.write_eof()
        await wait_until(lambda: bool(pod.over), because="the call is over")
        assert [(over.cause, over.seconds) for over in pod.over] == [(Cause.AGENT_LEFT, 2.0)]
        writer.close()


@pytest.mark.parametrize("nonsense", STRANGE, ids=range(len(STRANGE)))
async def test_a_stranger_is_shown_the_door_and_the_others_go_on(
    tmp_path: Path, nonsense: bytes
) -> None:
    async with listening(tmp_path) as pod:
        line = await call_of(pod, "one")
        reader, writer = await asyncio.open_unix_connection(pod.path)
        writer.write(nonsense)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert pod.wrong == 1
        assert pod.has("one")
        line.close()


async def test_random_bytes_are_errors_and_never_an_end_of_the_listening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "PAUSE_AFTER_NONSENSE_SECONDS", 0.0)
    monkeypatch.setattr(processes_module, "LONGEST_PAUSE_SECONDS", 0.0)
    draw = random.Random(7)
    async with listening(tmp_path) as pod:
        for _ in range(100):
            _, writer = await asyncio.open_unix_connection(pod.path)
            if draw.random() < 0.5:
                writer.write(b'{"type":"warming","pid":5}\n')
            writer.write(draw.randbytes(draw.randrange(2000)))
            writer.close()
        (await call_of(pod, "last")).close()
        await wait_until(lambda: bool(pod.over), because="a call is heard all the same")
        # Each was shown the door: none is kept, and what was no line was counted.
        await wait_until(lambda: not pod.processes._connected, because="nobody is left")
        assert pod.wrong > 0


async def test_a_pod_that_does_not_read_never_makes_a_call_wait(tmp_path: Path) -> None:
    """The kernel's buffer and a bounded backlog, then facts are dropped, each whole."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "deaf.sock"))
    server.listen()
    line = pod_client.connect(tmp_path / "deaf.sock")
    assert line is not None
    deaf, _ = server.accept()
    for _ in range(6_000):
        line.send(CallStarted(job_id="x" * 100))
    assert line.dropped > 0

    # What is read makes room for the backlog, which goes with the next fact.
    deaf.setblocking(False)
    received = bytearray()
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            while part := deaf.recv(1 << 20):
                received += part
        line.send(Warm())
    whole = received[: received.rindex(b"\n") + 1].splitlines()
    assert len(whole) > 1_000
    for text in whole:
        messages.FACT.validate_json(text)
    for end in (line, deaf, server):
        end.close()


async def test_no_pod_and_one_that_went_are_no_error_for_a_call(tmp_path: Path) -> None:
    assert pod_client.connect(tmp_path / "nobody.sock") is None
    async with listening(tmp_path) as pod:
        line = await process_of(pod)
    await asyncio.sleep(0)
    for _ in range(3):
        line.send(Warm())
    assert [order async for order in line.orders()] == []
