"""What a caller has to talk with, and how patient it is."""

from dataclasses import dataclass

from livekit.agents.types import ATTRIBUTE_AGENT_STATE

from worker.lab.agent_account import AgentAccount
from worker.lab.changes import Changes
from worker.lab.line import Line
from worker.lab.listening import Ears
from worker.lab.microphone import Microphone


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for each next step of the agent."""

    join_timeout_seconds: float
    greeting_timeout_seconds: float
    answer_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What a caller has: a line, a mouth, ears, and the agent's own account."""

    line: Line
    microphone: Microphone
    ears: Ears
    account: AgentAccount
    changes: Changes

    async def until_agent_listens(self, timeout_seconds: float) -> None:
        """What an agent that only writes has in place of a greeting: the state that it shows."""
        line = self.line
        line.room.on("participant_attributes_changed", lambda *_: self.changes.announce())

        def is_listening() -> bool:
            agent = line.room.remote_participants.get(line.agent_identity)
            state = agent.attributes.get(ATTRIBUTE_AGENT_STATE) if agent else None
            return line.is_cut or state == "listening"

        await self.changes.until(is_listening, timeout_seconds=timeout_seconds)
