import asyncio
import os
import stat
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.lab import livekit_server, processes

NOTHING = "/nowhere"

# Stands in for `go install`: says what Go says, then leaves a program named `server` in GOBIN.
FAKE_GO = """#!/bin/sh
echo "go: downloading github.com/livekit/protocol v1.50.5" >&2
echo "github.com/livekit/protocol/livekit" >&2
/bin/sleep 0.3
printf '#!/bin/sh\\n' > "$GOBIN/server" && /bin/chmod +x "$GOBIN/server"
"""
FAILING_GO = """#!/bin/sh
echo "go: module lookup disabled" >&2
exit 1
"""


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_named_binary_comes_first_then_path_then_what_was_built(tmp_path: Path) -> None:
    named = program(tmp_path / "named")
    on_path = program(tmp_path / "bin" / "livekit-server")
    built = program(tmp_path / "cache" / livekit_server.BUILT)
    path, cache = str(on_path.parent), built.parent

    assert livekit_server.find(binary=named, cache=cache, search_path=path) == named
    assert livekit_server.find(binary=None, cache=cache, search_path=path) == on_path
    assert livekit_server.find(binary=None, cache=cache, search_path=NOTHING) == built
    assert livekit_server.find(binary=None, cache=tmp_path, search_path=NOTHING) is None


def test_a_named_binary_that_is_no_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ToolError, match="is not a program"):
        livekit_server.find(binary=tmp_path / "missing", cache=tmp_path, search_path=NOTHING)


async def test_it_is_built_once_and_tells_how_far_it_is(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", FAKE_GO)
    told: list[str] = []
    for _ in range(2):
        binary = await livekit_server.obtain(
            cache=tmp_path / "cache",
            search_path=f"{tmp_path}/bin",
            progress=told.append,
            progress_every_seconds=0.05,
        )
        assert binary == tmp_path / "cache" / livekit_server.BUILT
    assert any("1 modules fetched, 1 packages compiled" in line for line in told)
    assert sum("about four minutes" in line for line in told) == 1
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [livekit_server.BUILT]


async def test_two_who_want_it_at_once_build_it_once(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", FAKE_GO)
    told: list[str] = []
    wanting = (
        livekit_server.obtain(
            cache=tmp_path / "cache", search_path=f"{tmp_path}/bin", progress=told.append
        )
        for _ in range(2)
    )
    assert len({*await asyncio.gather(*wanting)}) == 1
    assert sum("about four minutes" in line for line in told) == 1
    assert sum("somebody else builds" in line for line in told) == 1


async def test_a_build_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", "#!/bin/sh\nexec /bin/sleep 60\n")
    cache = tmp_path / "cache"
    build = asyncio.create_task(
        livekit_server.obtain(cache=cache, search_path=f"{tmp_path}/bin"), name="build"
    )
    await wait_until(
        lambda: cache.is_dir() and any(cache.iterdir()), because="the build has a folder"
    )
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("says", "version"),
    [("livekit-server version 1.13.11", "1.13.11"), ("", "unknown"), ("no number", "unknown")],
)
async def test_it_is_said_which_livekit_server_runs(
    tmp_path: Path, says: str, version: str
) -> None:
    """The stack said the version that the lab builds, whichever ran."""
    program = tmp_path / "livekit-server"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    assert await livekit_server.version_of(program) == version


async def test_a_container_engine_serves_where_go_cannot(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", FAILING_GO)
    docker = program(tmp_path / "bin" / "docker")
    binary = await livekit_server.obtain(cache=tmp_path, search_path=f"{tmp_path}/bin")
    assert f"exec {docker} run --rm --network host" in binary.read_text()
    assert binary.stat().st_mode & stat.S_IXUSR


async def test_without_any_way_the_error_names_all_of_them(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", FAILING_GO)
    program(tmp_path / "bin" / "docker", "#!/bin/sh\nexit 1\n")
    with pytest.raises(errors.ToolError) as caught:
        await livekit_server.obtain(cache=tmp_path, search_path=f"{tmp_path}/bin")
    assert "module lookup disabled" in caught.value.problem
    assert "docker does not answer" in caught.value.problem
    for way in ("LIVEKIT_SERVER_BIN", "PATH", "Go", "Docker", "Podman"):
        assert way in caught.value.fix


async def test_a_server_that_dies_at_its_start_is_an_error_with_its_last_words(
    tmp_path: Path,
) -> None:
    dying = program(tmp_path / "dying", "#!/bin/sh\necho 'address already in use'\nexit 1\n")
    with pytest.raises(errors.ToolError, match="address already in use"):
        async with livekit_server.run(dying):
            pass
    with pytest.raises(errors.ToolError, match="address already in use"):
        await livekit_server.start(dying, tmp_path / "of its own")


@pytest.mark.server
async def test_two_servers_run_at_once_on_loopback_only_and_end_with_their_blocks(
    livekit_server_binary: Path,
) -> None:
    run = livekit_server.run
    async with run(livekit_server_binary) as one, run(livekit_server_binary) as two:
        assert one.url != two.url
        for server in (one, two):
            listening = psutil.Process(server.process.pid).net_connections("inet")
            assert len(listening) >= 2
            assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
            assert len(server.api_secret) >= 32
    assert not psutil.pid_exists(one.process.pid)
    assert not psutil.pid_exists(two.process.pid)


@pytest.mark.server
async def test_a_server_of_its_own_stays_until_it_is_stopped(
    livekit_server_binary: Path, tmp_path: Path
) -> None:
    server = await livekit_server.start(livekit_server_binary, tmp_path)
    try:
        assert processes.is_alive(server.process)
        assert os.getsid(server.process.pid) != os.getsid(0)
        assert (tmp_path / "livekit-server.json").stat().st_mode & 0o077 == 0
    finally:
        await processes.stop(server.process)
    assert not processes.is_alive(server.process)
    await processes.stop(server.process)


@pytest.mark.server
async def test_a_server_that_was_killed_starts_again_with_its_ports_and_its_key(
    livekit_server_binary: Path, tmp_path: Path
) -> None:
    first = await livekit_server.start(livekit_server_binary, tmp_path)
    await processes.kill(first.process)
    assert not processes.is_alive(first.process)
    again = await livekit_server.start_again(livekit_server_binary, first)
    try:
        assert (again.url, again.api_secret) == (first.url, first.api_secret)
        assert again.process.pid != first.process.pid
    finally:
        await processes.kill(again.process)
