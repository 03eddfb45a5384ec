"""values.schema.json: strict, from values.yaml and the worker's settings."""

import json
from collections.abc import Callable
from typing import Any

from deploy.generate import settings
from deploy.generate.values import Key

SOURCES: dict[str, Callable[[], dict[str, Any]]] = {
    "settings": settings.settings_schema,
    "secrets": settings.secrets_schema,
    "remote": settings.remote_schema,
}

TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def text(keys: tuple[Key, ...]) -> str:
    """The file: what is not in values.yaml is refused, at every level that is ours."""
    top = _group(keys)
    # Helm gives every subchart its parent's `global`.
    top["properties"]["global"] = {"type": "object"}
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "voicefleet", **top}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _group(keys: tuple[Key, ...]) -> dict[str, Any]:
    properties = {key.path[-1]: _schema(key) for key in keys}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _schema(key: Key) -> dict[str, Any]:
    described = {"description": key.meaning}
    if key.children:
        return {**described, **_group(key.children)}
    narrowed = dict(key.schema)
    source = narrowed.pop("from", None)
    return {
        **described,
        **_kind(key, narrowed),
        **narrowed,
        **(SOURCES[source]() if source else {}),
    }


def _kind(key: Key, narrowed: dict[str, Any]) -> dict[str, Any]:
    """The type of the default, unless the schema line gives another or a choice."""
    if "enum" in narrowed:
        return {}
    kind: dict[str, Any] = {"type": TYPES[type(key.default)]}
    if kind["type"] == "object" and "additionalProperties" not in narrowed:
        kind["additionalProperties"] = False
    return kind
