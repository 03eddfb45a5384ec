"""Prewarm: what a process has loaded before a call comes."""

from pathlib import Path

import pytest
from livekit.agents import JobExecutorType, JobProcess, inference, llm

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.job import prewarm, shared
from voicefleet.providers import prepared, session

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
