"""Asks Prometheus for the pods that it scrapes, where the pods themselves are out of reach.

Its HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicefleet import errors
from voicefleet.fleet import pods
from voicefleet.fleet.pods import PHASES, Phase, Pod, printable
from voicefleet.telemetry import names
from voicefleet.telemetry.names import Metric

ANSWERS_WITHIN_SECONDS = 15.0
LONGEST_ANSWER_BYTES = 16 * 1024 * 1024

# A target that does not answer is a pod of ours if it was one in this time, unless it was leaving.
# One that Kubernetes has deleted is no target any more.
MISSED_WITHIN = "1h"

# How a pod is known: by namespace and name.
Key = tuple[str, str]


class Sample(BaseModel):
    model_config = ConfigDict(extra="ignore")

    metric: dict[str, str]
    value: tuple[float, Annotated[float, Field(allow_inf_nan=True)]]


class Data(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    kind: Literal["vector"] = Field(alias="resultType")
    result: list[Sample]


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Literal["success"]
    data: Data


async def ask(url: str, fleet: str | None = None) -> list[Pod]:
    """The pods that this Prometheus scrapes; of one fleet, or of all.

    :raises FleetError: if it does not answer, or not as a Prometheus.
    """
    chosen = f"fleet={json.dumps(fleet)}" if fleet else ""

    def of(metric: Metric) -> str:
        return f"{metric.name}{{{chosen}}}"

    remembered = f"last_over_time({of(names.PHASE)}[{MISSED_WITHIN}]) == 1"
    questions = [
        f"{of(names.PHASE)} == 1",
        of(names.CALLS_ACTIVE),
        of(names.SLOTS),
        of(names.OLDEST_CALL),
        of(names.DRAIN_DEADLINE),
        of(names.CALLS_FINISHING),
        remembered,
        f"up{{{chosen}}} == 0",
    ]
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        answers = await asyncio.gather(*(_query(http, url, question) for question in questions))
    phases, before = _phases(answers[0]), _phases(answers[6])
    figures = Figures(*(_values(samples) for samples in answers[1:6]))
    missing = [
        Pod(printable(key[1]), problem=f"was {before[key]}, and does not answer Prometheus")
        for key in _values(answers[7])
        if key not in phases and before.get(key) in {"starting", "ready"}
    ]
    present = [_pod(key, phase, figures) for key, phase in phases.items()]
    return sorted([*present, *missing], key=lambda pod: pod.name)


@dataclass(frozen=True, slots=True)
class Figures:
    """What Prometheus has of each pod, by the pod."""

    calls: Mapping[Key, float]
    slots: Mapping[Key, float]
    oldest: Mapping[Key, float]
    deadlines: Mapping[Key, float]
    finishing: Mapping[Key, float]


def _pod(key: Key, phase: Phase, figures: Figures) -> Pod:
    deadline = figures.deadlines.get(key, 0)
    calls, finishing = int(figures.calls.get(key, 0)), int(figures.finishing.get(key, 0))
    drains = phase == "draining" and deadline > 0
    return Pod(
        *(printable(key[1]), phase, calls, int(figures.slots.get(key, 0))),
        finishing=finishing,
        oldest_call_seconds=figures.oldest.get(key) if calls or finishing else None,
        drain_seconds_left=max(0.0, deadline - time.time()) if drains else None,
    )


def _phases(samples: list[Sample]) -> dict[Key, Phase]:
    known: dict[str, Phase] = {phase: phase for phase in PHASES}
    found = ((_key(one), known.get(one.metric.get("phase", ""))) for one in samples)
    return {key: phase for key, phase in found if phase is not None}


def _values(samples: list[Sample]) -> dict[Key, float]:
    return {_key(one): one.value[1] for one in samples if math.isfinite(one.value[1])}


def _key(sample: Sample) -> Key:
    labels = sample.metric
    return labels.get("namespace", ""), labels.get("pod") or labels.get("instance") or "?"


async def _query(http: aiohttp.ClientSession, url: str, question: str) -> list[Sample]:
    address = f"{url.rstrip('/')}/api/v1/query"
    try:
        async with http.get(address, params={"query": question}) as response:
            body = await pods.read(response, LONGEST_ANSWER_BYTES)
        return Answer.model_validate_json(body).data.result
    except ValidationError as error:
        problem = f"{printable(url)} answers, but not as a Prometheus"
        raise errors.FleetError(problem, fix="see whether --prometheus is its address") from error
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        why = printable(str(error) or type(error).__name__)
        raise errors.FleetError(
            f"Prometheus does not answer at {printable(url)}: {why}",
            fix="see whether --prometheus is its address, and can be reached from here",
        ) from error
