"""Prewarm: what a process has loaded before a call comes, and what its pod is told of it."""

import os
import socket
import threading
from collections.abc import Iterator
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import JobExecutorType, JobProcess, inference, llm

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.job import descendants, pod_client, prewarm, shared, signals
from voicefleet.providers import prepared, session
from voicefleet.telemetry import job_traces, messages
from voicefleet.telemetry.messages import PrewarmFailed, Proceed, Warm, Warming

OWN_SETUP = """
from livekit.agents import AgentServer, JobContext, JobProcess

server = AgentServer()

def setup(process: JobProcess) -> None:
    process.userdata["found"] = process.userdata["vad"]
    process.userdata["vad"] = "the file's own"

server.setup_fnc = setup

@server.rtc_session(agent_name="own")
async def entrypoint(ctx: JobContext) -> None: ...
"""


@pytest.fixture
def process() -> JobProcess:
    return JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)


pytestmark = pytest.mark.usefixtures("clean_environment")


def test_a_warm_process_has_settings_vad_and_agent_file(process: JobProcess) -> None:
    settings = settings_module.load()
    prewarm.load(process, settings=settings)
    assert process.userdata[prepared.SETTINGS] is settings
    assert isinstance(process.userdata[prepared.VAD], inference.VAD)
    assert process.userdata[prewarm.AGENT_FILE].agent_name == "assistant"


async def test_a_warm_process_has_the_llm_of_its_first_session(
    process: JobProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in the call, its client stopped the audio for 0.3 s."""
    for name in ("OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.setenv("VOICEFLEET_LLM", "openai/one,openai/two")
    prewarm.load(process, settings=settings_module.load())
    made = process.userdata[prepared.LLM]
    assert isinstance(made, llm.FallbackAdapter)
    assert session.build(process).llm is made
    assert session.build(process).llm is not made


def test_the_files_own_setup_runs_last_finds_our_vad_and_may_replace_it(
    process: JobProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_setup_agent.py").write_text(OWN_SETUP)
    monkeypatch.setenv("VOICEFLEET_AGENT", "own_setup_agent.py")
    prewarm.load(process, settings=settings_module.load())
    assert isinstance(process.userdata["found"], inference.VAD)
    assert process.userdata["vad"] == "the file's own"


def test_a_file_that_broke_since_the_start_fails_the_process(
    process: JobProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICEFLEET_AGENT", "gone.py")
    with pytest.raises(errors.AgentFileError):
        prewarm.load(process, settings=settings_module.load())


def test_the_vad_is_loaded_once_for_all_processes_forked_later() -> None:
    providers = settings_module.load().providers
    assert shared.vad(providers) is shared.vad(settings_module.load().providers)


# With a pod that listens.


class Pod:
    """A pod's end of the line for one process; what it hears is in `facts` when that has closed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pod.sock"
        self.facts: list[messages.Fact] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, name="a pod", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.facts.append(messages.FACT.validate_json(line))
                if isinstance(self.facts[-1], Warming):
                    connection.sendall(messages.line(Proceed(after_seconds=0.0)))

    def heard(self, process: JobProcess) -> list[messages.Fact]:
        """All that this process has told, which ends now."""
        process.userdata[pod_client.POD_CLIENT].close()
        self._thread.join(5)
        return self.facts

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    yield pod
    pod.close()


class Exits:
    """What is to be run when the process ends, the highest priority first."""

    def __init__(self) -> None:
        self.registered = list[tuple[int, Any]]()

    def __call__(self, _: object, callback: Any, *, exitpriority: int) -> None:
        self.registered.append((exitpriority, callback))

    @property
    def in_order(self) -> list[Any]:
        return [callback for _, callback in sorted(self.registered, key=lambda one: -one[0])]


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> Exits:
    """The test's own process keeps its tracing, and its end."""
    exits = Exits()
    monkeypatch.setattr(util, "Finalize", exits)
    monkeypatch.setattr(job_traces, "set_up", lambda *_: None)
    return exits


@pytest.fixture
def on_thread() -> JobProcess:
    return JobProcess(executor_type=JobExecutorType.THREAD, user_arguments=None, http_proxy=None)


def test_the_pod_hears_that_a_process_begins_and_that_it_is_warm(
    on_thread: JobProcess, pod: Pod, exits: Exits
) -> None:
    prewarm.prewarm(on_thread, settings=settings_module.load(), pod=pod.path)
    assert on_thread.userdata[prewarm.AGENT_FILE].agent_name == "assistant"
    assert pod.heard(on_thread) == [Warming(pid=os.getpid()), Warm()]


def test_the_pod_hears_why_a_process_could_not_load_and_livekit_too(
    on_thread: JobProcess, pod: Pod, exits: Exits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod counts failures by it, and its log alone says which model was missing."""
    monkeypatch.setenv("VOICEFLEET_AGENT", "gone.py")
    with pytest.raises(errors.AgentFileError):
        prewarm.prewarm(on_thread, settings=settings_module.load(), pod=pod.path)
    warming, failed = pod.heard(on_thread)
    assert isinstance(warming, Warming)
    assert isinstance(failed, PrewarmFailed)
    assert "gone.py" in failed.error
    assert len(failed.error) <= messages.LONGEST_TEXT


def test_a_process_that_reaches_no_pod_takes_calls_all_the_same(
    on_thread: JobProcess, exits: Exits, tmp_path: Path
) -> None:
    prewarm.prewarm(on_thread, settings=settings_module.load(), pod=tmp_path / "nobody.sock")
    assert on_thread.userdata[prewarm.AGENT_FILE].agent_name == "assistant"
    assert pod_client.POD_CLIENT not in on_thread.userdata


def test_a_process_ends_its_programs_first_and_then_tells_its_last_facts(
    process: JobProcess, pod: Pod, exits: Exits, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()
    for module, name in (
        (signals, "leave_to_the_parent"),
        (signals, "restore_in_forked_children"),
        (descendants, "adopt_orphans"),
    ):
        monkeypatch.setattr(module, name, lambda name=name: done.append(name))
    prewarm.prewarm(process, settings=settings_module.load(), pod=pod.path)
    assert done == ["leave_to_the_parent", "restore_in_forked_children", "adopt_orphans"]
    client = process.userdata[pod_client.POD_CLIENT]
    last = [prewarm.leave_in_time, client.flush_at_exit]
    assert exits.in_order == [descendants.end_descendants, *last]
    pod.heard(process)


def test_a_process_that_is_not_the_calls_own_keeps_its_signals_and_programs(
    on_thread: JobProcess, pod: Pod, exits: Exits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In LiveKit's console Ctrl-C would do nothing any more."""
    monkeypatch.setattr(signals, "leave_to_the_parent", lambda: pytest.fail("signals are taken"))
    prewarm.prewarm(on_thread, settings=settings_module.load(), pod=pod.path)
    client = on_thread.userdata[pod_client.POD_CLIENT]
    assert exits.in_order == [client.flush_at_exit]
    pod.heard(on_thread)
