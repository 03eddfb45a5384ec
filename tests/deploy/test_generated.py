"""What is generated is what would be generated, and a render is always the same."""

import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.generate import __main__ as generate
from deploy.generate import golden, helm, manifests, values
from tests.deploy.rendering import Chart

EXAMPLES = sorted(golden.EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("part", ["dashboards", "ops", "schema", "readme"])
def test_what_follows_from_values_and_settings_is_current(part: str) -> None:
    assert generate.stale(part) == [], "run: make chart"


@pytest.mark.parametrize("part", ["manifests", "golden"])
def test_what_follows_from_the_chart_is_current(chart: Chart, part: str) -> None:
    assert generate.stale(part) == [], "run: make chart, and read the difference"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_two_renders_of_an_example_are_alike(chart: Chart, example: Path) -> None:
    assert golden.render(chart.binary, example) == golden.render(chart.binary, example)


def test_helm_lint_is_content(chart: Chart) -> None:
    for example in EXAMPLES:
        linted = helm.run(
            chart.binary, "lint", "--strict", str(helm.CHART), "--values", str(example)
        )
        assert linted.is_ok, linted.out + linted.err


def test_every_key_has_its_meaning_and_ends_as_a_sentence() -> None:
    keys = values.leaves(values.read(helm.CHART / "values.yaml"))
    assert len(keys) > 100
    assert [key.name for key in keys if not key.meaning.endswith((".", "…."))] == []


def test_a_key_without_a_comment_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("# Told.\na: 1\n\nb:\n  # Told.\n  c: 2\n")
    with pytest.raises(values.UndocumentedError, match="b has no comment"):
        values.read(path)


def test_kustomize_takes_the_plain_manifests(tmp_path: Path) -> None:
    """With an overlay, as deploy/README.md shows it."""
    overlay = tmp_path / "mine"
    overlay.mkdir()
    (tmp_path / "k8s").symlink_to(manifests.FOLDER)
    (overlay / "kustomization.yaml").write_text(
        "resources: [../k8s]\n"
        "images: [{name: voicefleet, newName: mine/voicefleet, newTag: v7}]\n"
        "patches:\n"
        "  - patch: |\n"
        "      {apiVersion: v1, kind: ConfigMap, metadata: {name: voicefleet},"
        " data: {LIVEKIT_URL: wss://mine}}\n"
    )
    try:
        built = subprocess.run(
            ["kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", str(overlay)],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("kubectl is not on PATH")
    assert built.returncode == 0, built.stderr
    objects = list(yaml.safe_load_all(built.stdout))
    (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
    (settings,) = [o for o in objects if o["kind"] == "ConfigMap"]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (image, settings["data"]["LIVEKIT_URL"]) == ("mine/voicefleet:v7", "wss://mine")
    assert {o["metadata"].get("namespace") for o in objects} == {"voicefleet", None}
