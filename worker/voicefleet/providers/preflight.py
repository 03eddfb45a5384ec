"""Whether the plugins that the settings choose can be made: each is made once, as a session makes
it, without a question over the network. Used by `check`, `start` and `console`, in the parent.
"""

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any

from livekit.agents.utils import http_context

from voicefleet import errors
from voicefleet.providers import plugins, reach
from voicefleet.providers.keys import Part
from voicefleet.settings.providers import BUILT_IN, Providers


def parts_to_make(settings: Providers, parts: frozenset[Part]) -> list[Part]:
    """The parts that name a plugin or an option. Of the others everything is known by their keys,
    and a start need not pay for their import.
    """
    return [
        part
        for part in BUILT_IN
        if part in parts
        and (
            plugins.by_name(settings, part)
            or any(settings.options(part).of(model.provider) for model in settings.chain(part))
        )
    ]


def require(settings: Providers, parts: frozenset[Part]) -> None:
    """:raises SettingsError: with everything that is wrong with what these parts choose."""
    violations: list[tuple[str, str]] = []
    for part in parts_to_make(settings, parts):
        try:
            make(settings, part)
        except errors.SettingsError as error:
            violations += error.violations
    if violations:
        raise errors.SettingsError(list(dict.fromkeys(violations)))


def make(settings: Providers, part: Part) -> str:
    """Make the chain of this part, and leave nothing open. In words, what was made.

    Must run on the main thread, which alone may import plugins, and outside an event loop.
    :raises SettingsError: with everything that is wrong with it.
    """
    asyncio.run(_make(settings, part))
    chain = ",".join(str(model) for model in settings.chain(part))
    unasked = [name for name in plugins.by_name(settings, part) if name not in reach.PROBES]
    return f"{chain}; not asked: {', '.join(unasked)}" if unasked else chain


async def _make(settings: Providers, part: Part) -> None:
    module: Any = import_module(f"voicefleet.providers.{part}")
    links: list[Any] = []
    violations: list[tuple[str, str]] = []
    # The plugins' constructors may want the loop and the session of a call.
    async with http_context.open():
        for model in settings.chain(part):
            try:
                links.append(module.link(settings, model))
            except errors.SettingsError as error:
                violations += error.violations
        try:
            if violations:
                raise errors.SettingsError(violations)
            # A chain of STTs goes together always: the VAD makes up for what one cannot do.
            if part != "stt":
                module.chain(links)
        finally:
            for made in links:
                with suppress(Exception):
                    await made.aclose()
