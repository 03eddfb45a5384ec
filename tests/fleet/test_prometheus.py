"""Asking Prometheus for the fleet: what it must look like, and what is made of anything else.

With a real Prometheus and a real pod: tests/promises/test_prometheus.py.
"""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from voicefleet.errors import FleetError
from voicefleet.fleet import prometheus
from voicefleet.fleet.pods import Pod
from voicefleet.pod.http import serving

EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def vector(*samples: tuple[Mapping[str, str], str]) -> dict[str, Any]:
    found = [{"metric": dict(labels), "value": [time.time(), value]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": found}}


@asynccontextmanager
async def answering(answers: Mapping[str, object]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers a query by how it begins; its address, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        query = request.query["query"]
        asked.append(query)
        found = next((a for begin, a in answers.items() if query.startswith(begin)), EMPTY)
        return web.Response(text=found if isinstance(found, str) else json.dumps(found))

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    async with serving(app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}/", asked


def labels(pod: str, **more: str) -> dict[str, str]:
    return {"namespace": "talk", "pod": pod, **more}


async def test_pods_are_put_together_from_their_series() -> None:
    soon = time.time() + 600
    answers = {
        "voicefleet_phase": vector(
            (labels("b", phase="draining"), "1"), (labels("a", phase="ready"), "1")
        ),
        "voicefleet_calls_active": vector((labels("a"), "3"), (labels("b"), "1")),
        "voicefleet_slots": vector((labels("a"), "8"), (labels("b"), "8")),
        "voicefleet_oldest_call_seconds": vector((labels("a"), "42"), (labels("b"), "7")),
        "voicefleet_drain_deadline": vector((labels("a"), "0"), (labels("b"), str(soon))),
    }
    async with answering(answers) as (url, _):
        ready, draining = await prometheus.ask(url)
    assert ready == Pod("a", "ready", calls=3, slots=8, oldest_call_seconds=42.0)
    assert (draining.name, draining.phase) == ("b", "draining")
    assert draining.drain_seconds_left == pytest.approx(600, abs=30)


async def test_a_pod_that_does_not_answer_prometheus_is_a_row_unless_it_was_leaving() -> None:
    """Nor is one that was deleted, which is no target any more, or a target that is no pod."""
    remembered = vector(
        (labels("lost", phase="ready"), "1"),
        (labels("left", phase="draining"), "1"),
        (labels("deleted", phase="ready"), "1"),
    )
    down = vector(*((labels(name, job="x"), "0") for name in ("lost", "left", "stranger")))
    async with answering({"last_over_time": remembered, "up{": down}) as (url, _):
        (lost,) = await prometheus.ask(url)
    assert lost == Pod("lost", problem="was ready, and does not answer Prometheus")


async def test_pods_of_two_namespaces_with_one_name_are_two() -> None:
    there = {"namespace": "other", "pod": "a", "phase": "ready"}
    answers = {"voicefleet_phase": vector((labels("a", phase="ready"), "1"), (there, "1"))}
    async with answering(answers) as (url, _):
        assert len(await prometheus.ask(url)) == 2


async def test_one_fleet_is_asked_for_by_its_label_whatever_its_name() -> None:
    async with answering({}) as (url, asked):
        assert await prometheus.ask(url, 'a"} or up{x="') == []
    assert len(asked) == 8
    assert all(r'{fleet="a\"} or up{x=\""}' in query for query in asked)


async def test_labels_that_would_move_the_cursor_do_not() -> None:
    answers = {"voicefleet_phase": vector((labels("\x1b[2Ja\n", phase="ready"), "1"))}
    async with answering(answers) as (url, _):
        (found,) = await prometheus.ask(url)
    assert found.name == "[2Ja"


async def test_values_that_are_no_numbers_count_as_none() -> None:
    answers = {
        "voicefleet_phase": vector((labels("a", phase="ready"), "1")),
        "voicefleet_calls_active": vector((labels("a"), "NaN")),
        "voicefleet_slots": vector((labels("a"), "+Inf")),
    }
    async with answering(answers) as (url, _):
        (found,) = await prometheus.ask(url)
    assert (found.calls, found.slots) == (0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<html>",
        "[" * 10_000,
        {"status": "error", "error": "no"},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}},
    ],
)
async def test_whoever_is_no_prometheus_is_an_error_with_a_fix(answer: object) -> None:
    async with answering({"voicefleet_slots": answer}) as (url, _):
        with pytest.raises(FleetError, match="not as a Prometheus") as raised:
            await prometheus.ask(url)
    assert "--prometheus" in raised.value.fix


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "LONGEST_ANSWER_BYTES", 1000)
    async with answering({"voicefleet_slots": " " * 5000}) as (url, _):
        with pytest.raises(FleetError, match="does not end"):
            await prometheus.ask(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://"])
async def test_nobody_at_the_address_is_an_error_with_a_fix(url: str) -> None:
    with pytest.raises(FleetError, match="does not answer"):
        await prometheus.ask(url)
