"""What can be set: every setting with its name in the environment, default, bounds and meaning.

The groups are the rooms that want them; those of logs, telemetry and the lab stand in
`voicefleet.settings.telemetry`. A field's description is the manual: `.env.example` and the
README's table are generated from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, ByteSize, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# What every verb needs that speaks with LiveKit.
LIVEKIT_ACCESS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")

# livekit-server never offers a job to a worker that reports this load or more, whatever the
# worker's own threshold is (`agents.target_load`, livekit-server 1.13.5, pkg/agent/config.go).
LIVEKIT_TARGET_LOAD = 0.7

# What comes after the drain's deadline: the farewell of each call that is still on, its session-end
# handler, and LiveKit's own close of a job: 15 s for the entrypoint, 60 s for the session, 10 s to
# hear of it and 10 s to leave (livekit-agents 1.8.9, ipc/job_proc_lazy_main.py and
# supervised_proc.py), and 10 s for the pod itself.
FAREWELL_WITHIN_SECONDS = 20.0
JOB_CLOSE_SECONDS = 105.0


@dataclass(frozen=True, slots=True)
class Model:
    """One link of a chain, written `provider[/model][:voice]`, as LiveKit writes its models."""

    provider: str
    model: str | None = None
    voice: str | None = None

    def __str__(self) -> str:
        model = f"/{self.model}" if self.model else ""
        voice = f":{self.voice}" if self.voice else ""
        return f"{self.provider}{model}{voice}"


def chain_of(*providers: str) -> Callable[[object], tuple[Model, ...]]:
    """A validator for `provider[/model][:voice],…` whose providers are among those named."""

    def parse(value: object) -> tuple[Model, ...]:
        if isinstance(value, tuple):
            return value
        links = tuple(_link(part) for part in str(value).split(",") if part.strip())
        unknown = [link.provider for link in links if link.provider not in providers]
        if unknown or not links:
            raise ValueError(
                f"expected one or more of {', '.join(providers)}, separated by commas,"
                " each with /model and :voice if you like"
            )
        return links

    return parse


def _link(text: str) -> Model:
    name, _, voice = text.strip().partition(":")
    provider, _, model = name.partition("/")
    return Model(provider.strip(), model.strip() or None, voice.strip() or None)


SttChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("deepgram", "openai"))]
LlmChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("openai"))]
RealtimeChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("openai"))]
TtsChain = Annotated[tuple[Model, ...], NoDecode, BeforeValidator(chain_of("cartesia", "openai"))]


class Group(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )


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
        description="Attempts to reach a lost LiveKit again, up to 20 s apart, before it leaves.",
    )

    @property
    def secret(self) -> str | None:
        """The API secret in clear, for LiveKit's own client."""
        return self.api_secret.get_secret_value() if self.api_secret else None


class Agent(Group):
    file: str = Field(
        "assistant",
        validation_alias="VOICEFLEET_AGENT",
        description="The agent file: a path, a module, or an agent that ships with voicefleet.",
    )
    name: str | None = Field(
        None,
        validation_alias="VOICEFLEET_AGENT_NAME",
        description="The name to dispatch by; overrides the agent file's own.",
    )
    preload: bool | None = Field(
        None,
        validation_alias="VOICEFLEET_PRELOAD_AGENT",
        description="Import the agent file before the fork, once for all calls. Default: ours.",
    )

    @property
    def is_preloaded(self) -> bool:
        """An import that opens sockets or starts threads does not survive a fork: ours do neither,
        and whoever knows it of their own file may say so.
        """
        return (
            "." not in self.file and "/" not in self.file if self.preload is None else self.preload
        )


