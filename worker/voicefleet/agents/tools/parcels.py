"""A small MCP server to try the agent with: where parcels are, and where they may wait.

Over stdio as it is (`python parcels.py`), over streamable HTTP with `--http PORT`. It imports
nothing of voicefleet, as a server of yours would not.
"""

import argparse
from dataclasses import dataclass, replace
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

PLACES = ("station", "bakery", "library")

Number = Annotated[str, Field(pattern=r"^\d{4}$", description="Four digits, without spaces.")]
Place = Annotated[str, Field(description=f"One of: {', '.join(PLACES)}.")]


@dataclass(frozen=True, slots=True)
class Parcel:
    """`place` is where it will wait; without one it comes to the door."""

    where: str
    arrives: str
    place: str | None = None
    is_delivered: bool = False


PARCELS = {
    "4271": Parcel("in the depot in Boston", "tomorrow morning"),
    "8830": Parcel("on the van", "today"),
    "1056": Parcel("at the door", "yesterday", is_delivered=True),
}

server = MCPServer("parcels", log_level="WARNING")


@server.tool()
def track_parcel(number: Number) -> str:
    """Where a parcel is and when it arrives."""
    parcel = _find(number)
    if parcel.is_delivered:
        return f"Parcel {number} was delivered {parcel.arrives}, {parcel.where}."
    goal = f"at the {parcel.place}" if parcel.place else "at the door"
    return f"Parcel {number} is {parcel.where} and arrives {parcel.arrives}, {goal}."


@server.tool()
def redirect_parcel(number: Number, place: Place) -> str:
    """Let a parcel wait at a place where it can be picked up, in place of the door."""
    parcel = _find(number)
    if place.casefold() not in PLACES:
        raise ToolError(f"parcels cannot wait there: offer {', '.join(PLACES)}")
    if parcel.is_delivered:
        raise ToolError(f"parcel {number} was delivered {parcel.arrives}: say so")
    PARCELS[number] = replace(parcel, place=place.casefold())
    return f"Parcel {number} will wait at the {place.casefold()}, {parcel.arrives}."


def _find(number: str) -> Parcel:
    if number not in PARCELS:
        raise ToolError(f"there is no parcel {number}: read the number back and ask for it again")
    return PARCELS[number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve http://127.0.0.1:PORT/mcp")
    port = parser.parse_args().http
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
