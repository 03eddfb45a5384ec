"""Where LiveKit is, and how patient a pod is with it."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from voicefleet.settings.group import Group

# What every verb needs that speaks with LiveKit.
LIVEKIT_ACCESS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")

# livekit-server never offers a job to a worker that reports this load or more, whatever the
# worker's own threshold is (`agents.target_load`, livekit-server 1.13.5, pkg/agent/config.go).
LIVEKIT_TARGET_LOAD = 0.7


class LiveKit(Group):
    url: str | None = Field(
        None,
        validation_alias="LIVEKIT_URL",
        description="Address of LiveKit, self-hosted or Cloud: ws://… or wss://…",
    )
    api_key: str | None = Field(
        None, validation_alias="LIVEKIT_API_KEY", description="LiveKit's API key."
    )
    api_secret: SecretStr | None = Field(
        None, validation_alias="LIVEKIT_API_SECRET", description="The secret of that key."
    )
    wait_seconds: float = Field(
        120.0,
        validation_alias="VOICEFLEET_LIVEKIT_WAIT_SECONDS",
        ge=0,
        description="How long `start` waits for a LiveKit that does not answer yet.",
    )
    retries: int = Field(
        16,
        validation_alias="VOICEFLEET_LIVEKIT_RETRIES",
        ge=0,
        description="Attempts to reach a lost LiveKit, up to 20 s apart, before the pod stops.",
    )

    @property
    def is_cloud(self) -> bool:
        """Whether it is LiveKit Cloud, which restarts a job that has failed."""
        host = urlsplit(self.url or "").hostname or ""
        return host == "livekit.cloud" or host.endswith(".livekit.cloud")

    @property
    def secret(self) -> str | None:
        """The API secret in clear, for LiveKit's own client."""
        return self.api_secret.get_secret_value() if self.api_secret else None
