"""The pod's own CPU and memory, from trees of files as the kernel writes them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from voicefleet.pod import cgroup
from voicefleet.pod.cgroup import V1, V2, Limits, ProcessTree, Reading

V2_FILES = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "cgroup.type": "domain\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_throttled 0\n",
    "cpu.max": "150000 100000\n",
    "cpu.pressure": "some avg10=12.50 avg60=1.00 avg300=0.10 total=77\nfull avg10=0.00 total=0\n",
    "memory.current": "1000000\n",
    "memory.max": "4194304\n",
    "memory.stat": "anon 600000\nfile 400000\ninactive_file 250000\nactive_file 150000\n",
}
V1_FILES = {
    "cpuacct/cpuacct.usage": "2500000000\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "memory/memory.usage_in_bytes": "1000000\n",
    "memory/memory.limit_in_bytes": "4194304\n",
    "memory/memory.stat": "cache 1\ninactive_file 1\ntotal_inactive_file 250000\n",
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def membership(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "membership"
    path.write_text(text)
    return path


def test_v2_reads_cpu_working_set_pressure_and_limits(tmp_path: Path) -> None:
    source = cgroup.find(written(tmp_path, V2_FILES), membership(tmp_path, "0::/\n"))
    assert source.reading() == Reading(2.5, 750000, 0.125)
    assert source.limits() == Limits(1.5, 4194304)


def test_v1_reads_cpu_working_set_and_limits(tmp_path: Path) -> None:
    lines = "4:memory:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n"
    source = cgroup.find(written(tmp_path, V1_FILES), membership(tmp_path, lines))
    assert source.reading() == Reading(2.5, 750000)
    assert source.limits() == Limits(1.5, 4194304)


@pytest.mark.parametrize("path", ["/pods/mine", "/pods/mine/"])
def test_v2_without_a_namespace_reads_the_cgroup_that_proc_names(tmp_path: Path, path: str) -> None:
    written(tmp_path, {"cgroup.controllers": "cpu\n", "cpu.stat": "usage_usec 9000000\n"})
    written(tmp_path / "pods/mine", V2_FILES)
    source = cgroup.find(tmp_path, membership(tmp_path, f"0::{path}\n"))
    assert source.reading().cpu_seconds == 2.5


@pytest.mark.parametrize("path", ["/kubepods/not/seen/in/here", "/../../other"])
def test_a_path_that_means_nothing_in_the_container_is_the_mount(tmp_path: Path, path: str) -> None:
    lines = f"3:memory:{path}\n2:cpu,cpuacct:{path}\n0::{path}\n"
    source = cgroup.find(written(tmp_path, V1_FILES), membership(tmp_path, lines))
    assert source == V1(tmp_path / "cpu", tmp_path / "cpuacct", tmp_path / "memory")
    source = cgroup.find(written(tmp_path, V2_FILES), membership(tmp_path, lines))
    assert source == V2(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cgroup.controllers": "cpu\n", "cpu.stat": "usage_usec 9\n"},
        V1_FILES | {"cpuacct/release_agent": "\n"},
    ],
    ids=["none", "topmost of v2", "topmost of v1"],
)
def test_the_nodes_counters_are_never_taken_for_the_pods(
    tmp_path: Path, files: dict[str, str]
) -> None:
    source = cgroup.find(written(tmp_path, files), tmp_path / "not there")
    assert isinstance(source, ProcessTree)
    reading = source.reading()
    assert reading.cpu_seconds is not None
    assert reading.cpu_seconds > 0
    assert reading.memory_bytes is not None
    assert reading.memory_bytes > 1_000_000
    assert source.limits() == Limits(None, None)


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, Limits(None, None)),
        ({"cpu.max": "0 100000\n", "memory.max": "-1\n"}, Limits(None, None)),
        ({"cpu.max": "50000 0\n", "memory.max": "1e6\n"}, Limits(None, None)),
        ({"cpu.max": "50000 100000\n", "memory.max": "9223372036854771712\n"}, Limits(0.5, None)),
    ],
)
def test_v2_without_limits_or_with_senseless_ones(
    tmp_path: Path, files: dict[str, str], limits: Limits
) -> None:
    assert V2(written(tmp_path, files)).limits() == limits


def test_v1_without_limits(tmp_path: Path) -> None:
    none = {
        "cpu/cpu.cfs_quota_us": "-1\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    written(tmp_path, V1_FILES | none)
    source = V1(tmp_path / "cpu", tmp_path / "cpuacct", tmp_path / "memory")
    assert source.limits() == Limits(None, None)


def test_cache_larger_than_what_is_held_is_a_working_set_of_nothing(tmp_path: Path) -> None:
    assert V2(written(tmp_path, V2_FILES | {"memory.current": "9\n"})).reading().memory_bytes == 0


def test_a_torn_number_is_none_not_a_smaller_number(tmp_path: Path) -> None:
    source = V2(written(tmp_path, V2_FILES | {"cpu.stat": "usage_usec 25", "memory.current": "10"}))
    assert source.reading() == Reading(None, None, 0.125)


def test_a_file_that_is_gone_is_none_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = V2(written(tmp_path, V2_FILES))
    (tmp_path / "cpu.stat").unlink()
    (tmp_path / "cpu.pressure").unlink()
    for _ in range(5):
        assert source.reading() == Reading(None, 750000, None)
    assert [record.getMessage() for record in caplog.records] == ["kernel file not read"]


def _cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


def _swap(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return text[:place] + chance.choice("-9.é \n\0٣m") + text[place + 1 :]


def _noise(text: str, chance: random.Random) -> str:
    return "".join(chr(chance.randrange(1, 0x3000)) for _ in text)


@pytest.mark.parametrize("harm", [_cut, _swap, _noise])
def test_no_content_of_any_file_makes_sampling_raise(
    tmp_path: Path, harm: Callable[[str, random.Random], str]
) -> None:
    chance = random.Random(harm.__name__)
    v1 = V1(tmp_path / "cpu", tmp_path / "cpuacct", tmp_path / "memory")
    files = V2_FILES | V1_FILES
    for _ in range(150):
        written(tmp_path, {name: harm(text, chance) for name, text in files.items()})
        for source in (V2(tmp_path), v1):
            reading, limits = source.reading(), source.limits()
            values = [reading.cpu_seconds, reading.memory_bytes, limits.memory_bytes]
            assert all(value is None or value >= 0 for value in values)
            assert limits.cpu_quota is None or limits.cpu_quota > 0
            assert 0 <= (reading.cpu_pressure_ratio or 0) <= 1
        cgroup.find(tmp_path, membership(tmp_path, harm("4:memory:/a\n0::/b\n", chance)))


def test_a_directory_in_place_of_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "memory.max").mkdir()
    assert V2(tmp_path).limits() == Limits(None, None)


def test_the_share_is_the_request_then_the_quota_then_the_cores() -> None:
    assert cgroup.share_of(Limits(3.0, None), 2.0, 64).cpu_cores == 2.0
    assert cgroup.share_of(Limits(3.0, None), None, 64).cpu_cores == 3.0
    assert cgroup.share_of(Limits(None, None), 0.0, 64).cpu_cores == 64
    assert cgroup.share_of(Limits(8.0, None), None, 4).cpu_wall == 4


def test_the_machine_that_runs_this_can_be_read() -> None:
    reading = cgroup.find().reading()
    assert reading.cpu_seconds is not None
    assert cgroup.usable_cores() >= 1
