"""The stand-ins' faults and delays: what can be asked of them, and what they report."""

from typing import Any

import pytest

from tests.lab.conftest import KEY, Lab
from voicefleet import errors
from voicefleet.lab import behaviour
from voicefleet.lab.behaviour import PROVIDERS, Behaviour, Behaviours, Fault

QUESTION = {"model": "gpt-4.1", "messages": [{"role": "system", "content": "Greet."}]}


async def ask(lab: Lab, key: str = KEY) -> tuple[int, Any]:
    address = f"{lab.address}/openai/v1/chat/completions"
    headers = {"Authorization": f"Bearer {key}"}
    async with lab.session.post(address, json=QUESTION, headers=headers) as response:
        return response.status, await response.json()


async def put(lab: Lab, provider: str, body: str | bytes) -> tuple[int, Any]:
    address = f"{lab.address}/lab/behaviour/{provider}"
    async with lab.session.put(address, data=body) as response:
        return response.status, await response.json()


async def test_a_behaviour_can_be_changed_while_it_runs(lab: Lab) -> None:
    status, now = await put(lab, "openai-llm", '{"fault": "rate_limited", "fault_limit": 1}')
    assert status == 200
    assert now == await lab.get("/lab/behaviour/openai-llm")
    assert [(await ask(lab))[0] for _ in range(3)] == [429, 200, 200]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "nonsense",
        b"\xff\xfe\x00",
        "[" * 100_000,
        '{"fault": "flood"}',
        '{"fault": ["cut"]}',
        '{"latency": 1}',
        '{"latency_seconds": -1}',
        '{"latency_seconds": NaN}',
        '{"latency_seconds": true}',
        '{"latency_seconds": "1"}',
        '{"fault_ratio": 1.5}',
        '{"fault_limit": -1}',
        '{"fault_limit": 0.5}',
    ],
)
async def test_a_bad_behaviour_is_refused_with_a_sentence(lab: Lab, body: str | bytes) -> None:
    status, answer = await put(lab, "deepgram", body)
    assert status == 400
    assert answer["error"]
    assert answer["fix"]
    assert lab.behaviours.of("deepgram") == Behaviour()


async def test_an_unknown_provider_is_not_found(lab: Lab) -> None:
    status, answer = await put(lab, "alexa", "{}")
    assert status == 404
    assert "deepgram" in answer["fix"]


async def test_a_wrong_key_is_refused_as_the_provider_refuses_it(lab: Lab) -> None:
    status, answer = await ask(lab, key="wrong")
    assert status == 401
    assert answer["error"]["code"] == "invalid_api_key"


async def test_delay_is_added_and_reported(lab: Lab) -> None:
    lab.behaviours.change("openai-llm", Behaviour(latency_seconds=0.1))
    await ask(lab)
    report = await lab.get("/lab/requests")
    assert report["counts"] == {provider: int(provider == "openai-llm") for provider in PROVIDERS}
    (record,) = report["requests"]
    assert record["provider"] == "openai-llm"
    assert record["added_delay_seconds"] == pytest.approx(0.1)
    assert record["first_answer"] - record["arrived"] >= 0.1


def test_a_ratio_of_faults_hits_about_that_share() -> None:
    behaviours = Behaviours({"cartesia": Behaviour(fault=Fault.CUT, fault_ratio=0.25)})
    hit = sum(behaviours.begin("cartesia").fault is Fault.CUT for _ in range(2_000))
    assert 400 < hit < 600


def test_jitter_stays_within_its_bounds_and_never_below_zero() -> None:
    behaviours = Behaviours({"cartesia": Behaviour(latency_seconds=0.1, jitter_seconds=0.2)})
    delays = [behaviours.latency_seconds("cartesia") for _ in range(200)]
    assert min(delays) == 0.0
    assert 0.2 < max(delays) <= 0.3


def test_records_are_bounded_but_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "MAX_RECORDS", 10)
    behaviours = Behaviours()
    for _ in range(25):
        behaviours.begin("cartesia")
    report = behaviours.report()
    assert report["counts"]["cartesia"] == 25
    assert len(report["requests"]) == 10


def test_a_behaviour_can_be_given_on_the_command_line() -> None:
    provider, wanted = behaviour.from_text("deepgram:latency_seconds=0.2,fault=cut,fault_limit=3")
    assert provider == "deepgram"
    assert wanted == Behaviour(latency_seconds=0.2, fault=Fault.CUT, fault_limit=3)


@pytest.mark.parametrize(
    "text", ["", "alexa:", "deepgram:speed=1", "deepgram:fault=no", "deepgram:x"]
)
def test_a_behaviour_that_does_not_exist_is_a_usage_error(text: str) -> None:
    with pytest.raises(errors.UsageError):
        behaviour.from_text(text)
