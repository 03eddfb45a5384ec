"""The collector's configuration: it keeps what we know, and every call that went wrong.

The last tests run it in a real collector (OTELCOL_BIN), with waits shortened and nothing else.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.lab import collector as lab_collector
from voicefleet.lab import otlp_receiver
from voicefleet.lab.otlp_receiver import OtlpReceiver
from voicefleet.livekit_compat.pii import FREE_TEXT
from voicefleet.telemetry.messages import Outcome
from voicefleet.telemetry.names import SpanAttribute
from voicefleet.telemetry.private import exported_attributes, is_private

FOLDER = Path(__file__).parent.parent.parent / "ops" / "collector"
TEXT = (FOLDER / "config.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)
PROCESSORS = CONFIG["processors"]
EMPTY: Mapping[str, str | float] = {}


def test_the_allow_list_is_what_we_and_livekit_name_and_nothing_private() -> None:
    """An update of LiveKit that names a new attribute fails here, and somebody decides on it."""
    allowed = PROCESSORS["redaction"]["allowed_keys"]
    assert allowed == exported_attributes(), "\n".join(
        f"      - {key}" for key in exported_attributes()
    )
    assert not [key for key in allowed if is_private(key) or key in FREE_TEXT]


def test_what_is_not_allowed_is_dropped_before_anything_else_sees_it() -> None:
    redaction = PROCESSORS["redaction"]
    assert redaction["allow_all_keys"] is False
    assert redaction["summary"] == "silent"
    assert not {"ignored_keys", "ignored_key_patterns"} & set(redaction)
    (pipeline,) = CONFIG["service"]["pipelines"].values()
    first = ["memory_limiter", "redaction", "transform", "tail_sampling", "batch"]
    assert pipeline["processors"] == first
    assert PROCESSORS["transform"]["error_mode"] == "propagate"


def test_the_policies_ask_only_for_attributes_that_are_kept_and_outcomes_that_exist() -> None:
    policies = PROCESSORS["tail_sampling"]["policies"]
    asked = set(re.findall(r'attributes\["([\w.]+)"\]', TEXT)) | set(
        re.findall(r"key: (\S+)", TEXT)
    )
    assert asked <= set(exported_attributes())
    assert SpanAttribute.OUTCOME.value in asked
    kept = {Outcome(value) for value in policies[0]["string_attribute"]["values"]}
    assert set(Outcome) - kept == {Outcome.COMPLETED}


def test_the_builders_pieces_are_those_of_the_configuration() -> None:
    pieces = yaml.safe_load((FOLDER / "builder.yaml").read_text())
    for kind in ("receivers", "processors", "exporters"):
        built = {
            re.sub(r"(receiver|processor|exporter) .*|.*/", "", p["gomod"]) for p in pieces[kind]
        }
        named = {name.replace("_", "") for name in CONFIG[kind]}
        assert built == named


@pytest.fixture(scope="session")
def binary() -> Path:
    """Not asked of CI: there is no package of it, and a build takes ten minutes."""
    try:
        return lab_collector.find()
    except errors.ToolError as error:
        pytest.skip(f"{error.problem}; {error.fix}")


def span(
    name: str,
    trace: int,
    *,
    number: int = 1,
    parent: int | None = None,
    message: str = "",
    attributes: Mapping[str, str | float] = EMPTY,
) -> ReadableSpan:
    def context(span_id: int) -> SpanContext:
        return SpanContext(trace, span_id, False, TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        name=name,
        context=context(number),
        parent=None if parent is None else context(parent),
        resource=Resource({"service.name": "voicefleet", "host.owner": "Ada Lovelace"}),
        attributes=attributes,
        # What LiveKit records of an error, wherever there is one.
        events=[Event("exception", {"exception.message": message, "exception.type": "KeyError"})],
        status=Status(StatusCode.ERROR, message) if message else Status(StatusCode.OK),
        start_time=time.time_ns() - 1_000_000_000,
        end_time=time.time_ns(),
    )


def root(trace: int, outcome: str = "completed", join_seconds: float = 0.4) -> ReadableSpan:
    told: dict[str, str | float] = {"voicefleet.outcome": outcome}
    told["voicefleet.join_seconds"] = join_seconds
    return span("call", trace, attributes=told)


@asynccontextmanager
async def collecting(
    binary: Path, folder: Path, keep_percent: int = 0
) -> AsyncIterator[tuple[OTLPSpanExporter, OtlpReceiver]]:
    """A collector that waits 1 s after a root and 6 s without one; where to, and what it kept."""
    config = folder / "config.yaml"
    config.write_text(
        TEXT.replace("_received: 30s", "_received: 1s").replace("_wait: 2h", "_wait: 6s")
    )
    async with otlp_receiver.listening() as kept:
        environment = {"OTLP_EXPORT_ENDPOINT": kept.url, "KEEP_PERCENT": str(keep_percent)}
        async with lab_collector.run(binary, config, folder, **environment) as url:
            yield OTLPSpanExporter(f"{url}/v1/traces"), kept


def traces(kept: OtlpReceiver) -> set[int]:
    return {int(one.trace_id, 16) for one in kept.spans}


async def test_a_real_collector_keeps_every_call_that_went_wrong_and_drops_the_rest(
    binary: Path, tmp_path: Path
) -> None:
    answers = {1: "completed", 2: "failed", 3: "refused", 4: "cut_short"}
    spans = [root(trace, outcome) for trace, outcome in answers.items()]
    spans += [root(5, join_seconds=3.5), root(6)]
    for trace, leg, seconds in (
        (7, "lk.e2e_latency", 2.5),
        (8, "lk.e2e_latency", 0.7),
        (9, "lk.blocking.duration", 0.8),
    ):
        told = {leg: seconds}
        spans += [span("agent_turn", trace, number=2, parent=1, attributes=told), root(trace)]
    # A pod that died took the root span of its call with it.
    spans.append(span("agent_turn", 10, number=2, parent=1))
    async with collecting(binary, tmp_path) as (exporter, kept):
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        # What comes after the decision follows it.
        await wait_until(lambda: 2 in traces(kept), because="a failed call is kept")
        exporter.export([span("late", 2, number=3, parent=1), span("late", 1, number=3, parent=1)])
        await wait_until(lambda: 10 in traces(kept), because="a call without its end is kept")
        exporter.shutdown()  # type: ignore[no-untyped-call]
    assert traces(kept) == {2, 3, 4, 5, 7, 9, 10}
    assert [int(one.trace_id, 16) for one in kept.spans if one.name == "late"] == [2]


async def test_a_real_collector_lets_nothing_through_that_is_not_known(
    binary: Path, tmp_path: Path
) -> None:
    told: dict[str, str | float] = {
        "user.name": "Ada Lovelace",
        "lk.pii.user_transcript": "Ada Lovelace",
        "lk.response.ttft": 0.25,
        "gen_ai.request.model": "ada@example.com",
        "lk.function_tool.name": "ring +4915112345678",
    }
    spans = [
        span(
            "llm_node",
            1,
            number=2,
            parent=1,
            message="no such caller: Ada Lovelace",
            attributes=told,
        ),
        span("call", 1, message="crashed", attributes={"voicefleet.outcome": "failed"}),
    ]
    async with collecting(binary, tmp_path, keep_percent=100) as (exporter, kept):
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        await wait_until(lambda: len(kept.spans) == 2, because="the call is kept")
        exporter.shutdown()  # type: ignore[no-untyped-call]
    everything = b"".join(kept.bodies)
    for private in (b"Lovelace", b"ada@", b"4915112345678", b"host.owner"):
        assert private not in everything, private
    node = next(one for one in kept.spans if one.name == "llm_node")
    assert node.attributes["lk.response.ttft"] == 0.25
    assert node.is_error
    assert b"KeyError" in everything
    assert next(one for one in kept.spans if one.name == "call").message == "crashed"


def test_the_readme_names_every_setting_of_the_configuration() -> None:
    readme = (FOLDER / "README.md").read_text()
    names = set(re.findall(r"\$\{env:(\w+)", TEXT))
    assert [name for name in sorted(names) if name not in readme] == []
