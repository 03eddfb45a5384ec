"""Alerts that fire for real: found by following their runbook, and cleared by its mitigation.

Real pods, a real LiveKit, a real Prometheus with the rules of ops/, in which a minute is 3 s. The
runbook's commands are pasted as they are; kubectl and helm are `drill_fleet`'s.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from livekit import api

from tests.ops import runbook
from tests.promises import drill_fleet, hastened
from tests.promises.conftest import RunStack
from tests.promises.drill_fleet import DrillFleet
from tests.promises.test_isolation import begin
from tests.promises.test_pod import worker_of
from tests.promises.test_prometheus import prometheus_binary as prometheus_binary
from tests.waiting import wait_until
from voicefleet.lab import prometheus
from voicefleet.lab.prometheus import Prometheus, Sample

pytestmark = pytest.mark.server

BAD_RELEASE = Path(__file__).with_name("bad_release.py")
WITHIN_SECONDS = 60.0
# A caller who hears nothing.
STAYS_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class OnCall:
    """Who has been called: has Prometheus, a shell, and the runbook of the alert."""

    fleet: DrillFleet
    prometheus: Prometheus
    path: str

    async def sees_the_fleet(self) -> bool:
        return bool(await self.prometheus.ask("voicefleet:slots_open:sum > 0"))

    async def is_called_by(self, alert: str, **labels: str) -> None:
        async def fires() -> bool:
            return await self._fires(alert, labels)

        await wait_until(fires, because=f"{alert} fires", timeout_seconds=WITHIN_SECONDS)

    async def is_left_alone_by(self, alert: str, **labels: str) -> None:
        async def is_silent() -> bool:
            return not await self._fires(alert, labels)

        await wait_until(is_silent, because=f"{alert} ends", timeout_seconds=WITHIN_SECONDS)

    async def asks(self, alert: str) -> list[Sample]:
        """The answers to all queries of the runbook's diagnosis."""
        queries = [b.text for b in self._blocks(alert, "Diagnosis") if b.language == "promql"]
        assert queries
        answers = [await self.prometheus.ask(self._filled(query)) for query in queries]
        return [sample for answer in answers for sample in answer]

    async def looks(self, alert: str, word: str) -> str:
        """The output of the diagnosis' commands that have this word in them."""
        return await self._paste(alert, "Diagnosis", word)

    async def mends(self, alert: str, word: str) -> None:
        """Do what the runbook's mitigation says."""
        await self._paste(alert, "Mitigation", word)

    async def _fires(self, alert: str, labels: dict[str, str]) -> bool:
        wanted = {"alertname": alert, "alertstate": "firing", **labels}
        selector = ",".join(f'{name}="{value}"' for name, value in wanted.items())
        return bool(await self.prometheus.ask(f"ALERTS{{{selector}}}"))

    async def _paste(self, alert: str, heading: str, word: str) -> str:
        (text,) = [b.text for b in self._blocks(alert, heading) if word in b.text]
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euc", text),
            env=self._variables() | {"PATH": self.path},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(shell.communicate(), WITHIN_SECONDS)
        assert shell.returncode == 0, output.decode()
        return output.decode()

    def _blocks(self, alert: str, heading: str) -> list[runbook.Block]:
        return runbook.blocks(runbook.of(alert)[heading])

    def _filled(self, query: str) -> str:
        return hastened.hastened(runbook.filled(query, self._variables()))

    def _variables(self) -> dict[str, str]:
        lab = {"NAMESPACE": "lab", "FLEET": "lab", "DEPLOYMENT": "deployment.apps/lab"}
        return runbook.VARIABLES | lab


Begin = Callable[..., AbstractAsyncContextManager[OnCall]]


@pytest.fixture
def on_call(
    run_stack: RunStack, prometheus_binary: Path, livekit_server_binary: Path, tmp_path: Path
) -> Begin:
    """Begins a shift: a fleet of one pod, with room for another, that runs the last release."""

    @asynccontextmanager
    async def shift(slots: int, *agents: str) -> AsyncIterator[OnCall]:
        ports = drill_fleet.free_ports(2)
        releases = [{"VOICEFLEET_SLOTS": str(slots), "VOICEFLEET_AGENT": agent} for agent in agents]
        first = {"VOICEFLEET_SLOTS": str(slots), "VOICEFLEET_HTTP_PORT": str(ports[0])}
        async with run_stack(agents[-1], **first) as up:
            livekit = next(part for part in up.parts if part.name == "livekit-server")
            fleet = DrillFleet(up, livekit_server_binary, livekit, ports, releases)
            fleet.pods[ports[0]] = worker_of(up)
            fleet.logs.append(worker_of(up).log)
            targets = [f"{drill_fleet.HOST}:{port}" for port in ports]
            rules = hastened.files(tmp_path)
            async with (
                prometheus.run(prometheus_binary, targets, tmp_path, rules) as seeing,
                drill_fleet.commands(fleet, tmp_path / "commands") as path,
            ):
                try:
                    me = OnCall(fleet, seeing, path)
                    await wait_until(me.sees_the_fleet, because="the rules have seen the pod")
                    yield me
                finally:
                    await fleet.end()

    return shift


