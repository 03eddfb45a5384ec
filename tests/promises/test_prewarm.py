"""A pod whose processes cannot load their models, and one that is told to stop meanwhile."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.promises.test_livekit_away import OPERATOR, livekit_that_refuses
from tests.promises.test_pod import endpoints_of, exit_code_of
from tests.waiting import wait_until
from voicefleet import settings
from voicefleet.errors import ExitCode
from voicefleet.lab import processes

pytestmark = pytest.mark.server

BROKEN_SETUP = """
from livekit.agents import AgentServer, JobContext

server = AgentServer()

def setup(process):
    raise RuntimeError("the model is not there, and sk-secret is no key")

server.setup_fnc = setup

@server.rtc_session(agent_name="broken")
async def answer(ctx: JobContext) -> None: ...
"""


@pytest.mark.usefixtures("clean_environment")
async def test_processes_that_cannot_load_are_tried_with_growing_pauses_and_startupz_says_so(
    tmp_path: Path,
) -> None:
    """A stock worker forks the next a tenth of a second later, for ever, and says it is well."""
    (tmp_path / "broken_agent.py").write_text(BROKEN_SETUP)
    async with livekit_that_refuses() as (url, _), aiohttp.ClientSession() as http:
        environment = OPERATOR | {"LIVEKIT_URL": url, "VOICEFLEET_AGENT": "broken_agent.py"}
        worker = processes.start(
            "worker",
            processes.python("voicefleet", "start"),
            environment=settings.environment() | environment,
            folder=tmp_path,
        )
        pod = await endpoints_of(worker)

        async def has_failed_thrice() -> bool:
            async with http.get(f"{pod}/startupz") as answer:
                said = await answer.text()
                assert answer.status == 503
                assert "sk-secret" not in said
                return "processes that failed to load: 3" in said

        began_at = asyncio.get_running_loop().time()
        await wait_until(has_failed_thrice, because="startupz shows the failures")
        # Pauses of 1 and 2 s lie between the three.
        assert asyncio.get_running_loop().time() - began_at > 2.5
        os.kill(worker.pid, signal.SIGTERM)
        try:
            assert await exit_code_of(worker) == ExitCode.OK
        finally:
            await processes.stop(worker)
