"""Agent files that people run, hosted as they are: where the keys are is the file's own affair.

The files are in `cases/`; beside each stand neighbours of its kind.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.conftest import CASES
from tests.promises.hosting import (
    check,
    is_answered,
    leaves_when_told,
    output,
    over,
)
from voicefleet.lab import processes, stack
from voicefleet.lab.livekit_server import LiveKitServer
from voicefleet.lab.stack import Stack

pytestmark = pytest.mark.server


@asynccontextmanager
async def hosted_with_keys_in(
    file: Path, folder: Path, agent: Path, livekit: LiveKitServer
) -> AsyncIterator[Stack]:
    """A worker in `folder` whose environment has nothing but VOICEFLEET_… in it: its keys are in
    this file.
    """
    providers, providers_url = await stack.start_providers(folder, "assistant")
    keys = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "OPENAI_API_KEY": stack.KEY,
        "OPENAI_BASE_URL": f"{providers_url}/openai/v1",
        "MY_AGENT_NAME": "starter",
    }
    lines = "".join(f"{name}={value}\n" for name, value in keys.items())
    await asyncio.to_thread(file.write_text, lines)
    environment = stack.clean_environment() | {
        "VOICEFLEET_AGENT": str(agent),
        "VOICEFLEET_HTTP_PORT": "0",
        "VOICEFLEET_SLOTS": "1",
    }
    parts = [providers]
    try:
        checked = await check(folder, environment)
        assert f"ok    LiveKit: {livekit.url}" in checked, checked
        start = processes.python("voicefleet", "start")
        worker = processes.start("worker", start, environment=environment, folder=folder)
        parts.append(worker)
        line = await processes.wait_for_line(
            worker, lambda line: '"registered worker"' in line, within_seconds=60
        )
        yield Stack(
            *(livekit.url, livekit.api_key, livekit.api_secret, providers_url),
            agent_name=str(json.loads(line)["agent_name"]),
            conversation="assistant",
            folder=folder,
            parts=tuple(parts),
        )
    finally:
        for part in reversed(parts):
            await processes.stop(part)


@pytest.mark.asyncio(loop_scope="session")
async def test_keys_in_an_env_local_are_those_of_the_pod_and_of_the_check(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    """LiveKit's starter project keeps them there. They win over what `.env` says."""
    (tmp_path / ".env").write_text("LIVEKIT_URL=ws://another.example\nVOICEFLEET_LOG_LEVEL=INFO\n")
    agent, file = CASES / "env_local.py", tmp_path / ".env.local"
    async with hosted_with_keys_in(file, tmp_path, agent, livekit_server) as up:
        assert up.agent_name == "starter"
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)


@pytest.mark.asyncio(loop_scope="session")
async def test_keys_that_only_the_file_itself_loads_are_those_of_the_pod_and_of_the_check(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    """And they are kept out of the log like the others."""
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    agent = Path(shutil.copy(CASES / "env_beside_the_file.py", beside))
    async with hosted_with_keys_in(beside / ".env", tmp_path, agent, livekit_server) as up:
        await is_answered(up)
        await over(up, "caller_left")
        await leaves_when_told(up)
        assert not [line for line in output(up) if livekit_server.api_secret in line]
