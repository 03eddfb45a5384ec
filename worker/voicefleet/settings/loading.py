"""The settings of one process: one frozen object, read once from the environment, `.env.local` and
`.env`, and checked as a whole. `os.environ` is read here and nowhere else.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from voicefleet import errors
from voicefleet.settings.agents import Agent, Phone, Shipped, Tools
from voicefleet.settings.contradictions import CONTRADICTIONS
from voicefleet.settings.group import Group, is_service_link
from voicefleet.settings.lab import Lab
from voicefleet.settings.livekit import LiveKit
from voicefleet.settings.pod import Call, Pod
from voicefleet.settings.providers import Options, Providers
from voicefleet.settings.telemetry import Logs, Telemetry

PREFIX = "VOICEFLEET_"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process; sent as it is to every job."""

    livekit: LiveKit
    agent: Agent
    shipped: Shipped
    tools: Tools
    phone: Phone
    pod: Pod
    call: Call
    providers: Providers
    logs: Logs
    telemetry: Telemetry
    lab: Lab

    @classmethod
    def groups(cls) -> dict[str, type[Group]]:
        return {f.name: f.type for f in fields(cls) if isinstance(f.type, type)}

    def require(self, *names: str) -> Self:
        """:raises SettingsError: naming all of these settings that are missing, at once."""
        held = dict(self.items())
        missing = [name for name in names if held[name] is None]
        if missing:
            raise errors.SettingsError(
                [(f"{n} is not set", f"set {n}: {description(n)}") for n in missing]
            )
        return self

    def secrets(self) -> list[str]:
        """Every secret in clear, for whoever must keep it out of what is written."""
        values = [value for _, value in self.items()]
        held = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        among = [value.secrets() for value in values if isinstance(value, Options)]
        return [*held, *chain.from_iterable(among)]

    def items(self) -> list[tuple[str, Any]]:
        """Every setting's name in the environment and its effective value, in order."""
        return [
            (str(info.validation_alias), getattr(getattr(self, group), field))
            for group, kind in self.groups().items()
            for field, info in kind.model_fields.items()
        ]


def load(env_file: Path | str | None = ".env") -> Settings:
    """The settings of this process, from the environment first, and after it from the file beside
    `env_file` whose name ends in `.local`, as LiveKit's own projects have one, and `env_file`.

    :raises SettingsError: with every violation, if any value is wrong or contradicts another.
    """
    violations: list[tuple[str, str]] = _unknown_names(env_file)
    loaded: dict[str, Any] = {}
    for name, kind in Settings.groups().items():
        try:
            loaded[name] = kind(_env_file=_files(env_file))
        except ValidationError as error:
            violations += [_violation(e) for e in error.errors(include_url=False)]
        else:
            violations += CONTRADICTIONS.get(name, _none)(loaded[name])
    if violations:
        raise errors.SettingsError(violations)
    return Settings(**loaded)


def completed(settings: Settings) -> Settings:
    """The same settings, and those that were missing and are in the environment by now: where the
    agent file has loaded a file of its own (`load_dotenv`).

    :raises SettingsError: as `load`.
    """
    now = load()
    groups = dict[str, Group]()
    for name, kind in Settings.groups().items():
        before = getattr(settings, name)
        missing = [field for field in kind.model_fields if getattr(before, field) is None]
        found = {field: getattr(getattr(now, name), field) for field in missing}
        groups[name] = before.model_copy(update=found)
    return Settings(**groups)  # type: ignore[arg-type]


def for_development(settings: Settings) -> Settings:
    """The same settings in LiveKit's dev mode: readable logs, a free port, four slots; and a call
    that stands still at a breakpoint is left alone.
    """
    return replace(
        settings,
        call=settings.call.model_copy(update={"is_resumed": settings.call.is_resumed or False}),
        pod=settings.pod.model_copy(update={"http_port": 0, "slots": settings.pod.slots or 4}),
        logs=settings.logs.model_copy(update={"format": "text", "level": "DEBUG"}),
    )


def for_jobs(settings: Settings) -> Settings:
    """The same settings, without the secrets that no call needs; they leave the environment too, so
    that no process started from here inherits them.
    """
    for name in ("VOICEFLEET_DRAIN_TOKEN", "VOICEFLEET_REPORT_TOKEN"):
        os.environ.pop(name, None)
    return replace(
        settings,
        pod=settings.pod.model_copy(update={"drain_token": None}),
        telemetry=settings.telemetry.model_copy(update={"report_token": None}),
    )


def export_otel_settings(env_file: Path | str = ".env") -> None:
    """Put what `env_file` sets of OTEL_… into the environment, where OpenTelemetry's SDK looks."""
    for name, value in _in_files(env_file).items():
        if name.startswith("OTEL_") and value is not None:
            os.environ.setdefault(name, value)


def export_keys_of_plugins(env_file: Path | str = ".env") -> None:
    """Put what `env_file` sets beside our settings into the environment, where plugins look for
    their keys.
    """
    for name, value in _in_files(env_file).items():
        if value and name.upper() not in declared():
            os.environ.setdefault(name, value)


def environment() -> dict[str, str]:
    """A copy of this process's environment, for a child process that is started from here."""
    return dict(os.environ)


def adopt(environment: Mapping[str, str]) -> None:
    """Have the environment of another process, as a child that it had started now would."""
    os.environ.clear()
    os.environ.update(environment)


def declared() -> dict[str, FieldInfo]:
    """Every setting by its name in the environment."""
    return {
        str(info.validation_alias): info
        for kind in Settings.groups().values()
        for info in kind.model_fields.values()
    }


def description(name: str) -> str:
    return str(declared()[name].description)


def _none(_: Group) -> Iterator[tuple[str, str]]:
    return iter(())


def _files(env_file: Path | str | None) -> tuple[Path | str, ...]:
    """The files to read, each before those that win over it."""
    return () if env_file is None else (env_file, f"{env_file}.local")


def _in_files(env_file: Path | str | None) -> dict[str, str | None]:
    return {k: v for file in _files(env_file) for k, v in dotenv_values(file).items()}


def _unknown_names(env_file: Path | str | None) -> list[tuple[str, str]]:
    """A misspelt VOICEFLEET_… name would be ignored in silence; say so instead, and where it is."""
    known = declared()
    # Compared by what follows the prefix: with it, any two names are alike.
    ends = [one.removeprefix(PREFIX) for one in known]
    places: dict[str, Mapping[str, str | None]] = {"the environment": os.environ}
    places |= {str(file): dotenv_values(file) for file in _files(env_file)}
    found: list[tuple[str, str]] = []
    for place, values in places.items():
        for name in sorted(values):
            # Settings are read in upper and in lower case.
            spelt = name.upper()
            if not spelt.startswith(PREFIX) or spelt in known:
                continue
            if is_service_link(name, values[name]):
                continue
            close = get_close_matches(spelt.removeprefix(PREFIX), ends, n=1)
            fix = f"did you mean {PREFIX}{close[0]}?" if close else "remove it;"
            found.append(
                (
                    f"{name} in {place} is not a setting",
                    f"{fix} `voicefleet settings` lists all names",
                )
            )
    return found


def _violation(error: Any) -> tuple[str, str]:
    name = str(error["loc"][0])
    shown = "" if _is_secret(name) else f" is {error['input']!r}"
    reason = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}{shown}: {reason}", f"correct {name}: {description(name)}"


def _is_secret(name: str) -> bool:
    # Options are none, but a key may stand among them.
    annotation = str(declared()[name].annotation)
    return "SecretStr" in annotation or Options.__name__ in annotation
