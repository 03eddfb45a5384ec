"""The end of a call with several sessions, in the order in which LiveKit ends a job."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession

from tests.job import test_call
from tests.telemetry.test_session_facts import session, uses
from voicefleet import settings as settings_module
from voicefleet.job import call
from voicefleet.job.pod_client import POD_CLIENT
from voicefleet.job.prewarm import AGENT_FILE
from voicefleet.providers.prepared import SETTINGS
from voicefleet.telemetry.messages import CallEnded, CallStarted, Cause, EndCall, Fact, Usage

pytestmark = pytest.mark.usefixtures("clean_environment")


class Pod:
    """The client of a pod that orders nothing, and what the pod was told."""

    def __init__(self) -> None:
        self.told: list[Fact] = []
        self.has_everything = False

    def send(self, fact: Fact) -> None:
        self.told.append(fact)

    def offer(self, fact: Fact) -> bool:
        self.told.append(fact)
        return True

    async def orders(self) -> AsyncIterator[EndCall]:
        await asyncio.Event().wait()
        yield EndCall(cause=Cause.DRAINED)

    async def deliver(self) -> None:
        await asyncio.Event().wait()

    async def flush(self) -> None:
        self.has_everything = True


class Call(test_call.Call):
    """Of an agent file that starts these sessions; `at_its_end` is what the file's session-end
    handler finds of their states.
    """

    def __init__(self, *started: AgentSession[None]) -> None:
        super().__init__()
        self.started, self.pod = started, Pod()
        self.at_its_end: list[str] = []
        self.job.id = "AJ_1"
        hosted = SimpleNamespace(
            entrypoint=self._start,
            on_session_end=self._session_end,
            save_call=None,
            resume_call=None,
        )
        settings = settings_module.load()
        userdata = {SETTINGS: settings, AGENT_FILE: hosted, POD_CLIENT: self.pod}
        self.proc.userdata = userdata

    async def from_its_beginning_to_its_end(self) -> None:
        """As LiveKit 1.8.9 goes through a job (ipc/job_proc_lazy_main.py, `_shutdown_job`)."""
        context: Any = self
        await call.answer(context)
        await self.started[0].aclose()
        await call.end(context)
        await asyncio.gather(*(callback("user requested") for callback in self.callbacks))

    async def _start(self, _: object) -> None:
        for one in self.started:
            await one.start(Agent(instructions=""))

    def _session_end(self, _: object) -> None:
        self.at_its_end = [one.agent_state for one in self.started]


def uses_at_its_close(one: AgentSession[None], tokens: int) -> None:
    one.on("close", lambda _: uses(one, tokens=tokens))


async def test_what_every_session_uses_last_is_told_before_the_end() -> None:
    """Whoever had any session but the first was counted only after the end was told, if at all."""
    first, second, third = session(), session(), session()
    for one, tokens in ((first, 10), (second, 20), (third, 30)):
        uses_at_its_close(one, tokens)
    call = Call(first, second, third)
    await call.from_its_beginning_to_its_end()
    began, *used, ended = call.pod.told
    assert (type(began), type(ended)) == (CallStarted, CallEnded)
    assert call.pod.has_everything
    assert sorted(fact.input_tokens for fact in used if isinstance(fact, Usage)) == [10, 20, 30]


async def test_the_agent_files_own_end_finds_every_session_closed() -> None:
    call = Call(session(), session())
    await call.from_its_beginning_to_its_end()
    assert call.at_its_end == ["initializing", "initializing"]
