"""LiveKit still starts the spans that the facts of a call are read from, and names them so."""

import re
from pathlib import Path

import livekit.agents
import pytest
from livekit.agents.telemetry import loop_monitor
from livekit.agents.voice.speech_handle import InterruptionSource

from voicefleet.livekit_compat import spans

LIVEKIT = Path(livekit.agents.__file__).parent

STARTED_IN = {
    spans.JOB_ENTRYPOINT: "ipc/job_proc_lazy_main.py",
    spans.ROOM_CONNECT: "job.py",
    spans.USER_TURN: "voice/audio_recognition.py",
    spans.LLM_NODE: "voice/generation.py",
    spans.TTS_NODE: "voice/generation.py",
    spans.AGENT_TURN: "voice/agent_activity.py",
    spans.UPDATE_AGENT: "voice/agent_session.py",
}


def started_in(path: Path) -> set[str]:
    """The names of the spans that this file starts: `start_span("…"` and the like."""
    return set(re.findall(r"_span\(\s*\"(\w+)\"", path.read_text()))


@pytest.mark.parametrize(("name", "file"), STARTED_IN.items())
def test_livekit_starts_a_span_of_this_name(name: str, file: str) -> None:
    assert name in started_in(LIVEKIT / file), (
        f"livekit-agents no longer starts a span {name!r} in {file}: the facts read from it are"
        " not told any more. Find its new name and change livekit_compat/spans.py"
    )


def test_livekit_names_the_span_of_a_blocked_event_loop_so() -> None:
    assert loop_monitor.SPAN_NAME == spans.EVENT_LOOP_BLOCKED


def test_livekit_starts_its_spans_in_this_scope() -> None:
    source = (LIVEKIT / "telemetry" / "traces.py").read_text()
    assert f'"{spans.SCOPE}"' in source, (
        "livekit-agents traces in another scope: its spans are not recognised at a provider of the"
        " agent file. Change SCOPE in livekit_compat/spans.py"
    )


def test_an_interruption_has_the_sources_that_we_know() -> None:
    """One more is either a caller who speaks or not: decide, and then change this list."""
    assert set(InterruptionSource.__args__) == spans.CALLER_SPOKE | {"programmatic"}  # type: ignore[attr-defined]
