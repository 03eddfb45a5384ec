"""How many calls a pod takes at once, from its CPU and memory, with the sum for the log."""

import math
from dataclasses import dataclass

MIB = 1024**2

# A pod without a CPU request or limit has all of its node's CPUs, and a warm process for each slot.
MOST_DEFAULT_SLOTS = 32

# The part of the pod's memory limit that may be planned with. The rest is for what grows between
# two looks: LiveKit weighs a call every 5 s, and past the limit the kernel ends all calls at once.
MEMORY_FULL_RATIO = 0.9

# The parent, the forkserver, the models they share and three warm processes: 672 MB of PSS measured
# on livekit-agents 1.8.9 with four plugins and Silero, 531 MB with LiveKit's own VAD. The larger
# one, and of before the first two shared their imports, which is 90 MB less: too high costs a slot,
# too low costs every call of the pod.
PARENT_BYTES = 672 * MIB


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one call is planned with: how many share a CPU, and memory beside the parent's."""

    per_cpu: int
    size_bytes: int


# CPU: the middle of the 2.5 to 7 sessions a CPU that LiveKit publishes for cloud STT, TTS and LLM.
# Memory: 70 MiB of its own (`voicefleet bench --footprint`), and room for the history and the agent
# file's own imports.
VOICE = CallCost(per_cpu=4, size_bytes=150 * MIB)

# 0.23 cores and 100 MiB with `vision` and a camera of 720p at 30 frames a second, looked at once a
# turn, where `assistant` has 0.15 and 70 (`voicefleet bench --footprint`; medians of 3 calls on 2
# cores). A scene that moves more is more to decode.
VIDEO = CallCost(per_cpu=2, size_bytes=200 * MIB)

# LiveKit weighs a call by PSS, in which the models it shares count too: with few processes that is
# over 100 MB beside its own. A limit below this would end healthy calls.
LEAST_CALL_LIMIT_BYTES = 2 * VOICE.size_bytes


# Calls that may finish beside a pod full of others: their caller has gone, and the agent file's own
# end runs. One for each so many slots: at calls of 4 minutes, an end of 1 minute takes a fifth.
SLOTS_PER_FINISHING_CALL = 4


@dataclass(frozen=True, slots=True)
class SlotDecision:
    """`reason` is one sentence for the log, with the arithmetic in it."""

    slots: int
    reason: str


def decide(
    settings_slots: int | None,
    cpu_share: float,
    memory_limit_bytes: int | None,
    *,
    parent_bytes: int = PARENT_BYTES,
    cost: CallCost = VOICE,
) -> SlotDecision:
    """The slots set, or as many as both CPU (in cores) and memory carry, at least one.

    >>> decide(None, cpu_share=2, memory_limit_bytes=None)
    SlotDecision(slots=8, reason='8 slots: 4 for each of 2 CPUs; memory has no limit')
    """
    by_cpu = default_slots(cpu_share, cost)
    by_memory = memory_slots(memory_limit_bytes, parent_bytes, cost)
    cpu = f"{cost.per_cpu} for each of {cpu_share:g} CPUs"
    room = "memory has no limit" if by_memory is None else f"memory would carry {by_memory}"
    if settings_slots is not None:
        reason = f"set; {cpu} would make {by_cpu}, {room}"
        return SlotDecision(settings_slots, _sentence(settings_slots, reason))
    if by_memory is None or memory_limit_bytes is None or by_memory >= by_cpu:
        return SlotDecision(by_cpu, _sentence(by_cpu, f"{cpu}; {room}"))
    slots = max(1, by_memory)
    too_small = "too small for one call, " if by_memory == 0 else ""
    planned = (
        f"{too_small}{MEMORY_FULL_RATIO:.0%} of {_mib(memory_limit_bytes)} less"
        f" {_mib(parent_bytes)} for the parent, by {_mib(cost.size_bytes)} a call"
    )
    return SlotDecision(slots, _sentence(slots, f"memory: {planned}; {cpu} would make {by_cpu}"))


def finishing_budget(slots: int) -> int:
    """How many calls may finish without a slot, at least one; more keep theirs until they end.

    >>> finishing_budget(1), finishing_budget(8)
    (1, 2)
    """
    return math.ceil(slots / SLOTS_PER_FINISHING_CALL)


def default_slots(cpus: float, cost: CallCost = VOICE) -> int:
    """Calls for this many CPUs, at least one, and not more than a default should dare.

    >>> default_slots(2.5)
    10
    """
    return min(max(1, math.floor(cost.per_cpu * cpus)), MOST_DEFAULT_SLOTS)


def memory_slots(
    memory_limit_bytes: int | None,
    parent_bytes: int = PARENT_BYTES,
    cost: CallCost = VOICE,
) -> int | None:
    """Calls that fit into memory beside the parent, perhaps none; None without a limit."""
    if memory_limit_bytes is None:
        return None
    return max(0, (_planned_bytes(memory_limit_bytes) - parent_bytes) // cost.size_bytes)


def call_memory_limit_bytes(
    memory_limit_bytes: int | None, slots: int, *, parent_bytes: int = PARENT_BYTES
) -> int | None:
    """PSS above which a call is ended, so that every slot at its limit and the parent stay within
    the pod's memory: one call is lost, not all. None without a pod limit, and where the share is so
    small that healthy calls would be ended.
    """
    if memory_limit_bytes is None:
        return None
    each = (_planned_bytes(memory_limit_bytes) - parent_bytes) // slots
    return each if each >= LEAST_CALL_LIMIT_BYTES else None


def call_memory_warn_bytes(set_bytes: int, limit_bytes: int | None) -> int:
    """PSS of a call of which the log warns: what is set, and in any case before the limit ends it.

    >>> call_memory_warn_bytes(500, limit_bytes=400)
    320
    """
    return set_bytes if limit_bytes is None else min(set_bytes, limit_bytes * 8 // 10)


def _planned_bytes(memory_limit_bytes: int) -> int:
    return math.floor(memory_limit_bytes * MEMORY_FULL_RATIO)


def _sentence(slots: int, reason: str) -> str:
    return f"{slots} {'slot' if slots == 1 else 'slots'}: {reason}"


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
