"""The agent file, and the options of the agents that ship: `Shipped` is for several of them, the
other groups for the agents `tools` and `phone`. An agent file of yours reads what it likes.
"""

import tempfile
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

from voicefleet.settings.group import Group


def _known_zone(name: str) -> str:
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a name of the time zone database, as Europe/Berlin") from None
    return name


def _zone(name: str) -> tzinfo:
    # The default must not need the database, which small images leave out.
    return UTC if name == "UTC" else ZoneInfo(name)


class Agent(Group):
    file: str = Field(
        "assistant",
        validation_alias="VOICEFLEET_AGENT",
        description="The agent file: a path, a module, or an agent that ships with voicefleet.",
    )
    name: str | None = Field(
        None,
        validation_alias="VOICEFLEET_AGENT_NAME",
        description="The name to dispatch by; overrides the agent file's own.",
    )
    preload: bool | None = Field(
        None,
        validation_alias="VOICEFLEET_PRELOAD_AGENT",
        description="Import the agent file before the fork, once for all calls. Default: ours.",
    )

    @property
    def is_preloaded(self) -> bool:
        """An import that opens sockets or starts threads does not survive a fork: ours do neither,
        and whoever knows it of their own file may say so.
        """
        return self.is_shipped if self.preload is None else self.preload

    @property
    def is_shipped(self) -> bool:
        """Whether the file is the name of an agent that comes with voicefleet."""
        agents = Path(__file__).parent.parent / "agents"
        return self.file.isidentifier() and (agents / self.file / "agent.py").is_file()


class Shipped(Group):
    background_sound: Literal["none", "office", "city", "forest", "crowd"] = Field(
        "none",
        validation_alias="VOICEFLEET_BACKGROUND_SOUND",
        description="Behind the agent's voice: none, office, city, forest or crowd.",
    )
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC",
        validation_alias="VOICEFLEET_TIMEZONE",
        description="Time zone of the agents that ship, as Europe/Berlin.",
    )
    calendar_file: Path | None = Field(
        None,
        validation_alias="VOICEFLEET_CALENDAR_FILE",
        description="SQLite file of front_desk, for all pods. Default: one a pod, not kept.",
    )

    @property
    def zone(self) -> tzinfo:
        return _zone(self.timezone)

    @property
    def calendar(self) -> Path:
        """The file; the default is one for all processes of a pod."""
        return self.calendar_file or Path(tempfile.gettempdir()) / "voicefleet-calendar.sqlite3"


class Tools(Group):
    url: str | None = Field(
        None,
        validation_alias="VOICEFLEET_MCP_URL",
        description="The MCP server of the agent `tools`, over streamable HTTP.",
    )
    token: SecretStr | None = Field(
        None,
        validation_alias="VOICEFLEET_MCP_TOKEN",
        description="The bearer token of that server.",
    )
    command: str | None = Field(
        None,
        validation_alias="VOICEFLEET_MCP_COMMAND",
        description="Without a URL: the command that runs an MCP server. Default: an example.",
    )


class Phone(Group):
    trunk_id: str | None = Field(
        None,
        validation_alias="VOICEFLEET_PHONE_TRUNK_ID",
        description="LiveKit's outbound SIP trunk (ST_…) that the agent `phone` dials through.",
    )
    desk_number: str | None = Field(
        None,
        validation_alias="VOICEFLEET_PHONE_DESK_NUMBER",
        pattern=r"^\+[1-9]\d{6,14}$",
        description="Where the agent `phone` transfers to, as +15105550100. Default: it does not.",
    )
    ring_seconds: float = Field(
        30.0,
        validation_alias="VOICEFLEET_PHONE_RING_SECONDS",
        gt=0,
        le=80,
        description="How long the agent `phone` lets a telephone ring that it calls.",
    )
