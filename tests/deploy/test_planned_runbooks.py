"""The runbooks for planned work: what they have one paste, Helm, kubectl and we understand."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.generate import helm
from tests.deploy.rendering import Chart, Values
from voicefleet.cli import app

FOLDER = Path(__file__).parent.parent.parent / "ops" / "runbooks" / "planned"
RUNBOOKS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
INDEX = (FOLDER / "README.md").read_text()
PARTS = ["Before you begin", "Do it", "Watch", "Stop if", "Go back"]

# What each of them needs of the cluster is the chart's; a value may need another one beside it.
KEDA: Values = {"scale": {"by": "keda", "keda": {"prometheusAddress": "http://p"}}}

each_runbook = pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)


def variables() -> dict[str, str]:
    """What the index exports, and what a person fills in."""
    exported = dict(re.findall(r"(?:export |\s)([A-Z]+)=(\S+)", INDEX))
    return {**exported, "NODE": "node-1", "POD": "pod-1", "NEW_KEY": "key", "NEW_SECRET": "secret"}


def commands(text: str) -> list[list[str]]:
    """Every command in the blocks of a document, as the shell would split it."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    found = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        for name, value in variables().items():
            line = re.sub(rf"\$({name}\b|{{{name}}})", value, line)
        assert "$" not in line, f"nobody says what this is: {line}"
        found += [shlex.split(part) for part in re.split(r"(?: && | \| )", line.removesuffix(" &"))]
    return [words for words in found if words and words[0] != "export"]


def all_commands(program: str) -> Iterator[list[str]]:
    for path in (*RUNBOOKS, FOLDER / "README.md"):
        for words in commands(path.read_text()):
            if words[0] == program:
                yield words


@each_runbook
def test_a_runbook_has_the_same_parts_in_the_same_order(path: Path) -> None:
    assert re.findall(r"^## (.+)$", path.read_text(), re.M) == PARTS


@each_runbook
def test_every_link_of_a_runbook_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        assert (FOLDER / link).exists(), link


def test_the_index_has_every_runbook() -> None:
    assert set(re.findall(r"\]\((\S+\.md)\)", INDEX)) == {path.name for path in RUNBOOKS}


@each_runbook
def test_every_command_is_of_a_program_that_is_checked_here(path: Path) -> None:
    programs = {words[0] for words in commands(path.read_text())}
    assert programs <= {"helm", "kubectl", "voicefleet", "make"}


def test_every_make_target_exists() -> None:
    makefile = (FOLDER.parent.parent.parent / "Makefile").read_text()
    for _, target in all_commands("make"):
        assert re.search(rf"^{target}:", makefile, re.M), target


def own_commands() -> list[list[str]]:
    """Those of ours: typed here, and those that kubectl runs in a pod."""
    in_pods = [words[words.index("--") + 1 :] for words in all_commands("kubectl") if "--" in words]
    found = [*all_commands("voicefleet"), *in_pods]
    return [words[1:] for words in found if words[0] == "voicefleet"]


def test_commands_of_ours_are_typed_here_and_run_in_pods() -> None:
    verbs = [verb for verb, *_ in own_commands()]
    assert verbs.count("status") >= 7
    assert verbs.count("check") >= 2


@pytest.mark.parametrize("words", own_commands(), ids=" ".join)
def test_our_own_command_line_takes_what_it_is_given(words: list[str]) -> None:
    verb, *options = words
    command = get_command(app.build(verb))
    one = command.get_command(None, verb)  # type: ignore[attr-defined]
    one.make_context(verb, list(options))


def test_helm_takes_every_verb_and_flag(chart: Chart) -> None:
    for words in all_commands("helm"):
        verb = verb_of(words, {"--namespace"})
        told = helm.run(chart.binary, verb, "--help")
        assert told.is_ok, verb
        for flag in flags(words):
            assert re.search(rf"{flag}\b", told.out), f"helm {verb} {flag}"


def test_the_chart_takes_every_value(chart: Chart) -> None:
    """Schema and contradictions both: as Helm would at the upgrade."""
    given = 0
    for words in all_commands("helm"):
        values = [words[n + 1] for n, word in enumerate(words) if word == "--set"]
        if not values:
            continue
        given += len(values)
        arguments = [text for value in values for text in ("--set", value)]
        path = chart.values_file({})
        rendered = helm.template(chart.binary, "--values", str(path), *arguments)
        assert rendered.is_ok, rendered.err
    assert given > 8


@cache
def kubectl_help(verb: str) -> str:
    told = subprocess.run(
        ["kubectl", *verb.split(), "--help"], capture_output=True, text=True, check=True
    )
    everywhere = subprocess.run(["kubectl", "options"], capture_output=True, text=True, check=True)
    return told.stdout + everywhere.stdout


@pytest.mark.slow
def test_kubectl_takes_every_verb_and_flag() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    for words in all_commands("kubectl"):
        outside = words[: words.index("--")] if "--" in words else words
        verb = verb_of(outside, {"--namespace"})
        if verb == "rollout":
            verb = f"rollout {outside[outside.index('rollout') + 1]}"
        for flag in flags(outside):
            assert re.search(rf"{flag}[=:,\s]", kubectl_help(verb)), f"kubectl {verb} {flag}"


def test_every_object_that_is_named_is_one_of_the_chart(chart: Chart) -> None:
    """Of the release `voices`, or of the canary beside it."""
    known = {"pod", "pod-1", "node-1", "service/prometheus-operated"}
    extras: tuple[Values, ...] = ({}, KEDA)
    for release in ("voices", "voices-canary"):
        for extra in extras:
            path = chart.values_file(extra)
            rendered = helm.template(chart.binary, "--values", str(path), release=release)
            known |= {
                f"{kind.lower()}/{name}"
                for kind, name in re.findall(
                    r"^kind: (\w+)\nmetadata:\n  name: (\S+)$", rendered.out, re.M
                )
            }
    known.add("secret/voicefleet-keys")
    for words in all_commands("kubectl"):
        assert named(words) <= known, words


def named(words: list[str]) -> set[str]:
    """The objects of a command: `deployment/name`, or `scaledobject name`."""
    whole = {w for w in words if re.fullmatch(r"(deployment|scaledobject|service)/\S+", w)}
    kinds = {"scaledobject", "secret", "poddisruptionbudget"}
    return whole | {f"{w}/{words[n + 1]}" for n, w in enumerate(words) if w in kinds}


def test_the_grace_period_that_is_told_is_the_charts(chart: Chart) -> None:
    rendered = helm.template(chart.binary, "--values", str(chart.values_file({})))
    (seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d{3,})", rendered.out)
    told = {n for path in RUNBOOKS for n in re.findall(r"\b(\d{4}) s\b", path.read_text())}
    assert told == {seconds}


def verb_of(words: list[str], with_a_value: set[str]) -> str:
    """The first word that is neither the program nor a flag, nor a flag's value."""
    rest = iter(words[1:])
    for word in rest:
        if word in with_a_value:
            next(rest)
        elif not word.startswith("-"):
            return word
    raise AssertionError(words)


def flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