class Pod(Group):
    slots: int | None = Field(
        None,
        validation_alias="VOICEFLEET_SLOTS",
        ge=1,
        description="Calls at once. Default: 4 for each CPU, or fewer where memory carries fewer.",
    )
    cpu_request_millicores: int | None = Field(
        None,
        validation_alias="VOICEFLEET_CPU_REQUEST_MILLICORES",
        ge=0,
        description="The pod's CPU request, from the downward API (divisor 1m).",
    )
    memory_limit_bytes: int | None = Field(
        None,
        validation_alias="VOICEFLEET_MEMORY_LIMIT_BYTES",
        gt=0,
        description="The pod's memory limit, from the downward API. Default: its cgroup's.",
    )
    load_threshold: float = Field(
        LIVEKIT_TARGET_LOAD,
        validation_alias="VOICEFLEET_LOAD_THRESHOLD",
        gt=0,
        allow_inf_nan=False,
        description="The load, 0 to 1, at which the pod is full; LiveKit itself stops at 0.7.",
    )
    prewarm_timeout_seconds: float = Field(
        60.0,
        validation_alias="VOICEFLEET_PREWARM_TIMEOUT_SECONDS",
        gt=0,
        description="How long one process may take to load its models before it is replaced.",
    )
    drain_timeout_seconds: int = Field(
        3600,
        validation_alias="VOICEFLEET_DRAIN_TIMEOUT_SECONDS",
        ge=1,
        description="How long a pod told to stop waits for its calls to end.",
    )
    session_end_timeout_seconds: float = Field(
        300.0,
        validation_alias="VOICEFLEET_SESSION_END_TIMEOUT_SECONDS",
        gt=0,
        description="How long an agent file's session-end handler may take.",
    )
    grace_period_seconds: int | None = Field(
        None,
        validation_alias="VOICEFLEET_GRACE_PERIOD_SECONDS",
        gt=0,
        description="What the platform kills after, to check that a drain fits into it.",
    )
    call_memory_warn_bytes: ByteSize = Field(
        ByteSize(500 * 1024**2),
        validation_alias="VOICEFLEET_CALL_MEMORY_WARN_BYTES",
        description="Memory of one call (its own share, PSS) above which the log warns.",
    )
    call_memory_limit_bytes: ByteSize | None = Field(
        None,
        validation_alias="VOICEFLEET_CALL_MEMORY_LIMIT_BYTES",
        description="Memory of a call (PSS) that ends it. Default: its share of the pod's limit.",
    )
    http_host: str = Field(
        "127.0.0.1",
        validation_alias="VOICEFLEET_HTTP_HOST",
        description="Address that the endpoints listen on; in a pod 0.0.0.0.",
    )
    http_port: int = Field(
        8081,
        validation_alias="VOICEFLEET_HTTP_PORT",
        ge=0,
        le=65535,
        description="Port of /startupz, /livez, /readyz and /drainz; 0 takes a free one.",
    )
    drain_token: SecretStr | None = Field(
        None,
        validation_alias="VOICEFLEET_DRAIN_TOKEN",
        description="Lets whoever sends it as a bearer token start a drain by POST /drainz.",
    )

    @property
    def cpu_request_cores(self) -> float | None:
        millicores = self.cpu_request_millicores
        return None if millicores is None else millicores / 1000

    @property
    def longest_stop_seconds(self) -> float:
        """From the order to stop until the last process is gone, at the worst."""
        after_deadline = FAREWELL_WITHIN_SECONDS + self.session_end_timeout_seconds
        return self.drain_timeout_seconds + after_deadline + JOB_CLOSE_SECONDS


class Call(Group):
    longest_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_CALL_LONGEST_SECONDS",
        gt=0,
        description="A call is ended after so long, with a farewell. Default: never.",
    )
    silence_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_CALL_SILENCE_SECONDS",
        gt=0,
        description="A call in which nobody speaks for so long is ended likewise. Default: never.",
    )
    farewell: str = Field(
        "I am sorry, I have to end this call now. Goodbye.",
        validation_alias="VOICEFLEET_CALL_FAREWELL",
        description="What the agent says before the pod ends its call.",
    )


class Providers(Group):
    stt: SttChain = Field(
        (Model("deepgram"),),
        validation_alias="VOICEFLEET_STT",
        description="Who hears: deepgram, openai; several make a fallback chain.",
    )
    llm: LlmChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_LLM",
        description="Who thinks: openai, or whatever speaks its API at VOICEFLEET_LLM_URL.",
    )
    tts: TtsChain = Field(
        (Model("cartesia"),),
        validation_alias="VOICEFLEET_TTS",
        description="Who speaks: cartesia, openai; several make a fallback chain.",
    )
    realtime: RealtimeChain = Field(
        (Model("openai"),),
        validation_alias="VOICEFLEET_REALTIME",
        description="Who converses, where one model hears, thinks and speaks: openai.",
    )
    vad: Literal["livekit", "silero"] = Field(
        "livekit",
        validation_alias="VOICEFLEET_VAD",
        description="Voice activity: livekit (in its wheel) or silero (the plugin).",
    )
    turn_detection: Literal["livekit", "english", "multilingual", "vad", "stt"] = Field(
        "livekit",
        validation_alias="VOICEFLEET_TURN_DETECTION",
        description="End of turn: livekit (local model), english, multilingual, vad or stt.",
    )
    turn_min_delay_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_TURN_MIN_DELAY_SECONDS",
        ge=0,
        description="Shortest silence that ends the caller's turn. Default: LiveKit's own.",
    )
    turn_max_delay_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_TURN_MAX_DELAY_SECONDS",
        ge=0,
        description="Longest silence, where the turn sounds unfinished. Default: LiveKit's own.",
    )
    language: str = Field(
        "en", validation_alias="VOICEFLEET_LANGUAGE", description="Language spoken, as en or en-US."
    )
    deepgram_api_key: SecretStr | None = Field(
        None, validation_alias="DEEPGRAM_API_KEY", description="Key of Deepgram."
    )
    deepgram_url: str = Field(
        "https://api.deepgram.com/v1/listen",
        validation_alias="VOICEFLEET_DEEPGRAM_URL",
        description="Deepgram's listen endpoint; another region or your own.",
    )
    openai_api_key: SecretStr | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="Key of OpenAI or the compatible API."
    )
    openai_url: str = Field(
        "https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        description="OpenAI's API, or a compatible one.",
    )
    llm_url: str | None = Field(
        None,
        validation_alias="VOICEFLEET_LLM_URL",
        description="The compatible API for the LLM alone. Default: OPENAI_BASE_URL.",
    )
    llm_api_key: SecretStr | None = Field(
        None,
        validation_alias="VOICEFLEET_LLM_API_KEY",
        description="Its key. Default: OPENAI_API_KEY.",
    )
    cartesia_api_key: SecretStr | None = Field(
        None, validation_alias="CARTESIA_API_KEY", description="Key of Cartesia."
    )
    cartesia_url: str = Field(
        "https://api.cartesia.ai",
        validation_alias="VOICEFLEET_CARTESIA_URL",
        description="Cartesia's API.",
    )
