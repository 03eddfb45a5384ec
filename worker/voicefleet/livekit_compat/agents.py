"""What an agent of the file was made of: its class, and the arguments of its constructor.

`Agent.__new__` is public Python and is replaced, for good: LiveKit keeps the arguments nowhere.
"""

from typing import Any

from livekit.agents import Agent

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

# An attribute of the agent: one may be compared, or have a hash, by what its constructor sets.
MADE_OF = "_voicefleet_made_of"


def remember() -> None:
    """Remember the arguments of every agent that is made from now on, for as long as it lives."""
    Agent.__new__ = _new  # type: ignore[assignment,method-assign]


def made_of(agent: Agent) -> Arguments | None:
    """The arguments that it was made with; None if it was made before `remember`."""
    return getattr(agent, MADE_OF, None)


def _new(kind: type[Agent], *arguments: Any, **named: Any) -> Agent:
    agent: Agent = super(Agent, kind).__new__(kind)
    object.__setattr__(agent, MADE_OF, (arguments, named))
    return agent
