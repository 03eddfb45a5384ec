"""An agent of a file still can be remembered as `livekit_compat/agents.py` does it."""

from dataclasses import dataclass

import pytest
from livekit.agents import Agent

from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import agents as livekit_agents

WHERE = "See livekit_compat/agents.py."


class Desk(Agent):
    def __init__(self, name: str, *, floor: int) -> None:
        super().__init__(instructions=f"{name} on floor {floor}")


@pytest.fixture(autouse=True)
def remembering() -> None:
    expect(
        vars(Agent).get("__new__") in (None, livekit_agents._new),
        f"LiveKit's Agent has a __new__ of its own now: ours would replace it. {WHERE}",
    )
    livekit_agents.remember()


def test_an_agent_is_known_by_what_it_was_made_of() -> None:
    desk = Desk("Billing", floor=2)
    assert livekit_agents.made_of(desk) == (("Billing",), {"floor": 2})
    assert desk.instructions == "Billing on floor 2"


@dataclass
class ByValue(Agent):
    """Has no hash, and is compared by what it does not have yet while it is made."""

    name: str

    def __post_init__(self) -> None:
        super().__init__(instructions=self.name)


def test_an_agent_of_any_kind_can_still_be_made() -> None:
    assert livekit_agents.made_of(ByValue("Billing")) == (("Billing",), {})
