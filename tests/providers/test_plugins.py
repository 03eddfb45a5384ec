"""Any plugin of LiveKit's as a setting: one that is made here, and those at hand by their names."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import Plugin, inference, stt, tts
from livekit.agents import llm as livekit_llm
from livekit.plugins import cartesia, deepgram, openai

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.cli import check
from voicefleet.errors import ExitCode
from voicefleet.providers import keys, llm, plugins, preflight, reach, realtime
from voicefleet.providers import stt as our_stt
from voicefleet.providers import tts as our_tts
from voicefleet.providers.keys import PIPELINE
from voicefleet.settings.providers import Model, Providers

# Laid out as LiveKit's: a package of the namespace, registered when it is imported, its key read
# from the environment, a voice under a name of its own, and an option that is a dataclass.
PARROT = """
import os
from dataclasses import dataclass
from livekit.agents import Plugin, llm, stt, tts
from . import realtime, responses

@dataclass
class Feathers:
    colour: str
    length_mm: int = 100

def key(given):
    found = given or os.environ.get("PARROT_API_KEY")
    if not found:
        raise ValueError(
            "Parrot API key is required, either as argument or set\\n PARROT_API_KEY"
        )
    return found

class STT(stt.STT):
    def __init__(self, *, model: str = "ear", language_code: str = "en-US", api_key: str = ""):
        super().__init__(
            capabilities=stt.STTCapabilities(streaming=False, interim_results=False)
        )
        self.given = {"model": model, "language": language_code, "key": key(api_key)}

    async def _recognize_impl(self, buffer, *, language, conn_options):
        raise NotImplementedError

class TTS(tts.TTS):
    def __init__(
        self,
        *,
        voice_id: str = "polly",
        feathers: "Feathers | None" = None,
        base_url: str = "https://parrot.example",
        api_key: str = "",
        num_channels: int = 1,
    ):
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=24000,
            num_channels=num_channels,
        )
        self.given = {"voice": voice_id, "feathers": feathers, "url": base_url}
        key(api_key)

    def synthesize(self, text, *, conn_options=None):
        raise NotImplementedError

class ParrotPlugin(Plugin):
    def __init__(self):
        super().__init__(__name__, "1", __package__)

Plugin.register_plugin(ParrotPlugin())
"""
RESPONSES = """
from livekit.agents import llm

class LLM(llm.LLM):
    def __init__(self, *, model: str, beak: str, **kwargs):
        super().__init__()
        self.given = {"model": model, "beak": beak, **kwargs}

    def chat(self, **kwargs):
        raise NotImplementedError
"""
REALTIME = """
from livekit.plugins.openai import realtime

class RealtimeModel(realtime.RealtimeModel):
    pass
