"""What can be set of the agents that ship; each group is for the agent of its name. How to read
them stands in `worker.setting_groups`.
"""

from pydantic import Field, SecretStr

from worker.setting_groups import Group


class Tools(Group):
    url: str | None = Field(
        None,
        validation_alias="WORKER_MCP_URL",
        description="The MCP server of the agent `tools`, over streamable HTTP.",
    )
    token: SecretStr | None = Field(
        None,
        validation_alias="WORKER_MCP_TOKEN",
        description="What that server takes as a bearer token.",
    )
    command: str | None = Field(
        None,
        validation_alias="WORKER_MCP_COMMAND",
        description="Without a URL: the command that runs an MCP server. Default: an example.",
    )


class Phone(Group):
    trunk_id: str | None = Field(
        None,
        validation_alias="WORKER_PHONE_TRUNK_ID",
        description="LiveKit's outbound SIP trunk (ST_…) that the agent `phone` dials through.",
    )
    desk_number: str | None = Field(
        None,
        validation_alias="WORKER_PHONE_DESK_NUMBER",
        pattern=r"^\+[1-9]\d{6,14}$",
        description="Where the agent `phone` transfers to, as +15105550100. Default: it does not.",
    )
    ring_seconds: float = Field(
        30.0,
        validation_alias="WORKER_PHONE_RING_SECONDS",
        gt=0,
        le=80,
        description="How long the agent `phone` lets a telephone ring that it calls.",
    )
