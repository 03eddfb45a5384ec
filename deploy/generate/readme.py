"""The tables of the chart's README: values, and settings of the worker."""

import json
import re
from typing import Any

from deploy.generate import settings
from deploy.generate.values import Key
from voicefleet.settings import declared
from voicefleet.settings.providers import Options


def with_tables(readme: str, keys: tuple[Key, ...], own: dict[str, str]) -> str:
    """The README with its generated parts anew."""
    readme = _replace(readme, "values", values_table(keys))
    return _replace(readme, "settings", settings_table(own))


def values_table(keys: tuple[Key, ...]) -> str:
    """One table a group, so that its own comment stands above its keys."""
    parts = ["| Key | Default | Meaning |", "| --- | --- | --- |"]
    for key in keys:
        parts += _rows(key)
    return "\n".join(parts)


def settings_table(own: dict[str, str]) -> str:
    """What `settings` takes: what the worker can be told, and the chart does not derive."""
    lines = ["| Name | Default | Meaning |", "| --- | --- | --- |"]
    for name in settings.setting_names():
        if name not in own:
            info = declared()[name]
            lines.append(f"| `{name}` | {_shown(_default(info.default))} | {info.description} |")
    return "\n".join(lines)


def _rows(key: Key) -> list[str]:
    default = "" if key.children else _shown(key.default)
    row = f"| `{key.name}` | {default} | {_escaped(key.meaning)} |"
    return [row, *(line for child in key.children for line in _rows(child))]


def _default(value: Any) -> Any:
    if isinstance(value, Options):
        return str(value)
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{_escaped(text)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _replace(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the README has no part {name!r}")
    return re.sub(
        re.escape(begin) + ".*?" + re.escape(end), lambda _: begin + content + end, text, flags=re.S
    )
