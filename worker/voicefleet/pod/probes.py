"""What Kubernetes asks of the pod, and the words of the answer: checks and rendering, no HTTP.

The form is that of Kubernetes' own health endpoints: one probe is several named checks, a machine
reads only the status, a person asks for the lines.
https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from voicefleet.pod.phase import Phase, PodState

# Below the 5 s that the kubelet waits for a liveness probe, so that the answer has a reason in it.
INFERENCE_SECONDS = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found; `detail` is a short phrase without anything a caller said."""

    is_ok: bool
    detail: str


Check = Callable[[], Awaitable[Verdict]]
Checks = Mapping[str, Check]


def of(state: PodState, inference_is_alive: Callable[[], Awaitable[bool]]) -> dict[str, Checks]:
    """The checks of each probe. None asks LiveKit, a provider or the load: a blip of theirs must
    not restart the fleet, and a full pod must not become the first that Kubernetes removes.
    """
    return {
        "startupz": {
            "models-warm": _warm(state),
            "registered": _fact(
                lambda: state.is_registered,
                "LiveKit has taken this pod once",
                "LiveKit has not taken this pod yet",
            ),
        },
        "livez": {
            "event-loop": _fact(lambda: True, "the event loop gave this answer", ""),
            "inference": _inference(inference_is_alive),
        },
        "readyz": {
            "started": _fact(lambda: state.is_started, "started", "still starting"),
            "not-draining": _fact(
                lambda: state.phase not in {Phase.DRAINING, Phase.STOPPED},
                "not told to stop",
                "told to stop",
            ),
        },
    }


async def ask(checks: Checks, *, exclude: Collection[str] = ()) -> dict[str, Verdict]:
    """Every check's verdict. An excluded one is not run and counts as passed, as in Kubernetes."""
    return {
        name: Verdict(True, "excluded") if name in exclude else await check()
        for name, check in checks.items()
    }


def passed(verdicts: Mapping[str, Verdict]) -> bool:
    return all(verdict.is_ok for verdict in verdicts.values())


def as_lines(probe: str, verdicts: Mapping[str, Verdict], *, unknown_excluded: bool) -> str:
    """Kubernetes' verbose form, with the reason that it withholds. What was asked to be excluded
    is not repeated: it may be anything.
    """
    lines = [_line(name, verdict) for name, verdict in verdicts.items()]
    if unknown_excluded:
        names = ", ".join(verdicts)
        lines.append(f"warn: some health checks cannot be excluded: {probe} has only {names}")
    lines.append(f"{probe} check {'passed' if passed(verdicts) else 'failed'}")
    return "\n".join(lines) + "\n"


def as_json(verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    return {
        "status": "ok" if passed(verdicts) else "failed",
        "checks": {
            name: {"ok": verdict.is_ok, "detail": verdict.detail}
            for name, verdict in verdicts.items()
        },
    }


def _line(name: str, verdict: Verdict) -> str:
    if not verdict.is_ok:
        return f"[-]{name} failed: {verdict.detail}"
    return f"[+]{name} excluded: ok" if verdict.detail == "excluded" else f"[+]{name} ok"


def _fact(is_so: Callable[[], bool], when_so: str, when_not: str) -> Check:
    async def look() -> Verdict:
        return Verdict(True, when_so) if is_so() else Verdict(False, when_not)

    return look


def _warm(state: PodState) -> Check:
    async def look() -> Verdict:
        if state.is_warm:
            return Verdict(True, "models are warm")
        if state.prewarm_failures:
            # The error may hold anything, a key in an address included: it stays in the log.
            tries = f"processes that failed to load: {state.prewarm_failures}, see the log"
            return Verdict(False, tries)
        return Verdict(False, "models are still loading")

    return look


def _inference(is_alive: Callable[[], Awaitable[bool]]) -> Check:
    async def look() -> Verdict:
        try:
            async with asyncio.timeout(INFERENCE_SECONDS):
                alive = await is_alive()
        except TimeoutError:
            return Verdict(False, f"no answer within {INFERENCE_SECONDS:g} s")
        except Exception:
            logger.warning("inference check raised", exc_info=True)
            return Verdict(False, "the check itself raised, see the log")
        if alive:
            return Verdict(True, "the inference process lives, or none is needed")
        return Verdict(False, "the inference process has died")

    return look
