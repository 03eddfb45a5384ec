"""What every group of settings is: values of the environment first, then of `.env.local` and
`.env`.
"""

import re
from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# What Kubernetes puts into a pod's environment for each Service of its namespace, here for one
# that is called voicefleet or voicefleet-something
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
SERVICE_LINK = re.compile(
    r"VOICEFLEET_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
# `…_PORT` is one by its value alone: VOICEFLEET_HTTP_PORT is a setting too.
SERVICE_PORT = re.compile(r"VOICEFLEET_(\w+_)?PORT")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def is_service_link(name: str, value: object) -> bool:
    """Whether Kubernetes has set this name, and not a person."""
    if SERVICE_LINK.fullmatch(name):
        return True
    return bool(SERVICE_PORT.fullmatch(name) and SERVICE_ADDRESS.fullmatch(str(value)))


class Group(BaseSettings):
    """A field's alias is the setting's name; its description is the manual, from which
    `.env.example`, the chart's documents and the README's table are generated.
    """

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_service_links(cls, values: Any) -> Any:
        """For a Service called voicefleet-http Kubernetes sets the name of one of our settings."""
        return {k: v for k, v in values.items() if not is_service_link(str(k), v)}
