"""What operators see: logs, traces, and the reports of calls."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from voicefleet.settings.group import Group


class Logs(Group):
    level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"] = Field(
        "INFO", validation_alias="VOICEFLEET_LOG_LEVEL", description="Lowest level that is written."
    )
    format: Literal["json", "text"] | None = Field(
        None,
        validation_alias="VOICEFLEET_LOG_FORMAT",
        description="json or text. Default: text in a terminal, json elsewhere.",
    )


class Telemetry(Group):
    """OTEL_… are OpenTelemetry's own and read by its SDK; those named here are also read by us."""

    allow_pii: bool = Field(
        False,
        validation_alias="VOICEFLEET_ALLOW_PII",
        description="Put what callers say and who they are into traces, logs and reports.",
    )
    report_dir: Path | None = Field(
        None,
        validation_alias="VOICEFLEET_REPORT_DIR",
        description="A directory for the report of each call, one JSON file a call.",
    )
    report_url: str | None = Field(
        None,
        validation_alias="VOICEFLEET_REPORT_URL",
        description="An address that the report of each call is posted to, as JSON.",
    )
    report_token: SecretStr | None = Field(
        None,
        validation_alias="VOICEFLEET_REPORT_TOKEN",
        description="Sent with each report to VOICEFLEET_REPORT_URL, as a bearer token.",
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="The collector, as http://host:4318. Default: no trace is sent.",
    )
    otlp_traces_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="The same with its path, as http://host:4318/v1/traces.",
    )
    otlp_protocol: Literal["http/protobuf", "grpc"] = Field(
        "http/protobuf",
        validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL",
        description="The collector's protocol: http/protobuf or grpc.",
    )
    traces_exporter: str = Field(
        "otlp",
        validation_alias="OTEL_TRACES_EXPORTER",
        description="none sends no trace, even where a collector is set.",
    )
    sdk_disabled: bool = Field(
        False,
        validation_alias="OTEL_SDK_DISABLED",
        description="true turns OpenTelemetry off; then turns are not counted either.",
    )
    queue_spans: int = Field(
        2048,
        validation_alias="OTEL_BSP_MAX_QUEUE_SIZE",
        ge=1,
        description="Spans that the pod keeps for a collector that is down.",
    )

    @property
    def exports(self) -> bool:
        """Whether there is a collector to send traces to."""
        is_on = self.traces_exporter != "none" and not self.sdk_disabled
        return is_on and bool(self.otlp_endpoint or self.otlp_traces_endpoint)
