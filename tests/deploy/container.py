"""The image as Docker runs it: as hardened as the chart's pod, on this machine's network."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

IMAGE = os.environ.get("TESTED_IMAGE", "voicefleet:0.1.0")
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--user", "65532:65532", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--network", "host"),
)


@dataclass(frozen=True, slots=True)
class Container:
    """A started worker; `began` is of the monotonic clock."""

    id: str
    address: str
    began: float

    def is_ready(self) -> bool:
        address = f"{self.address}/readyz"
        with suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def log(self) -> str:
        done = _run("logs", self.id)
        return done.stdout + done.stderr


def require_image() -> None:
    if shutil.which("docker") is None or _run("version").returncode != 0:
        pytest.skip("no Docker answers; start one, or name it in DOCKER_HOST")
    if _run("image", "inspect", IMAGE).returncode != 0:
        pytest.skip(f"there is no image {IMAGE}; docker build -t {IMAGE} .")


def docker(*arguments: str) -> str:
    done = _run(*arguments)
    assert done.returncode == 0, f"docker {arguments[0]}: {done.stderr}"
    return done.stdout.strip()


def start(settings: Mapping[str, str], port: int) -> Container:
    began = time.monotonic()
    environment = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
    identity = docker("run", "--detach", *HARDENED, *environment, IMAGE)
    return Container(identity, f"http://127.0.0.1:{port}", began)


def python(code: str) -> Any:
    """What a program prints, as JSON, in the image."""
    return json.loads(docker("run", "--rm", *HARDENED, "--entrypoint", "python", IMAGE, "-c", code))


def exit_code(container: Container) -> int:
    return int(docker("inspect", "--format", "{{.State.ExitCode}}", container.id))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