"""
NAME = "livekit.plugins.parrot"


@pytest.fixture(autouse=True)
def parrot(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """The plugin is installed and has its key, and so has everybody else."""
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "PARROT_API_KEY"):
        monkeypatch.setenv(name, "key")
    package = tmp_path / "site" / "livekit" / "plugins" / "parrot"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PARROT)
    (package / "responses.py").write_text(RESPONSES)
    (package / "realtime.py").write_text(REALTIME)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registered = list(Plugin.registered_plugins)
    yield
    Plugin.registered_plugins[:] = registered
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


def providers(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Providers:
    for name, value in environment.items():
        monkeypatch.setenv(f"VOICEFLEET_{name}", value)
    return settings_module.load().providers


def violations_of(chosen: Providers, *, parts: frozenset[keys.Part] = PIPELINE) -> Any:
    with pytest.raises(errors.SettingsError) as raised:
        preflight.require(chosen, parts)
    return raised.value.violations


def given(made: Any) -> dict[str, Any]:
    assert type(made).__module__.startswith(NAME)
    arguments: dict[str, Any] = made.given
    return arguments


async def test_a_plugin_is_made_with_model_and_voice_as_its_constructor_calls_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(
        monkeypatch,
        STT="parrot/ear-2",
        LLM="parrot.responses/mind:8b",
        TTS="parrot:kea",
        LLM_OPTIONS='{"parrot.responses": {"beak": "long"}}',
    )
    assert given(our_stt.build(chosen, inference.VAD()))["model"] == "ear-2"
    assert given(llm.build(chosen)) == {"model": "mind:8b", "beak": "long"}
    assert given(our_tts.build(chosen))["voice"] == "kea"
    assert given(our_tts.build(chosen, {"parrot": "lory"}))["voice"] == "lory"


async def test_the_chain_wins_over_options_and_options_over_what_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(
        monkeypatch,
        TTS="parrot,parrot:kea",
        TTS_OPTIONS='{"parrot": {"voice_id": "lory", "base_url": "http://own"}}',
        STT="deepgram",
        STT_OPTIONS='{"deepgram": {"model": "nova-2", "numerals": true}}',
    )
    first, second = (our_tts.link(chosen, model) for model in chosen.tts)
    assert (given(first)["voice"], given(second)["voice"]) == ("lory", "kea")
    assert given(second)["url"] == "http://own"
    heard = our_stt.build(chosen, inference.VAD())
    assert isinstance(heard, deepgram.STT)
    assert heard.model == "nova-2"


async def test_an_object_is_made_the_dataclass_that_the_constructor_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = '{"parrot": {"feathers": {"colour": "green"}}}'
    made = our_tts.build(providers(monkeypatch, TTS="parrot", TTS_OPTIONS=options))
    feathers = given(made)["feathers"]
    assert (type(feathers).__name__, feathers.colour, feathers.length_mm) == (
        "Feathers",
        "green",
        100,
    )


@pytest.mark.parametrize(("language", "heard"), [("", "en-US"), ("nl", "nl")])
async def test_a_plugin_keeps_its_language_unless_one_is_set(
    monkeypatch: pytest.MonkeyPatch, language: str, heard: str
) -> None:
    made = our_stt.build(providers(monkeypatch, STT="parrot", LANGUAGE=language), inference.VAD())
    assert given(made)["language"] == heard


async def test_plugins_and_built_in_providers_are_one_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(
        monkeypatch,
        STT="deepgram,parrot,cartesia",
        LLM="openai,parrot.responses/mind",
        LLM_OPTIONS='{"parrot.responses": {"beak": "long"}}',
        TTS="parrot,cartesia,deepgram",
        REALTIME="openai,parrot:cedar",
    )
    heard = our_stt.build(chosen, inference.VAD())
    assert isinstance(heard, stt.FallbackAdapter)
    # What cannot stream is cut by the VAD.
    assert heard.capabilities.streaming
    assert isinstance(llm.build(chosen), livekit_llm.FallbackAdapter)
    assert isinstance(our_tts.build(chosen), tts.FallbackAdapter)
    model = realtime.build_model(chosen)
    assert isinstance(model, livekit_llm.RealtimeModelFallbackAdapter)


async def test_the_plugins_at_hand_are_the_same_by_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deepgram and Cartesia are built in for one part alone, and have others too."""
    chosen = providers(monkeypatch, STT="cartesia", TTS="deepgram/aura-2-thalia-en")
    heard, spoken = our_stt.build(chosen, inference.VAD()), our_tts.build(chosen)
    assert isinstance(heard, cartesia.STT)
    assert isinstance(spoken, deepgram.TTS)
    assert spoken.model == "aura-2-thalia-en"
    by_name = plugins.link("llm", chosen, Model("openai", "gpt-4.1"), own={})
    built_in = llm.link(chosen, Model("openai", "gpt-4.1"))
    assert isinstance(by_name, openai.LLM)
    assert (by_name.model, by_name.provider) == (built_in.model, built_in.provider)


def test_a_plugin_at_hand_needs_the_key_that_has_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(monkeypatch, STT="parrot", LLM="parrot.responses", TTS="deepgram")
    assert keys.needed(chosen) == ["DEEPGRAM_API_KEY"]
    assert list(reach.chosen(chosen)) == ["deepgram"]


async def test_the_key_in_the_env_file_is_a_plugins_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PARROT_API_KEY")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "")
    (tmp_path / ".env").write_text("PARROT_API_KEY=filed\nDEEPGRAM_API_KEY=ours\n")
    chosen = providers(monkeypatch, STT="parrot", TTS="deepgram")
    assert given(our_stt.build(chosen, inference.VAD()))["key"] == "filed"
    assert isinstance(our_tts.build(chosen), deepgram.TTS)


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARROT_API_KEY")
    chosen = providers(
        monkeypatch,
        STT="parrot,deepgram",
        LLM="parrot.responses",
        TTS="parrot/mimic,cartesia",
        TTS_OPTIONS='{"parrot": {"voice": "kea", "feathers": {"size": 1}}}',
    )
    assert violations_of(chosen) == [
        (
            "livekit.plugins.parrot.STT cannot be made: Parrot API key is required,"
            " either as argument or set PARROT_API_KEY",
            "set PARROT_API_KEY, or choose another than parrot",
        ),
        (
            "livekit.plugins.parrot.responses.LLM needs model",
            'set VOICEFLEET_LLM_OPTIONS={"parrot.responses": {"model": …}}',
        ),
        (
            "livekit.plugins.parrot.responses.LLM needs beak",
            'set VOICEFLEET_LLM_OPTIONS={"parrot.responses": {"beak": …}}',
        ),
        (
            "VOICEFLEET_TTS says parrot/mimic, and livekit.plugins.parrot.TTS takes no model",
            "take /mimic out; what it takes goes into VOICEFLEET_TTS_OPTIONS",
        ),
        (
            "VOICEFLEET_TTS_OPTIONS has 'voice', which livekit.plugins.parrot.TTS does not take",
            "did you mean voice_id?",
        ),
        (
            "feathers of livekit.plugins.parrot.TTS is no Feathers: Feathers.__init__() got an"
            " unexpected keyword argument 'size'",
            "it takes colour, length_mm",
        ),
    ]


