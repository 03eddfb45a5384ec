"""Any plugin of LiveKit's as a provider: found by its name, and constructed with what the settings
say; what is wrong with it is said in words.

`elevenlabs` is the module `livekit.plugins.elevenlabs`, and its classes `STT`, `LLM`, `TTS` and
`realtime.RealtimeModel`. LiveKit refuses a plugin that is imported on a thread (livekit-agents
1.8.9, plugin.py), and an import stops the audio of a call: so a pod imports those of its settings
before it forks (`import_chosen`).
"""

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from livekit.agents import llm, stt, tts

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.providers import keys
from voicefleet.providers.keys import Part
from voicefleet.settings.providers import (
    BUILT_IN,
    CHAIN_SETTING,
    OPTIONS_SETTING,
    PLUGINS,
    Model,
    Providers,
    unknown_provider,
)

Arguments = dict[str, Any]
# What a provider with settings of its own is made of: its class, and arguments that options and
# the chain may replace.
Own = Callable[[Providers], tuple[Callable[..., Any], Arguments]]

CLASS: dict[Part, str] = {
    "stt": "STT",
    "llm": "LLM",
    "tts": "TTS",
    "realtime": "realtime.RealtimeModel",
}
KINDS: dict[Part, type[Any]] = {
    "stt": stt.STT,
    "llm": llm.LLM,
    "tts": tts.TTS,
    "realtime": llm.RealtimeModel,
}

# What plugins call the model, the voice and the language (1.8.9: elevenlabs has voice_id, google
# voice_name and model_name, rime speaker, resemble voice_uuid).
MODEL = ("model", "model_name", "model_id")
VOICE = ("voice", "voice_id", "voice_name", "speaker", "voice_uuid")
LANGUAGE = ("language", "language_code")

ENVIRONMENT_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")

Violation = tuple[str, str]
Link = TypeVar("Link")


def link(part: Part, settings: Providers, model: Model, own: Mapping[str, Own]) -> Any:
    """One link of a chain. What the chain says of it wins over its options, and they over what it
    is given by default.

    :raises SettingsError: with every violation, if the plugin, a key or an option is missing or
        wrong.
    """
    built_in = own.get(model.provider)
    kind, defaults = built_in(settings) if built_in else _by_name(part, settings, model.provider)
    label = f"{PLUGINS}.{model.provider}.{CLASS[part]}"
    takes = _parameters(kind)
    options = settings.options(part).of(model.provider)
    chosen, violations = _chosen(part, model, label, takes)
    violations += _unknown_options(part, options, label, takes)
    made, wrong = _made_of_json(kind, options, label)
    violations += wrong
    arguments = defaults | made | chosen
    violations += _missing(part, model.provider, arguments, label, takes)
    if violations:
        raise errors.SettingsError(violations)
    try:
        return kind(**arguments)
    except Exception as error:
        raise errors.SettingsError([_refused(part, model.provider, label, error)]) from error


def chained(part: Part, links: list[Link], adapter: Callable[[list[Link]], Link]) -> Link:
    """One link alone, or LiveKit's adapter of several.

    :raises SettingsError: if the adapter says that they do not go together.
    """
    if len(links) == 1:
        return links[0]
    try:
        return adapter(links)
    except ValueError as error:
        raise errors.SettingsError(
            [
                (
                    f"the providers of {CHAIN_SETTING[part]} cannot be one chain: {error}",
                    f"take one out of {CHAIN_SETTING[part]}",
                )
            ]
        ) from error


def import_chosen(settings: Providers, parts: Iterable[Part]) -> None:
    """Import the plugins that these parts name. On the main thread, before the fork; what does not
    import is `preflight`'s to tell.
    """
    for part in parts:
        for name in by_name(settings, part):
            with suppress(errors.SettingsError):
                _module(part, name)


def by_name(settings: Providers, part: Part) -> list[str]:
    """The providers of this part that are no built-in ones, each once."""
    providers = dict.fromkeys(model.provider for model in settings.chain(part))
    return [name for name in providers if name not in BUILT_IN[part]]


def _by_name(part: Part, settings: Providers, name: str) -> tuple[type[Any], Arguments]:
    """The plugin's class, and what our settings have for it."""
    settings_module.export_keys_of_plugins()
    kind = _class(part, name)
    takes = _parameters(kind)
    defaults: Arguments = {}
    key = keys.held(settings, name)
    if key is not None and "api_key" in takes:
        defaults["api_key"] = key.get_secret_value()
    # Its own default may be en-US, where en is none to it.
    language = next((parameter for parameter in LANGUAGE if parameter in takes), None)
    if language is not None and "language" in settings.model_fields_set:
        defaults[language] = settings.language
    return kind, defaults


def _class(part: Part, name: str) -> type[Any]:
    """:raises SettingsError: if the plugin has no such class."""
    module = _module(part, name)
    if (found := _class_in(module, part)) is not None:
        return found
    has = [CLASS[other] for other in BUILT_IN if _has(module, other)]
    inside = (value for value in vars(module).values() if isinstance(value, ModuleType))
    inner = [
        value.__name__.removeprefix(f"{PLUGINS}.")
        for value in inside
        if value.__name__.startswith(f"{module.__name__}.") and _has(value, part)
    ]
    raise errors.SettingsError(
        [
            (
                f"{CHAIN_SETTING[part]} names {name}, and {PLUGINS}.{name} has no {CLASS[part]}"
                f" (it has {', '.join(has) or 'none of ' + ', '.join(CLASS.values())})",
                f"did you mean {inner[0]}?" if inner else f"take {name} out, or name another",
            )
        ]
    )


