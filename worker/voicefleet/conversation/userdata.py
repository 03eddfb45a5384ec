"""A session's userdata as JSON, and back into what the next process has made of it; never pickle.

Field by field, by its type, through pydantic: a field that is no data is left as the agent file
makes it, and named. Without a type, a field is data if JSON gives it back as it was.
"""

import contextlib
import dataclasses
import functools
import json
import typing
from typing import Any

from pydantic import TypeAdapter

Json = dict[str, Any]


def saved(userdata: Any) -> tuple[Json, list[str]]:
    """The fields that are data, and the names of those that are none."""
    kind: Any = type(userdata)
    fields = Json()
    for name in _names(userdata):
        with contextlib.suppress(Exception):
            if (adapter := _adapter(kind, name)) is not None:
                fields[name] = _dumped(adapter, _get(userdata, name))
    return fields, [name for name in _names(userdata) if name not in fields]


def restored(userdata: Any, fields: Json) -> tuple[Any, list[str]]:
    """The userdata with these fields, itself or another where it cannot be changed, and the names
    of those that no longer fit.
    """
    kind: Any = type(userdata)
    lost = list[str]()
    for name, value in fields.items():
        try:
            if (adapter := _adapter(kind, name)) is None:
                raise TypeError("no data")
            userdata = _with(userdata, name, adapter.validate_python(value))
        except Exception:
            lost.append(name)
    return userdata, lost


# Most userdata is asked about several times a turn, and an adapter takes a hundred times as long to
# make as to use. A dict may have any names.
MOST_FIELDS = 256


def _dumped(adapter: TypeAdapter[Any], value: Any) -> Any:
    """:raises Exception: if it is no data, or not of its type: pydantic would warn, and tell it."""
    if adapter is UNTYPED:
        _require_plain(value)
        return value
    dumped = adapter.dump_python(value, mode="json", warnings="error")
    json.dumps(dumped)
    return dumped


def _require_plain(value: Any) -> None:
    """:raises TypeError: unless JSON gives it back as it was."""
    if type(value) is dict and all(type(key) is str for key in value):
        for part in value.values():
            _require_plain(part)
    elif type(value) is list:
        for part in value:
            _require_plain(part)
    elif type(value) not in (str, int, float, bool, type(None)):
        raise TypeError("no data")


UNTYPED: TypeAdapter[Any] = TypeAdapter(Any)


@functools.lru_cache(MOST_FIELDS)
def _adapter(kind: Any, name: str) -> TypeAdapter[Any] | None:
    """None where the field's type is no data."""
    if (hint := _hints(kind).get(name, Any)) is Any:
        return UNTYPED
    try:
        return TypeAdapter(hint)
    except Exception:
        return None


def _names(userdata: Any) -> list[str]:
    if isinstance(userdata, dict):
        return [name for name in userdata if isinstance(name, str)]
    if dataclasses.is_dataclass(userdata):
        return [field.name for field in dataclasses.fields(userdata)]
    return list(getattr(userdata, "__dict__", {}))


@functools.lru_cache(MOST_FIELDS)
def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception:
        # A type that is imported for type checkers alone.
        return {}


def _get(userdata: Any, name: str) -> Any:
    return userdata[name] if isinstance(userdata, dict) else getattr(userdata, name)


def _with(userdata: Any, name: str, value: Any) -> Any:
    if isinstance(userdata, dict):
        userdata[name] = value
        return userdata
    try:
        setattr(userdata, name, value)
    except dataclasses.FrozenInstanceError:
        return dataclasses.replace(userdata, **{name: value})
    return userdata