def test_an_option_that_a_built_in_provider_does_not_take_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = providers(monkeypatch, LLM_OPTIONS='{"openai": {"temprature": 0.2}}')
    assert violations_of(chosen) == [
        (
            "VOICEFLEET_LLM_OPTIONS has 'temprature', which livekit.plugins.openai.LLM does not"
            " take",
            "did you mean temperature?",
        )
    ]


@pytest.mark.parametrize(
    ("chain", "problem", "fix"),
    [
        (
            "parrot/mind",
            "livekit.plugins.parrot has no LLM (it has STT, TTS, realtime.RealtimeModel)",
            "did you mean parrot.responses?",
        ),
        ("silero", "livekit.plugins.silero has no LLM", "take silero out"),
        ("parrot.mind", "No module named 'livekit.plugins.parrot.mind'", "in your image"),
    ],
)
def test_a_plugin_without_what_is_wanted_of_it_is_told(
    monkeypatch: pytest.MonkeyPatch, chain: str, problem: str, fix: str
) -> None:
    ((told, advice),) = violations_of(providers(monkeypatch, LLM=chain))
    assert problem in told
    assert fix in advice


def test_a_part_of_a_plugin_that_needs_an_extra_hides_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Asked for an LLM that it has elsewhere, a plugin answered with the extra of its realtime."""
    lazy = """
def __getattr__(name):
    if name == "realtime":
        raise ImportError("install livekit-plugins-parrot[realtime]")
    raise AttributeError(name)
"""
    package = tmp_path / "site" / "livekit" / "plugins" / "parrot" / "__init__.py"
    package.write_text(PARROT.replace("import realtime, responses", "import responses") + lazy)
    chosen = providers(monkeypatch, LLM="parrot", REALTIME="parrot")
    (no_llm, extra) = violations_of(chosen, parts=frozenset({"llm", "realtime"}))
    assert no_llm[1] == "did you mean parrot.responses?"
    assert extra[0] == (
        "livekit.plugins.parrot.realtime does not import: ImportError:"
        " install livekit-plugins-parrot[realtime]"
    )


def test_a_plugin_that_does_not_import_is_told_with_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "site" / "livekit" / "plugins" / "parrot" / "__init__.py"
    broken.write_text("import birdsong\n")
    ((told, advice),) = violations_of(providers(monkeypatch, TTS="parrot"))
    assert told == (
        "livekit.plugins.parrot does not import: ModuleNotFoundError: No module named 'birdsong'"
    )
    assert "livekit-plugins-parrot" in advice


def test_voices_that_cannot_be_one_chain_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    options = '{"parrot": {"num_channels": 2}}'
    ((told, _),) = violations_of(providers(monkeypatch, TTS="cartesia,parrot", TTS_OPTIONS=options))
    assert "VOICEFLEET_TTS cannot be one chain: all TTS must have the same" in told


def test_providers_without_options_are_not_made_for_a_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert preflight.parts_to_make(providers(monkeypatch), PIPELINE) == []


def test_the_check_names_what_a_plugin_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PARROT_API_KEY")
    nobody = "http://127.0.0.1:9"
    monkeypatch.setenv("OPENAI_BASE_URL", nobody)
    providers(
        monkeypatch,
        TTS="parrot,cartesia",
        STT="deepgram",
        STT_OPTIONS='{"deepgram": {"smart_format": true}}',
        TURN_DETECTION="vad",
        DEEPGRAM_URL=nobody,
        CARTESIA_URL=nobody,
    )
    assert check.check() is not ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert "ok    VOICEFLEET_STT: deepgram" in lines
    failed = lines.index(
        "FAIL  VOICEFLEET_TTS: livekit.plugins.parrot.TTS cannot be made: Parrot API key is"
        " required, either as argument or set PARROT_API_KEY"
    )
    assert lines[failed + 1] == "      fix: set PARROT_API_KEY, or choose another than parrot"


def test_the_check_says_whom_it_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = providers(monkeypatch, TTS="parrot:kea,deepgram")
    assert preflight.make(chosen, "tts") == "parrot:kea,deepgram; not asked: parrot"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "is_imported"),
    [("build_session", True), ("build_listening_session", False), ("__version__", False)],
)
def test_a_chosen_plugin_is_imported_before_the_fork_where_a_session_is_built_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, builder: str, is_imported: bool
) -> None:
    """In a call its import would stop the audio, and on a thread LiveKit refuses it."""
    (tmp_path / "mine.py").write_text(f"from voicefleet import {builder}\n")
    monkeypatch.setenv("VOICEFLEET_AGENT", "mine.py")
    monkeypatch.setenv("VOICEFLEET_TTS", "parrot")
    code = (
        "import sys, voicefleet.job.preload\n"
        f"print({NAME!r} in sys.modules, 'livekit.plugins.deepgram' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=settings_module.environment() | {"PYTHONPATH": str(tmp_path / "site")},
    )
    assert done.stdout.split()[0] == str(is_imported)
