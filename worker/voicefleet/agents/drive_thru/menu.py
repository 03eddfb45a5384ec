"""The menu, read from `menu.toml`, and the types by which tools accept nothing else."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from livekit.agents import ToolError
from pydantic import AfterValidator, Field


class RefusedError(ToolError):
    """It cannot be ordered so. The LLM reads the message, which says what to do."""


@dataclass(frozen=True, slots=True)
class MenuItem:
    """`cents` is the price of each size, the usual size first."""

    name: str
    cents: Mapping[str, int]
    without: tuple[str, ...]

    @property
    def usual_size(self) -> str:
        return next(iter(self.cents))


def read(path: Path) -> dict[str, MenuItem]:
    """Every item by its name."""
    tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: MenuItem(name, table["cents"], tuple(table.get("without", ())))
        for name, table in tables.items()
    }


MENU = read(Path(__file__).with_name("menu.toml"))
SIZES = tuple(dict.fromkeys(size for item in MENU.values() for size in item.cents))
LEFT_OUT = tuple(dict.fromkeys(part for item in MENU.values() for part in item.without))


def _one_of(known: tuple[str, ...], what: str) -> tuple[AfterValidator, Any]:
    """How an argument is checked, and the enum that the LLM is shown."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(
                f"there is no {what} {value[:40]!r}: say so, and offer one of {', '.join(known)}"
            )
        return value

    return AfterValidator(check), Field(json_schema_extra={"enum": list(known)})


ItemName = Annotated[str, *_one_of(tuple(MENU), "item on the menu called")]
Size = Annotated[str, *_one_of(SIZES, "size")]
LeftOut = Annotated[str, *_one_of(LEFT_OUT, "ingredient to leave out called")]


def spoken() -> str:
    """The whole menu, for the LLM."""
    return "\n".join(f"- {item.name}: {_prices(item)}{_parts(item)}" for item in MENU.values())


def _prices(item: MenuItem) -> str:
    return ", ".join(f"{size} {cents / 100:.2f}" for size, cents in item.cents.items())


def _parts(item: MenuItem) -> str:
    return f"; can be had without {', '.join(item.without)}" if item.without else ""
