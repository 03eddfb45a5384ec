"""The pod, and what it does for each of its calls."""

from pydantic import ByteSize, Field, SecretStr

from voicefleet.settings.group import Group
from voicefleet.settings.livekit import LIVEKIT_TARGET_LOAD

# What comes after the drain's deadline: the farewell of each call that is still on, its session-end
# handler, and LiveKit's own close of a job: 15 s for the entrypoint, 60 s for the session
# (livekit-agents 1.8.9, ipc/job_proc_lazy_main.py), and 10 s for the pod itself.
FAREWELL_WITHIN_SECONDS = 20.0
JOB_CLOSE_SECONDS = 85.0
# LiveKit gives a process the time of its shutdown callbacks twice: to hear that it is to end, and
# to leave after its session-end handler (ipc/supervised_proc.py, aclose).
SHUTDOWN_WAITS = 2
# Where neither setting nor agent file says more. LiveKit's own 10 s are too short for a summary by
# an LLM, or an upload.
SHUTDOWN_SECONDS = 60.0


class Pod(Group):
    slots: int | None = Field(
        None,
        validation_alias="VOICEFLEET_SLOTS",
        ge=1,
        description="Calls at once. Default: 4 for each CPU, or fewer where memory carries fewer.",
    )
    has_video: bool = Field(
        False,
        validation_alias="VOICEFLEET_VIDEO",
        description="Callers show their camera or screen: 2 slots for each CPU, of more memory.",
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
    shutdown_timeout_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS",
        gt=0,
        description="How long shutdown callbacks may take. Default: as the agent file says, or 60.",
    )
    grace_period_seconds: int | None = Field(
        None,
        validation_alias="VOICEFLEET_GRACE_PERIOD_SECONDS",
        gt=0,
        description="The platform's grace period; a start checks that a drain fits into it.",
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
        description="The bearer token that POST /drainz takes to start a drain.",
    )

    @property
    def cpu_request_cores(self) -> float | None:
        millicores = self.cpu_request_millicores
        return None if millicores is None else millicores / 1000

    @property
    def longest_stop_seconds(self) -> float:
        """The longest time from the order to stop until the last process is gone, for an agent file
        that says nothing of its shutdown callbacks.
        """
        return self.stop_seconds(self.shutdown_seconds(None))

    def shutdown_seconds(self, of_file: float | None) -> float:
        """How long shutdown callbacks may take, where the agent file says this of it."""
        return self.shutdown_timeout_seconds or of_file or SHUTDOWN_SECONDS

    def stop_seconds(self, shutdown_seconds: float) -> float:
        """As `longest_stop_seconds`, where shutdown callbacks take so long."""
        after_deadline = FAREWELL_WITHIN_SECONDS + self.session_end_timeout_seconds
        closing = JOB_CLOSE_SECONDS + SHUTDOWN_WAITS * shutdown_seconds
        return self.drain_timeout_seconds + after_deadline + closing


class Call(Group):
    longest_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_CALL_LONGEST_SECONDS",
        gt=0,
        description="How long a call may take; then it ends with a farewell. Default: no limit.",
    )
    silence_seconds: float | None = Field(
        None,
        validation_alias="VOICEFLEET_CALL_SILENCE_SECONDS",
        gt=0,
        description="How long nobody may speak; then the call ends likewise. Default: no limit.",
    )
    empty_room_seconds: float = Field(
        30.0,
        validation_alias="VOICEFLEET_EMPTY_ROOM_SECONDS",
        ge=0,
        description="How long a call waits in a room that nobody has entered, before it ends.",
    )
    deletes_empty_room: bool = Field(
        True,
        validation_alias="VOICEFLEET_DELETE_EMPTY_ROOM",
        description="Delete a room that its caller left, or dispatch again, for one who is back.",
    )
    is_resumed: bool | None = Field(
        None,
        validation_alias="VOICEFLEET_RESUME",
        description="Go on with a call whose process died. Default: yes, but not at LiveKit Cloud,"
        " which restarts jobs itself.",
    )
    most_resumes_a_minute: int = Field(
        2,
        validation_alias="VOICEFLEET_RESUME_MOST_A_MINUTE",
        ge=1,
        description="A call whose processes die more often than this is told farewell, and fails.",
    )
    unresponsive_seconds: float = Field(
        5.0,
        validation_alias="VOICEFLEET_CALL_UNRESPONSIVE_SECONDS",
        ge=2,
        description="How long a call's event loop may stand still before its process is replaced,"
        " where the call can be resumed; LiveKit alone waits 60 s.",
    )
    apology: str = Field(
        "Sorry, the line was cut for a moment.",
        validation_alias="VOICEFLEET_RESUME_APOLOGY",
        description="What the agent says where a resumed call was silent for more than a second.",
    )
    farewell: str = Field(
        "I am sorry, I have to end this call now. Goodbye.",
        validation_alias="VOICEFLEET_CALL_FAREWELL",
        description="What the agent says before the pod ends its call.",
    )
