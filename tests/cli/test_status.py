"""`status`: a row for each pod, whatever it answers, and a code that a script can go by."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from voicefleet import errors
from voicefleet.cli import app, status
from voicefleet.errors import ExitCode
from voicefleet.fleet import endpoints, prometheus
from voicefleet.fleet.pods import Pod
from voicefleet.telemetry import logs

pytestmark = pytest.mark.usefixtures("clean_environment")

READY = Pod("a:8081", "ready", calls=3, slots=8, oldest_call_seconds=245.2)
DRAINING = Pod("b:8081", "draining", 1, 8, oldest_call_seconds=7.0, drain_seconds_left=3500.0)
LATE = Pod("c:8081", "draining", 1, 8, oldest_call_seconds=7.0, drain_seconds_left=0.0)
SILENT = Pod("d:8081", problem="Connection refused")


@pytest.fixture(autouse=True)
def quiet_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[Pod]) -> None:
    """One answer a look; the last look is interrupted as by Ctrl-C."""
    left = list(answers)

    async def ask(*_: object) -> Sequence[Pod]:
        if not left:
            raise asyncio.CancelledError
        return left.pop(0)

    monkeypatch.setattr(endpoints, "ask", ask)
    monkeypatch.setattr(prometheus, "ask", ask)


def test_a_fleet_is_a_table_with_a_sum(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [READY, DRAINING, LATE, SILENT])
    assert app.run(["status", "--pod", "a"]) == ExitCode.FLEET
    assert capsys.readouterr().out.splitlines() == [
        "pod     phase     calls  slots  oldest call  drain",
        "a:8081  ready         3      8  4 min 5 s",
        "b:8081  draining      1      8  7 s          58 min 20 s left",
        "c:8081  draining      1      8  7 s          deadline is over",
        "d:8081  does not answer: Connection refused",
        "",
        "4 pods: 1 ready, 2 draining, 1 do not answer; 5 calls, 5 slots free",
    ]


def test_a_fleet_that_answers_is_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [READY, DRAINING])
    assert app.run(["status", "--prometheus", "http://p"]) == ExitCode.OK
    assert "2 pods" in capsys.readouterr().out


def test_a_fleet_without_a_pod_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [])
    assert app.run(["status", "--prometheus", "http://p"]) == ExitCode.FLEET
    assert capsys.readouterr().out == "no pods\n"


def test_json_has_the_same_for_a_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [READY, SILENT])
    assert app.run(["status", "--pod", "a", "--json"]) == ExitCode.FLEET
    told = json.loads(capsys.readouterr().out)
    assert told["totals"]["free_slots"] == 5
    assert [pod["phase"] for pod in told["pods"]] == ["ready", None]
    assert told["pods"][1]["problem"] == "Connection refused"


def test_watch_looks_again_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, [READY], [SILENT])
    arguments = ["status", "--pod", "a", "--watch", "0.1"]
    assert app.run(arguments) == ExitCode.INTERRUPTED
    shown = capsys.readouterr().out
    assert shown.count(" UTC\n") == 2
    assert "\x1b" not in shown


def test_watch_outlives_a_prometheus_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = 0

    async def ask(*_: object) -> list[Pod]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise errors.FleetError("Prometheus does not answer", fix="wait")
        if looks == 3:
            raise asyncio.CancelledError
        return [READY]

    monkeypatch.setattr(prometheus, "ask", ask)
    arguments = ["status", "--prometheus", "http://p", "--watch", "0.1"]
    assert app.run(arguments) == ExitCode.INTERRUPTED
    shown = capsys.readouterr().out
    assert "error: Prometheus does not answer" in shown
    assert "1 pods: 1 ready" in shown


@pytest.mark.parametrize(
    "arguments",
    [[], ["--pod", "a", "--prometheus", "b"], ["--pod", "a", "--fleet", "b"], ["--pod", "ftp://a"]],
)
def test_whom_to_ask_must_be_said_once(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["status", *arguments]) == ExitCode.USAGE
    assert "fix: " in capsys.readouterr().err


def test_a_duration_has_two_units_at_most() -> None:
    shown = [status.in_words(seconds) for seconds in (0, 59.4, 60, 3599.6, 9000)]
    assert shown == ["0 s", "59 s", "1 min 0 s", "1 h 0 min", "2 h 30 min"]
