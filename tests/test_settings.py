"""Settings: read from the environment and .env, checked as a whole, every violation at once."""

import pickle
from pathlib import Path

import pytest

from voicefleet import errors, settings
from voicefleet.settings.providers import Model, Providers

pytestmark = pytest.mark.usefixtures("clean_environment")


def violations_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.SettingsError) as raised:
        settings.load()
    return [problem for problem, _ in raised.value.violations]


def test_defaults_need_no_environment_at_all() -> None:
    assert settings.load().pod.load_threshold == 0.7


def test_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("VOICEFLEET_SLOTS=3\nVOICEFLEET_AGENT=interview\n")
    monkeypatch.setenv("VOICEFLEET_SLOTS", "9")
    loaded = settings.load()
    assert (loaded.pod.slots, loaded.agent.file) == (9, "interview")


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "")
    assert settings.load().livekit.url is None


def test_every_violation_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = violations_of(
        monkeypatch,
        VOICEFLEET_SLOTS="0",
        VOICEFLEET_STT="whisper",
        VOICEFLEET_LOAD_THRESHOLD="0.9",
        VOICEFLEET_SLOT="4",
        LIVEKIT_URL="livekit.example",
    )
    named = ("VOICEFLEET_SLOTS", "VOICEFLEET_STT", "VOICEFLEET_SLOT", "LIVEKIT_URL")
    assert all(any(name in problem for problem in found) for name in named)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VOICEFLEET_LOAD_THRESHOLD": "0.8"}, "LiveKit's own limit"),
        ({"VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": "100MiB"}, "without a warning"),
        (
            {"VOICEFLEET_STT": "deepgram,openai", "VOICEFLEET_TURN_DETECTION": "stt"},
            "when a turn ends",
        ),
        ({"LIVEKIT_URL": "ftp://host"}, "no address of LiveKit"),
        ({"VOICEFLEET_GRACE_PERIOD_SECONDS": "600"}, "a stop takes up to 4125 s"),
        (
            {
                "VOICEFLEET_SLOTS": "4",
                "VOICEFLEET_CALL_MEMORY_LIMIT_BYTES": "600MiB",
                "VOICEFLEET_MEMORY_LIMIT_BYTES": str(2 * 1024**3),
            },
            "more than the pod's memory",
        ),
        ({"VOICEFLEET_REPORT_URL": "reports.example/calls"}, "no address to post to"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    (problem,) = violations_of(monkeypatch, **environment)
    assert words in problem


def test_a_grace_period_that_holds_the_longest_stop_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOICEFLEET_GRACE_PERIOD_SECONDS", "4125")
    assert settings.load().pod.longest_stop_seconds == 4125


@pytest.mark.parametrize(
    ("file", "told", "is_preloaded"),
    [
        ("assistant", "", True),
        ("assistant", "false", False),
        ("agent.py", "", False),
        ("/app/agent.py", "", False),
        ("my.agent", "", False),
        ("my.agent", "true", True),
    ],
)
def test_only_an_agent_file_known_to_survive_a_fork_is_imported_before_it(
    monkeypatch: pytest.MonkeyPatch, file: str, told: str, is_preloaded: bool
) -> None:
    monkeypatch.setenv("VOICEFLEET_AGENT", file)
    monkeypatch.setenv("VOICEFLEET_PRELOAD_AGENT", told)
    assert settings.load().agent.is_preloaded is is_preloaded


def test_the_cpu_request_is_told_in_millicores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEFLEET_CPU_REQUEST_MILLICORES", "1500")
    assert settings.load().pod.cpu_request_cores == 1.5


def test_a_misspelt_name_in_the_environment_is_told_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where none is meant, none: with the prefix, any two names are alike."""
    monkeypatch.setenv("VOICEFLEET_SLOT", "4")
    monkeypatch.setenv("VOICEFLEET_FOO", "4")
    with pytest.raises(errors.SettingsError) as raised:
        settings.load()
    assert raised.value.violations == [
        (
            "VOICEFLEET_FOO in the environment is not a setting",
            "remove it; `voicefleet settings` lists all names",
        ),
        (
            "VOICEFLEET_SLOT in the environment is not a setting",
            "did you mean VOICEFLEET_SLOTS? `voicefleet settings` lists all names",
        ),
    ]


def test_a_misspelt_name_in_the_env_file_stops_the_start_too(tmp_path: Path) -> None:
    """Only the environment was looked at: VOICEFLEET_SLOT=4 in .env was ignored in silence."""
    (tmp_path / ".env").write_text("VOICEFLEET_SLOT=4\nexport voicefleet_sttt=openai\n")
    with pytest.raises(errors.SettingsError) as raised:
        settings.load()
    assert [problem for problem, _ in raised.value.violations] == [
        "VOICEFLEET_SLOT in .env is not a setting",
        "voicefleet_sttt in .env is not a setting",
    ]


def test_only_the_env_file_that_is_read_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VOICEFLEET_SLOT=4\n")
    (tmp_path / "mine.env").write_text("VOICEFLEET_SLOTS=4\n")
    assert settings.load(tmp_path / "mine.env").pod.slots == 4
    assert settings.load(None).pod.slots is None


@pytest.mark.parametrize(
    "name", ["WORKER_CONCURRENCY", "WORKER_SLOTS", "VOICE_FLEET_SLOT", "LIVEKIT_URLS", "MY_SETTING"]
)
def test_the_name_of_another_tool_never_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "4")
    (tmp_path / ".env").write_text(f"{name}=4\n")
    assert settings.load()


SERVICE_LINKS = {
    "VOICEFLEET_SERVICE_HOST": "10.0.0.1",
    "VOICEFLEET_SERVICE_PORT": "8081",
    "VOICEFLEET_SERVICE_PORT_HTTP": "8081",
    "VOICEFLEET_SERVICE_PORT_HTTP_METRICS": "8081",
    "VOICEFLEET_PORT": "tcp://10.0.0.1:8081",
    "VOICEFLEET_PORT_8081_TCP": "tcp://10.0.0.1:8081",
    "VOICEFLEET_PORT_8081_TCP_PROTO": "tcp",
    "VOICEFLEET_PORT_8081_TCP_PORT": "8081",
    "VOICEFLEET_PORT_8081_TCP_ADDR": "10.0.0.1",
    "VOICEFLEET_METRICS_SERVICE_HOST": "fd00::1",
    "VOICEFLEET_METRICS_SERVICE_PORT": "80",
    "VOICEFLEET_METRICS_PORT": "tcp://[fd00::1]:80",
    "VOICEFLEET_METRICS_PORT_80_TCP": "tcp://[fd00::1]:80",
    "VOICEFLEET_METRICS_PORT_80_TCP_ADDR": "fd00::1",
    "VOICEFLEET_MEDIA_PORT_5004_UDP_PROTO": "udp",
    "VOICEFLEET_MEDIA_PORT": "udp://10.0.0.2:5004",
    # The Service voicefleet-http: the name of one of our settings.
    "VOICEFLEET_HTTP_PORT": "tcp://10.0.0.3:8081",
    "VOICEFLEET_HTTP_SERVICE_HOST": "10.0.0.3",
}


def test_what_kubernetes_adds_for_a_service_never_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    assert settings.load().pod.http_port == 8081


def test_a_misspelt_port_is_not_taken_for_what_kubernetes_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (problem,) = violations_of(monkeypatch, VOICEFLEET_HTP_PORT="8082")
    assert problem.startswith("VOICEFLEET_HTP_PORT ")


def test_a_violation_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    found = violations_of(monkeypatch, VOICEFLEET_SLOTS="many")
    assert "sk-very-secret" not in str(found)
    assert "sk-very-secret" not in repr(Providers())


def test_what_a_verb_requires_is_named_at_once() -> None:
    with pytest.raises(errors.SettingsError) as raised:
        settings.load().require("LIVEKIT_URL", "OPENAI_API_KEY")
    assert [problem for problem, _ in raised.value.violations] == [
        "LIVEKIT_URL is not set",
        "OPENAI_API_KEY is not set",
    ]


def test_a_chain_names_provider_model_and_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEFLEET_TTS", "cartesia/sonic-3:katie, openai")
    chain = settings.load().providers.tts
    assert chain == (Model("cartesia", "sonic-3", "katie"), Model("openai"))
    assert [str(link) for link in chain] == ["cartesia/sonic-3:katie", "openai"]


def test_a_model_of_an_llm_may_have_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What followed it was taken for a voice, and dropped."""
    monkeypatch.setenv("VOICEFLEET_LLM", "openai/llama3:8b")
    assert settings.load().providers.llm == (Model("openai", "llama3:8b"),)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ("deepgrm", "is called 'deepgrm'; did you mean deepgram?"),
        ("elevenlab", "is called 'elevenlab'; did you mean elevenlabs?"),
        ("deepgram,elevenlabs", "elevenlabs is not installed: install livekit-plugins-elev"),
        ("whisper", "is called 'whisper'; built in: deepgram, openai; any other must be an inst"),
        ("../deepgram", "is called '..'; built in"),
        (",", "expected one or more of deepgram, openai or LiveKit's plugins"),
    ],
)
def test_a_provider_that_is_neither_built_in_nor_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, chain: str, words: str
) -> None:
    """Only the built-in ones were taken, and the error named no other."""
    (problem,) = violations_of(monkeypatch, VOICEFLEET_STT=chain)
    assert words in problem


