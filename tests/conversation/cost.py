"""What the record of a call costs its process: `python -m tests.conversation.cost`.

Milliseconds of CPU for each thing that happens in the call of an agent with userdata (an item of
the history, a change of state), and for each state that is asked for and has not changed.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

from livekit.agents.llm import ChatMessage

from voicefleet.agents.triage.agent import Reception
from voicefleet.agents.triage.case import Case
from voicefleet.conversation.memory import Conversation
from voicefleet.conversation.record import Recorder
from voicefleet.livekit_compat import agents

TIMES = 500
ROUNDS = 7


def milliseconds(work: Callable[[], object]) -> float:
    """The median of some rounds, for one time."""
    rounds = list[float]()
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            work()
        rounds.append((time.process_time() - began) * 1000 / TIMES)
    return median(rounds)


def main() -> None:
    agents.remember()
    case = Case(reasons=["to billing: a wrong bill"] * 3)
    session: Any = SimpleNamespace(userdata=case, current_agent=Reception(case))
    recorder = Recorder(Conversation().keep)

    def item() -> None:
        recorder.item(ChatMessage(role="user", content=["My bill of last month is wrong."]))

    def changed() -> None:
        case.tickets.append("one more")
        del case.tickets[:-5]
        recorder._state_of(session)

    sys.stdout.write(f"an item of the history    {milliseconds(item):.3f} ms\n")
    sys.stdout.write(f"a change of the userdata  {milliseconds(changed):.3f} ms\n")
    sys.stdout.write(
        f"nothing has changed       {milliseconds(lambda: recorder._state_of(session)):.3f} ms\n"
    )


if __name__ == "__main__":
    main()