async def test_a_full_fleet_a_lost_livekit_and_lost_pods_are_found_and_mended(
    on_call: Begin,
) -> None:
    async with on_call(2, "assistant") as me:
        alert = "VoicefleetNoFreeSlots"
        for room in ("one", "two"):
            await begin(me.fleet.up, room)
        await me.is_called_by(alert, severity="page")
        found = {sample.labels["what"]: sample.value for sample in await me.asks(alert)}
        assert found == {"ready slots": 2, "calls": 2, "open slots": 0}
        assert "1/1 pods ready" in await me.looks(alert, "get pods")
        await me.mends(alert, "kubectl")
        await me.is_left_alone_by(alert)

        alert = "VoicefleetLiveKitAway"
        await me.fleet.lose_livekit()
        await me.is_called_by(alert, severity="page")
        connected = [s.value for s in await me.asks(alert) if "pod" in s.labels]
        assert connected == [0, 0]
        assert "LiveKit" in await me.looks(alert, "voicefleet check")
        await me.mends(alert, "LIVEKIT_DEPLOYMENT")
        await me.is_left_alone_by(alert)

        alert = "VoicefleetMetricsAbsent"
        await me.fleet.lose_every_pod()
        await me.is_called_by(alert, severity="page")
        assert "0/0 pods ready" in await me.looks(alert, "get pods")
        await me.mends(alert, "scale")
        await me.is_left_alone_by(alert)


async def test_a_bad_release_and_a_provider_that_refuses_the_key_are_found_and_mended(
    on_call: Begin,
) -> None:
    async with on_call(4, "assistant", str(BAD_RELEASE)) as me:
        async with calling(me, "ponder"):
            alert = "VoicefleetRefusesWithFreeSlots"
            await me.is_called_by(alert, severity="page")
            assert {s.labels["cause"] for s in await me.asks(alert)} == {"agent_file_failed"}
            assert "gave no answer in time" in await me.looks(alert, "logs")
        async with calling(me, "crash"):
            alert = "VoicefleetCallsDropped"
            await me.is_called_by(alert, severity="page", window="1h")
            assert [s.labels["cause"] for s in await me.asks(alert)] == ["crashed"]
            (last, *_) = (await me.looks(alert, "logs")).splitlines()
            assert json.loads(last)["cause"] == "crashed"
        # The runbooks of both lead to the same, and both alerts end with it. The slower windows of
        # the service level take their time.
        await me.mends(alert, "rollback")
        await me.is_left_alone_by(alert, window="1h")
        await me.is_left_alone_by("VoicefleetRefusesWithFreeSlots")

        alert = "VoicefleetProviderFails"
        await behave(me, "cartesia", fault="unauthorized")
        async with calling(me, "speechless"):
            await me.is_called_by(alert, severity="ticket")
            assert {s.labels["kind"] for s in await me.asks(alert)} == {"tts"}
            assert "cartesia" in (await me.looks(alert, "voicefleet check")).lower()
        await me.mends(alert, "upgrade")
        await me.is_left_alone_by(alert)


@asynccontextmanager
async def calling(me: OnCall, room: str) -> AsyncIterator[None]:
    """One call after the other, twice a second, for as long as the context lasts."""

    async def call() -> None:
        async with asyncio.TaskGroup() as leaving:
            for number in itertools.count():
                await begin(me.fleet.up, f"{room}-{number}")
                leaving.create_task(leave(f"{room}-{number}"), name=f"leave {room}-{number}")
                await asyncio.sleep(0.5)

    async def leave(name: str) -> None:
        await asyncio.sleep(STAYS_SECONDS)
        up = me.fleet.up
        async with api.LiveKitAPI(up.url, up.api_key, up.api_secret) as livekit:
            # It may have ended by itself.
            with contextlib.suppress(api.TwirpError):
                await livekit.room.delete_room(api.DeleteRoomRequest(room=name))

    calls = asyncio.create_task(call(), name="calls")
    try:
        yield
    finally:
        calls.cancel()
        await asyncio.wait({calls})


async def behave(me: OnCall, provider: str, **behaviour: str) -> None:
    url = f"{me.fleet.up.providers_url}/lab/behaviour/{provider}"
    async with aiohttp.ClientSession() as http, http.put(url, json=behaviour) as answer:
        assert answer.status == 200