def test_any_installed_plugin_is_a_provider_and_is_not_imported_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "livekit" / "plugins" / "starling"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VOICEFLEET_TTS", "starling.inner/song:male,openai")
    chain = settings.load().providers.tts
    assert chain == (Model("starling.inner", "song", "male"), Model("openai"))


@pytest.mark.parametrize("text", ["voice=polly", "[]", '{"openai": "ash"}', '{"openai": {"a": 1}'])
def test_options_are_a_json_object_by_provider(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (problem,) = violations_of(monkeypatch, VOICEFLEET_TTS_OPTIONS=text)
    assert "VOICEFLEET_TTS_OPTIONS: expected a JSON object by provider" in problem
    assert text not in problem


def test_options_of_a_provider_that_does_not_exist_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of one that the chain leaves out may stay: a chain is changed in an outage."""
    options = '{"opnai": {"speed": 2}, "openai": {"speed": 2}, "deepgram": {}}'
    (problem,) = violations_of(monkeypatch, VOICEFLEET_TTS_OPTIONS=options)
    assert problem == (
        "VOICEFLEET_TTS_OPTIONS has options for 'opnai': no provider or installed plugin is called"
        " 'opnai'; did you mean openai?"
    )


def test_a_key_among_options_is_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    options = '{"openai": {"api_key": "sk-very-secret", "keyterms": ["key"], "speed": 2}}'
    monkeypatch.setenv("VOICEFLEET_TTS_OPTIONS", options)
    loaded = settings.load()
    shown = '{"openai": {"api_key": "(hidden)", "keyterms": ["key"], "speed": 2}}'
    assert str(loaded.providers.tts_options) == shown
    assert "sk-very-secret" not in repr(loaded)
    assert "sk-very-secret" in loaded.secrets()
    assert "key" not in loaded.secrets()
    assert loaded.providers.tts_options.of("openai")["api_key"] == "sk-very-secret"


@pytest.mark.parametrize("name", ["VOICEFLEET_DRAIN_TOKEN", "VOICEFLEET_REPORT_TOKEN"])
def test_a_job_is_not_told_a_secret_that_no_call_needs(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "hunter2")
    loaded = settings.load()
    assert b"hunter2" in pickle.dumps(loaded)
    assert b"hunter2" not in pickle.dumps(settings.for_jobs(loaded))
    assert name not in settings.environment()


def test_settings_travel_to_a_job_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret")
    loaded = settings.load()
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_an_env_local_wins_over_the_env_file_and_not_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LiveKit's starter projects have their keys in `.env.local`."""
    (tmp_path / ".env").write_text("VOICEFLEET_SLOTS=3\nVOICEFLEET_AGENT=interview\n")
    (tmp_path / ".env.local").write_text("VOICEFLEET_SLOTS=4\nOPENAI_API_KEY=local\n")
    assert (settings.load().pod.slots, settings.load().agent.file) == (4, "interview")
    monkeypatch.setenv("VOICEFLEET_SLOTS", "5")
    assert settings.load().pod.slots == 5
    (tmp_path / ".env.local").write_text("VOICEFLEET_SLOT=4\n")
    with pytest.raises(errors.SettingsError, match=r"VOICEFLEET_SLOT in .env.local is not"):
        settings.load()


def test_what_was_missing_is_completed_by_what_the_agent_file_has_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "ws://before")
    before = settings.for_development(settings.load())
    monkeypatch.setenv("LIVEKIT_URL", "ws://after")
    monkeypatch.setenv("LIVEKIT_API_KEY", "found")
    completed = settings.completed(before)
    assert (completed.livekit.url, completed.livekit.api_key) == ("ws://before", "found")
    assert (completed.pod.http_port, completed.pod.slots) == (0, 4)