def _has(module: ModuleType, part: Part) -> bool:
    # What needs an extra is there, and not what is asked about.
    try:
        return _class_in(module, part) is not None
    except errors.SettingsError:
        return True


def _class_in(module: ModuleType, part: Part) -> type[Any] | None:
    found: Any = module
    for name in CLASS[part].split("."):
        # Some import their realtime module when it is asked for, and need an extra for it.
        try:
            found = getattr(found, name, None)
        except ImportError as error:
            path = f"{module.__name__}.{name}"
            raise errors.SettingsError([_not_imported(path, error)]) from error
    return found if isinstance(found, type) and issubclass(found, KINDS[part]) else None


def _module(part: Part, name: str) -> ModuleType:
    """:raises SettingsError: if it is not installed, or does not import."""
    path = f"{PLUGINS}.{name}"
    if reason := unknown_provider(part, name):
        raise errors.SettingsError(
            [(f"{CHAIN_SETTING[part]}: {reason}", f"correct {CHAIN_SETTING[part]}, or install it")]
        )
    try:
        return import_module(path)
    except Exception as error:
        raise errors.SettingsError([_not_imported(path, error)]) from error


def _not_imported(path: str, error: Exception) -> Violation:
    plugin = path.removeprefix(f"{PLUGINS}.").partition(".")[0]
    distribution = f"livekit-plugins-{plugin.replace('_', '-')}"
    return (
        f"{path} does not import: {type(error).__name__}: {_one_line(error)}",
        f"install what it says in your image, or {distribution} in the version of livekit-agents",
    )


def _parameters(kind: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def _takes_any(takes: Mapping[str, inspect.Parameter]) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())


def _named(takes: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in takes.items() if p.kind not in variable}


def _chosen(
    part: Part, model: Model, label: str, takes: Mapping[str, inspect.Parameter]
) -> tuple[Arguments, list[Violation]]:
    """Model and voice of the chain, as this constructor calls them."""
    arguments: Arguments = {}
    violations: list[Violation] = []
    for names, mark, value in ((MODEL, "/", model.model), (VOICE, ":", model.voice)):
        if value is None:
            continue
        name = next((name for name in names if name in takes), None)
        if name is not None:
            arguments[name] = value
        else:
            violations.append(
                (
                    f"{CHAIN_SETTING[part]} says {model}, and {label} takes no {names[0]}",
                    f"take {mark}{value} out; what it takes goes into {OPTIONS_SETTING[part]}",
                )
            )
    return arguments, violations


def _unknown_options(
    part: Part, options: Arguments, label: str, takes: Mapping[str, inspect.Parameter]
) -> list[Violation]:
    if _takes_any(takes):
        return []
    known = [name for name in _named(takes) if not name.startswith("_")]
    return [
        (
            f"{OPTIONS_SETTING[part]} has {name!r}, which {label} does not take",
            f"did you mean {close[0]}?"
            if (close := get_close_matches(name, known, n=1))
            else f"it takes {', '.join(known)}",
        )
        for name in options
        if name not in known
    ]


def _missing(
    part: Part,
    provider: str,
    arguments: Arguments,
    label: str,
    takes: Mapping[str, inspect.Parameter],
) -> Iterator[Violation]:
    for name, parameter in _named(takes).items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            yield (
                f"{label} needs {name}",
                f'set {OPTIONS_SETTING[part]}={{"{provider}": {{"{name}": …}}}}',
            )


def _made_of_json(
    kind: Callable[..., Any], options: Arguments, label: str
) -> tuple[Arguments, list[Violation]]:
    """The options, with an object of JSON made the dataclass that the constructor wants there."""
    made = dict(options)
    violations: list[Violation] = []
    for name, value in options.items():
        wanted = _dataclass_of(kind, name) if isinstance(value, dict) else None
        if wanted is None:
            continue
        try:
            made[name] = wanted(**value)
        except (TypeError, ValueError) as error:
            violations.append(
                (
                    f"{name} of {label} is no {wanted.__name__}: {_one_line(error)}",
                    f"it takes {', '.join(_parameters(wanted))}",
                )
            )
    return made, violations


def _dataclass_of(kind: Callable[..., Any], name: str) -> type[Any] | None:
    # An annotation may name what is imported for type checkers alone.
    try:
        annotation = typing.get_type_hints(vars(kind)["__init__"]).get(name)
    except (NameError, TypeError, KeyError):
        return None
    wanted = [one for one in (annotation, *typing.get_args(annotation)) if is_dataclass(one)]
    return wanted[0] if len(wanted) == 1 and isinstance(wanted[0], type) else None


def _refused(part: Part, provider: str, label: str, error: Exception) -> Violation:
    """Plugins name the variable that they would have read their key from."""
    said = _one_line(error)
    names = list(dict.fromkeys(ENVIRONMENT_NAME.findall(said)))
    problem = f"{label} cannot be made: {said}"
    match names:
        case []:
            fix = f"correct {OPTIONS_SETTING[part]}, or what the plugin reads of the environment"
        case [name]:
            fix = f"set {name}, or choose another than {provider}"
        case _:
            fix = f"set what it names of {', '.join(names)}, or choose another than {provider}"
    return problem, fix


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
