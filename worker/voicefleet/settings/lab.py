"""The programs that the lab starts. A room of its own, because production has none of them."""

from pathlib import Path

from pydantic import Field

from voicefleet.settings.group import Group


class Lab(Group):
    livekit_server_bin: Path | None = Field(
        None,
        validation_alias="LIVEKIT_SERVER_BIN",
        description="A livekit-server for the demo and the tests. Default: found or built.",
    )
    prometheus_bin: Path | None = Field(
        None,
        validation_alias="PROMETHEUS_BIN",
        description="A Prometheus for the tests. Default: found on PATH.",
    )
    otelcol_bin: Path | None = Field(
        None,
        validation_alias="OTELCOL_BIN",
        description="An OpenTelemetry collector for the tests. Default: found on PATH.",
    )
