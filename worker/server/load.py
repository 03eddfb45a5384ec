"""How full the pod is, as LiveKit is told: calls against slots, never the machine's CPU.

LiveKit offers no job to a worker at or above the threshold. If CPU counted, a busy neighbour on the
node would make an idle pod invisible, and its callers would hear silence.
"""

import math


def of(calls: int, slots: int, threshold: float) -> float:
    """The load of a pod with this many calls: 0 with none, the threshold when every slot is taken.

    >>> of(calls=5, slots=10, threshold=0.7)
    0.35
    """
    return threshold * min(1.0, calls / slots)


def default_slots(cpus: float) -> int:
    """Calls for this many CPUs: four each, in the middle of the 2.5 to 7 sessions a CPU that
    LiveKit publishes for cloud STT, TTS and LLM; at least one.
    """
    return max(1, math.floor(4 * cpus))
