"""A real Prometheus on loopback: scrapes what it is told to, and answers questions.

Its HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import json
import shutil
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.lab import processes

HOST = "127.0.0.1"
SCRAPE_EVERY_SECONDS = 1
READY_WITHIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer, with its value now."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer over time: unix seconds and value."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    async def ask(self, question: str) -> list[Sample]:
        """The instant vector that a PromQL expression gives now.

        :raises ValueError: if Prometheus does not take the expression; with its words.
        """
        found = await self._get("query", query=question)
        return [Sample(s["metric"], float(s["value"][1])) for s in found]

    async def over(
        self, question: str, begins: float, ends: float, step_seconds: float
    ) -> list[Series]:
        """What the expression gave at each step, both unix seconds included.

        :raises ValueError: if Prometheus does not take the expression; with its words.
        """
        found = await self._get(
            "query_range", query=question, start=begins, end=ends, step=step_seconds
        )
        return [
            Series(s["metric"], [(at, float(value)) for at, value in s["values"]]) for s in found
        ]

    async def value(self, question: str) -> float:
        """The answer to a question that has exactly one.

        :raises ValueError: if it has none, or several.
        """
        samples = await self.ask(question)
        if len(samples) != 1:
            raise ValueError(f"{question}: expected one answer, and got {samples}")
        return samples[0].value

    async def _get(self, what: str, **parameters: str | float) -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}/api/v1/{what}", params=parameters) as response,
        ):
            answer: dict[str, Any] = await response.json()
        if answer["status"] != "success":
            raise ValueError(f"{parameters['query']}: {answer['error']}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def find() -> Path:
    """:raises ToolError: if there is no Prometheus on this machine."""
    found = settings_module.load().lab.prometheus_bin or shutil.which("prometheus")
    if found is None:
        raise errors.ToolError(
            "there is no prometheus on this machine",
            fix="install your system's package prometheus, or set PROMETHEUS_BIN",
        )
    return Path(found)


@asynccontextmanager
async def run(
    binary: Path, targets: Sequence[str], folder: Path, rules: Sequence[Path] = ()
) -> AsyncIterator[Prometheus]:
    """Prometheus for as long as the block lasts; `targets` are host:port of /metrics each, and
    `rules` files of recording rules or alerts.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    async with configured(binary, _configuration(targets, rules), folder) as running:
        yield running


@asynccontextmanager
async def configured(
    binary: Path, configuration: Mapping[str, Any], folder: Path, host: str = HOST
) -> AsyncIterator[Prometheus]:
    """As `run`, with a configuration of its own, in which files are named as from `folder`.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    running = processes.start(
        "prometheus",
        [
            str(binary),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus",
            f"--web.listen-address={address}",
        ],
        environment=settings_module.environment(),
        folder=folder,
    )
    try:
        await processes.wait_for_line(
            running, lambda line: "ready to receive" in line, within_seconds=READY_WITHIN_SECONDS
        )
        yield Prometheus(f"http://{address}")
    finally:
        await processes.stop(running)


def _configuration(targets: Sequence[str], rules: Sequence[Path]) -> dict[str, Any]:
    every = f"{SCRAPE_EVERY_SECONDS}s"
    # As the chart's PodMonitor labels a pod.
    labelled = [
        {"targets": [target], "labels": {"namespace": "lab", "fleet": "lab", "pod": f"pod-{n}"}}
        for n, target in enumerate(targets, start=1)
    ]
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "voicefleet", "static_configs": labelled}],
    }
