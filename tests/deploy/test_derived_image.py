"""An image of one's own on top of ours: what the agent needs is added, what we locked stays as it
is, and a conflict stops the build in words. With Docker, the example that ships is built.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from deploy.generate import golden
from tests.deploy import container as engine

FOLDER = golden.ROOT / "deploy" / "image"
EXAMPLE = FOLDER / "example-agent"
DERIVED = (FOLDER / "derived.Dockerfile").read_text()
BASE = (golden.ROOT / "Dockerfile").read_text()
IMAGE = "voicefleet-receptionist:tested"
SAID_AT_NOON_ON_A_TUESDAY = "We are open for another 6 hours."

PROGRAM = """
import json, sys
from datetime import datetime
from voicefleet.job import agent_file
agent = agent_file.load("receptionist.agent")
hours = sys.modules["receptionist.hours"]
print(json.dumps({
    "name": agent.agent_name,
    "says": hours.describe(datetime(2026, 12, 1, 12)),
    "humanize": hours.humanize.__file__,
    "from": agent.source,
}))
"""
INSTALLED = """
import json, sys, sysconfig
from importlib.metadata import distributions
ours = distributions(path=[sysconfig.get_path("purelib")])
print(json.dumps(sorted((d.name, d.version, str(d.read_text("RECORD"))) for d in ours)))
"""


def instructions(text: str, instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} ((?:.*\\\n)*.*)$", text, re.M)


# ---- what can be seen of the Dockerfile


def test_the_last_stage_is_the_base_and_a_folder_copied_into_it() -> None:
    last = DERIVED.rpartition("\nFROM ")[2]
    assert last.startswith("${BASE}\n")
    assert re.findall(r"^([A-Z]+) ", last, re.M) == ["COPY", "ENV"]
    assert "COPY --from=packages /opt/agent /opt/agent" in last


def test_it_is_resolved_against_the_list_of_packages_that_the_base_writes() -> None:
    (path,) = re.findall(r"--constraint (\S+)", DERIVED)
    assert f"--format freeze >{path}" in BASE.partition("AS worker")[2].partition("\nFROM")[0]


def test_the_base_looks_for_the_folder_after_its_own_packages_and_has_it_empty() -> None:
    """So a base without more needs no option, and nothing of an agent's can hide what we locked."""
    assert "sed 's,/voicefleet/,/agent/,' >agent.pth" in BASE
    assert "mkdir /app /opt/agent" in BASE
    assert "PYTHONPATH" not in DERIVED


def test_it_installs_with_the_installer_of_the_base() -> None:
    (ours,) = re.findall(r"UV_VERSION=(\S+)", BASE)
    assert f"uv=={ours}\n" in DERIVED


def test_its_agent_is_the_one_of_the_example() -> None:
    name = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["name"]
    assert instructions(DERIVED, "ENV")[-1] == f"VOICEFLEET_AGENT={name}.agent"


def test_the_document_shows_the_dockerfile_as_it_is() -> None:
    document = (golden.ROOT / "docs" / "your-own-image.md").read_text()
    (shown,) = re.findall(r"^```dockerfile\n(.*?)^```", document, re.M | re.S)
    assert DERIVED.endswith(f"\n{shown}")


# ---- its installing step, here: no network, and packages made for the test


class Build:
    """The folder of an agent, the packages that can be had, and the step that installs them."""

    def __init__(self, root: Path) -> None:
        self.agent, self.packages, self.installed = (root / n for n in ("agent", "shop", "opt"))
        self.agent.mkdir()
        self.packages.mkdir()
        self.root = root
        listed = self._run([*self._uv(), "pip", "list", "--format", "freeze"])
        assert listed.returncode == 0, listed.stderr
        self.constraints = root / "constraints.txt"
        self.constraints.write_text(listed.stdout)

    def offers(self, name: str, number: str, code: str = "", needs: str = "") -> None:
        """A package that can be installed, in place of the one that a registry has."""
        module = name.replace("-", "_")
        told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
        with zipfile.ZipFile(self.packages / f"{module}-{number}-py3-none-any.whl", "w") as wheel:
            about = f"{module}-{number}.dist-info"
            wheel.writestr(f"{module}/__init__.py", code)
            wheel.writestr(
                f"{about}/METADATA", told + (f"Requires-Dist: {needs}\n" if needs else "")
            )
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", f"{module}/__init__.py,,\n{about}/METADATA,,\n")

    def run(self) -> subprocess.CompletedProcess[str]:
        here = {
            "/opt/voicefleet/constraints.txt": str(self.constraints),
            "/opt/agent": str(self.installed),
            "/tmp/": f"{self.root}/",
        }
        written = instructions(DERIVED, "RUN")[-1]
        command = re.sub("|".join(here), lambda found: here[found[0]], written)
        return self._run(["sh", "-ec", command])

    def site(self) -> Path:
        (found,) = self.installed.glob("lib/python3*/site-packages")
        return found

    def _uv(self) -> list[str]:
        program = Path(sys.executable).with_name("uv")
        assert program.exists(), f"there is no {program}; `make` installs it"
        return [str(program)]

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        offline = self.root / "uv.toml"
        offline.write_text(f'[pip]\nno-index = true\nfind-links = ["{self.packages}"]\n')
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "UV_PYTHON": sys.prefix,
            "UV_CONFIG_FILE": str(offline),
            "UV_NO_CACHE": "1",
            "UV_NO_BUILD_ISOLATION": "1",
        }
        return subprocess.run(
            command, cwd=self.agent, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


@pytest.mark.slow
def test_the_example_is_installed_with_what_the_base_lacks_and_nothing_that_it_has(
    build: Build,
) -> None:
    shutil.copytree(EXAMPLE, build.agent, dirs_exist_ok=True)
    for name in ("agents", "plugins-openai", "plugins-deepgram", "plugins-cartesia"):
        build.offers(f"livekit-{name}", version(f"livekit-{name}"))
    build.offers("humanize", "4.17.0", code="def naturaldelta(_): return '6 hours'\n")
    done = build.run()
    assert done.returncode == 0, done.stderr
    about = {path.name for path in build.site().glob("*.dist-info")}
    assert about == {"humanize-4.17.0.dist-info", "receptionist-1.dist-info"}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(build.site())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["name"], found["says"]) == ("receptionist", SAID_AT_NOON_ON_A_TUESDAY)


