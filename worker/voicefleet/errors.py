"""Every error that a person is meant to read, and the exit code it ends the process with.

VoicefleetError
├── UsageError              the command line is wrong, or contradicts itself
├── SettingsError           one or more settings are missing, wrong, or contradict each other
├── AgentFileError          the agent file is missing, does not import, or has no session
├── ModelsError             a model that the settings ask for is not on this machine
├── PortError               an address to listen on is taken or not ours
├── ToolError               a program that the lab needs cannot be found or built
├── LiveKitError            LiveKit cannot be reached, or refuses our key
├── ProviderError           a provider cannot be reached, or refuses our key
├── FleetError              a Prometheus cannot be asked about the fleet
└── CallError
    ├── NoAgentError        a call was placed and no agent joined it
    └── NotUnderstoodError  an agent joined, but one side did not understand the other
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How every verb of `voicefleet` ends; 64 to 78 follow BSD's sysexits.h where it fits."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    AGENT_FILE = 65
    LIVEKIT = 69
    PORT = 71
    TOOL = 72
    MODELS = 73
    FLEET = 75
    PROVIDER = 76
    SETTINGS = 78
    NO_AGENT = 80
    NOT_UNDERSTOOD = 81
    INTERRUPTED = 130


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "a defect of voicefleet: run again with -v and report it",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.AGENT_FILE: "the agent file is missing, does not import, or has no session",
    ExitCode.LIVEKIT: "LiveKit cannot be reached, or refuses the key",
    ExitCode.PORT: "an address to listen on is taken",
    ExitCode.TOOL: "a program that the lab needs cannot be found or built",
    ExitCode.MODELS: "a model is not on this machine",
    ExitCode.FLEET: "a pod, or Prometheus, does not answer",
    ExitCode.PROVIDER: "a provider cannot be reached, or refuses the key",
    ExitCode.SETTINGS: "a setting is missing, wrong, or contradicts another",
    ExitCode.NO_AGENT: "a call was placed and no agent joined it",
    ExitCode.NOT_UNDERSTOOD: "an agent joined, but one side did not understand the other",
    ExitCode.INTERRUPTED: "stopped before it was done, from the keyboard or by SIGTERM",
}


# How the two lines begin in which a verb says what went wrong.
PROBLEM = "error: "
FIX = "fix: "


class VoicefleetError(Exception):
    """What happened (with the value) and what was expected; `fix` says what to do next."""

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.problem, self.fix))


def _rebuild(kind: type[VoicefleetError], problem: str, fix: str) -> VoicefleetError:
    """Errors cross the process boundary by pickle, which would drop the keyword-only fix."""
    return kind(problem, fix=fix)


class UsageError(VoicefleetError):
    exit_code = ExitCode.USAGE


class SettingsError(VoicefleetError):
    """Carries every violation at once: `violations` is one (problem, fix) pair each."""

    exit_code = ExitCode.SETTINGS

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        self.violations = violations
        super().__init__(
            "; ".join(p for p, _ in violations), fix="; ".join(f.rstrip(".") for _, f in violations)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (SettingsError, (self.violations,))


class AgentFileError(VoicefleetError):
    exit_code = ExitCode.AGENT_FILE


class ModelsError(VoicefleetError):
    exit_code = ExitCode.MODELS


class PortError(VoicefleetError):
    exit_code = ExitCode.PORT


class ToolError(VoicefleetError):
    exit_code = ExitCode.TOOL


class LiveKitError(VoicefleetError):
    exit_code = ExitCode.LIVEKIT


class ProviderError(VoicefleetError):
    exit_code = ExitCode.PROVIDER


class FleetError(VoicefleetError):
    exit_code = ExitCode.FLEET


class CallError(VoicefleetError):
    exit_code = ExitCode.NOT_UNDERSTOOD


class NoAgentError(CallError):
    exit_code = ExitCode.NO_AGENT


class NotUnderstoodError(CallError):
    exit_code = ExitCode.NOT_UNDERSTOOD
