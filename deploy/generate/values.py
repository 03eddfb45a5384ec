"""Reads values.yaml as a manual: each key with its default, its comment and its schema line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SCHEMA_LINE = "@schema "


@dataclass(frozen=True, slots=True)
class Key:
    """One key of values.yaml. A group has `children`; any other is set as a whole."""

    path: tuple[str, ...]
    default: Any
    meaning: str
    schema: dict[str, Any]
    children: tuple["Key", ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.path)


class UndocumentedError(Exception):
    """A key of values.yaml has no comment above it."""


def read(path: Path) -> tuple[Key, ...]:
    """The top-level keys of a values.yaml.

    :raises UndocumentedError: naming the first key without a comment.
    """
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return tuple(_keys(node, yaml.safe_load(text), text.splitlines(), ()))


def leaves(keys: tuple[Key, ...]) -> list[Key]:
    """Every key that can be set, in order."""
    found: list[Key] = []
    for key in keys:
        found += leaves(key.children) if key.children else [key]
    return found


def _keys(
    node: yaml.MappingNode, value: dict[str, Any], lines: list[str], above: tuple[str, ...]
) -> list[Key]:
    return [_key(name, child, value, lines, above) for name, child in node.value]


def _key(
    name: yaml.Node,
    child: yaml.Node,
    value: dict[str, Any],
    lines: list[str],
    above: tuple[str, ...],
) -> Key:
    path = (*above, str(name.value))
    meaning, schema = _comment(lines, name.start_mark.line, name.start_mark.column)
    if not meaning:
        raise UndocumentedError(f"{'.'.join(path)} has no comment above it")
    default = value[path[-1]]
    children: tuple[Key, ...] = ()
    if isinstance(child, yaml.MappingNode) and child.value and not schema:
        children = tuple(_keys(child, default, lines, path))
    return Key(path, default, meaning, schema, children)


def _comment(lines: list[str], line: int, column: int) -> tuple[str, dict[str, Any]]:
    """The comment right above a line, in one, and what its schema line says."""
    begins = " " * column + "# "
    found: list[str] = []
    while line > 0 and lines[line - 1].startswith(begins):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("# "))
    meaning = " ".join(text for text in found if not text.startswith(SCHEMA_LINE))
    schema = [text.removeprefix(SCHEMA_LINE) for text in found if text.startswith(SCHEMA_LINE)]
    return meaning, yaml.safe_load(schema[0]) if schema else {}
