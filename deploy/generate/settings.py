"""What the worker can be told, as the chart offers it: JSON schemas of settings and of secrets."""

from typing import Any

import yaml

from deploy.generate import helm
from voicefleet.settings import Settings, declared, description
from voicefleet.settings.lab import Lab

# A key that is no secret by itself, but goes with one; and OpenTelemetry's own.
SECRETS_BESIDE = ("LIVEKIT_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS")

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum")


def own_settings() -> dict[str, str]:
    """The settings that the chart derives, and the key that each follows from."""
    text = (helm.CHART / "templates" / "_environment.tpl").read_text(encoding="utf-8")
    part = text.partition('define "voicefleet.ownSettings" -}}')[2].partition("{{-")[0]
    own: dict[str, str] = yaml.safe_load(part)
    return own


def secret_names() -> list[str]:
    """The settings that belong into a Secret, in the worker's order."""
    names = [
        name
        for name, info in declared().items()
        if "SecretStr" in str(info.annotation) or name in SECRETS_BESIDE
    ]
    return [*names, *(name for name in SECRETS_BESIDE if name not in names)]


def setting_names() -> list[str]:
    """The settings that are no secrets; the lab's are not for a pod."""
    lab = {str(info.validation_alias) for info in Lab.model_fields.values()}
    return [name for name in declared() if name not in {*secret_names(), *lab}]


def settings_schema() -> dict[str, Any]:
    """For `settings`: every name with its type and bounds. Names that the chart derives, and
    secrets, pass here: the chart refuses them with a sentence.
    """
    plain = {name: _schema_of(name) for name in setting_names()}
    refused_by_the_chart: dict[str, Any] = {n: {} for n in (*own_settings(), *secret_names())}
    return {
        "properties": {**plain, **refused_by_the_chart},
        "patternProperties": {"^OTEL_[A-Z0-9_]+$": {"type": ["string", "number", "boolean"]}},
        "additionalProperties": False,
    }


def secrets_schema() -> dict[str, Any]:
    """For maps from a secret setting to a text."""
    return _for_each_secret({"type": "string", "minLength": 1})


def remote_schema() -> dict[str, Any]:
    """For where a store keeps each secret (external-secrets.io/v1, ExternalSecretDataRemoteRef)."""
    parts = {name: {"type": "string"} for name in ("key", "property", "version")}
    where = {"properties": parts, "required": ["key"], "additionalProperties": False}
    return _for_each_secret({"type": "object", **where})


def _for_each_secret(schema: dict[str, Any]) -> dict[str, Any]:
    return {"properties": dict.fromkeys(secret_names(), schema), "additionalProperties": False}


def _schema_of(name: str) -> dict[str, Any]:
    for kind in Settings.groups().values():
        whole = kind.model_json_schema(by_alias=True)
        if name in whole["properties"]:
            return _narrow(whole["properties"][name], description(name))
    raise KeyError(name)


def _narrow(schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    """Type and bounds. What is no number and no choice is a text in the environment."""
    options = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    kind = options[0].get("type")
    if kind not in {"integer", "number", "boolean", "string"}:
        return {"type": "string", "description": meaning}
    bounds = {name: options[0][name] for name in BOUNDS if name in options[0]}
    return {"type": kind, **bounds, "description": meaning}