def test_a_requirement_that_conflicts_with_a_package_of_ours_stops_the_build_and_names_both(
    build: Build,
) -> None:
    (build.agent / "requirements.txt").write_text("aiohttp<3.9\n")
    build.offers("aiohttp", "3.8.6")
    done = build.run()
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert f"aiohttp=={version('aiohttp')}" in words
    assert "aiohttp<3.9" in words


def test_so_does_a_package_that_needs_another_version_and_it_is_named_too(build: Build) -> None:
    (build.agent / "requirements.txt").write_text("old-client\n")
    build.offers("old-client", "1.0", needs="aiohttp<3.9")
    build.offers("aiohttp", "3.8.6")
    build.offers("aiohttp", version("aiohttp"))
    done = build.run()
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert re.search(rf"old-client depends? on aiohttp<3.9.* aiohttp=={version('aiohttp')}", words)
    assert not build.installed.exists()


def test_a_file_of_requirements_that_the_base_fulfils_is_not_an_error(build: Build) -> None:
    (build.agent / "requirements.txt").write_text("aiohttp>=3\n")
    build.offers("aiohttp", version("aiohttp"))
    done = build.run()
    assert done.returncode == 0, done.stderr
    assert not list(build.installed.glob("lib/python3*/site-packages/aiohttp*"))


# ---- built with Docker


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    engine.require_image()
    engine.docker(
        *("build", "--network", "host", "--tag", IMAGE),
        *("--build-arg", f"BASE={engine.IMAGE}"),
        *("--file", str(FOLDER / "derived.Dockerfile"), str(EXAMPLE)),
    )
    yield IMAGE
    engine.docker("rmi", IMAGE)


def python(image: str, code: str) -> str:
    hardened = ("run", "--rm", *engine.HARDENED, "--entrypoint", "python")
    return engine.docker(*hardened, image, "-c", code)


def inspected(image: str, part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.docker("inspect", image))[0][part]
    return found


@pytest.mark.docker
@pytest.mark.timeout(900)
def test_the_image_hosts_the_agent_with_its_own_package_and_its_data_file(image: str) -> None:
    found = json.loads(python(image, PROGRAM))
    assert (found["name"], found["says"]) == ("receptionist", SAID_AT_NOON_ON_A_TUESDAY)
    assert found["humanize"].startswith("/opt/agent/")
    assert found["from"].startswith("/opt/agent/")


@pytest.mark.docker
def test_the_image_is_the_bases_layers_and_one_more_with_the_bases_packages_untouched(
    image: str,
) -> None:
    below, above = (inspected(each, "RootFS")["Layers"] for each in (engine.IMAGE, image))
    assert above[: len(below)] == below
    assert len(above) == len(below) + 1
    assert python(image, INSTALLED) == python(engine.IMAGE, INSTALLED)


@pytest.mark.docker
def test_the_image_still_runs_as_our_user_without_an_installer(image: str) -> None:
    base, derived = (inspected(each, "Config") for each in (engine.IMAGE, image))
    for key in ("User", "Entrypoint", "Cmd", "WorkingDir"):
        assert derived[key] == base[key]
    found = python(
        image,
        "import importlib.util as u, os, shutil\n"
        "print(os.getuid(), shutil.which('pip'), shutil.which('uv'), u.find_spec('pip'),"
        " u.find_spec('uv'), os.access('/opt/agent', os.W_OK))",
    )
    assert found == "65532 None None None None False"
