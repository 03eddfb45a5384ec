"""What every group of settings is: values read from the environment first, then from `.env`."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Group(BaseSettings):
    """A field's alias is the setting's name; its description is the manual, from which
    `.env.example`, the chart's documents and the README's table are generated.
    """

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )
