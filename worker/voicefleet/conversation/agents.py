"""Which agent of the file has the call, as JSON, and another one made like it.

An argument of its constructor is the session's userdata, a history, or plain data; of an agent with
another one, only the class and the id are known.
"""

import functools
import importlib
import json
from typing import Any

from livekit.agents import Agent
from livekit.agents.llm import ChatContext

from voicefleet.livekit_compat import agents as livekit_agents

Json = dict[str, Any]


def described(agent: Agent, userdata: Any) -> Json:
    """Its class, its id and what it was made of; `lost` says what of that is no data."""
    kind = type(agent)
    told: Json = {"module": kind.__module__, "class": kind.__qualname__, "id": agent.id}
    if (made := livekit_agents.made_of(agent)) is None:
        return told | {"lost": "it was made before the call"}
    arguments, named = made
    try:
        return told | {
            "arguments": [_encoded(value, userdata) for value in arguments],
            "named": {name: _encoded(value, userdata) for name, value in named.items()},
        }
    except (TypeError, ValueError) as error:
        return told | {"lost": str(error)}


def made_like(told: Json, userdata: Any, history: ChatContext) -> Agent:
    """A new agent like the one that was described.

    :raises Exception: whatever the agent file raises, or if there is no such class any more.
    """
    module = importlib.import_module(told["module"])
    kind: Any = functools.reduce(getattr, told["class"].split("."), module)
    arguments = [_decoded(value, userdata, history) for value in told["arguments"]]
    named = {n: _decoded(value, userdata, history) for n, value in told["named"].items()}
    agent: Agent = kind(*arguments, **named)
    return agent


def _encoded(value: Any, userdata: Any) -> Json:
    """:raises TypeError: if it is no data."""
    if userdata is not None and value is userdata:
        return {"is": "userdata"}
    if isinstance(value, ChatContext):
        return {"is": "history"}
    json.dumps(value)
    return {"is": "data", "data": value}


def _decoded(told: Json, userdata: Any, history: ChatContext) -> Any:
    match told["is"]:
        case "userdata":
            return userdata
        case "history":
            return history.copy(exclude_instructions=True, exclude_function_call=True)
    return told["data"]
