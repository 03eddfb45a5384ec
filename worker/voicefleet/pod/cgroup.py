"""What the pod uses and may use of CPU and memory, by its own cgroup: v2, v1, or none at all.

The files are the kernel's: https://docs.kernel.org/admin-guide/cgroup-v2.html (Interface Files) and
https://docs.kernel.org/admin-guide/cgroup-v1/index.html (cpuacct, memory). Sampling never raises: a
file that is missing or torn reads as None, and is warned of once.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from voicefleet.pod.kernel_files import (
    KernelFiles,
    keyed,
    limit_bytes,
    memberships,
    pressure_ratio,
    quota_cores,
    quota_us,
    whole,
    working_set_bytes,
)

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Reading:
    """`cpu_seconds` only ever grows. `memory_bytes` is the working set as kubelet counts it: what
    is held, less the page cache that the kernel would drop first. `cpu_pressure_ratio`: how much
    of the last 10 s some process waited for a CPU (v2 with PSI only).
    """

    cpu_seconds: float | None
    memory_bytes: int | None
    cpu_pressure_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel holds the pod to; None where it does not. `cpu_quota` is in cores."""

    cpu_quota: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """What the pod may use. `cpu_wall` is what it can never exceed, `cpu_request` what it is sure
    of, both in cores.
    """

    cpu_wall: float
    cpu_request: float | None
    memory_bytes: int | None

    @property
    def cpu_cores(self) -> float:
        """What to plan with."""
        return self.cpu_wall if self.cpu_request is None else self.cpu_request


def nothing() -> Reading:
    """A reading of a pod whose CPU and memory do not count."""
    return Reading(None, None)


class Source(Protocol):
    """Where the numbers come from; both calls are short, safe in any thread and never raise."""

    def reading(self) -> Reading: ...
    def limits(self) -> Limits: ...


def find(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> Source:
    """The cgroup of this process, or its process tree where it has none of its own.

    The topmost cgroup of a machine is nobody's own: its counters are the node's.
    """
    try:
        paths = memberships(membership.read_text())
    except (OSError, ValueError):
        paths = {}
    if (mount / "cgroup.controllers").exists():
        own = _directory(mount, paths.get("", "/"))
        # "exists on non-root cgroups": cgroup-v2.html, of each of these files.
        if any((own / name).exists() for name in ("cgroup.type", "cpu.max", "memory.current")):
            return V2(own)
        return ProcessTree()
    cpu, cpuacct, memory = (_v1_directory(mount, paths, n) for n in ("cpu", "cpuacct", "memory"))
    # `release_agent` stands in the topmost cgroup only: cgroup-v1/cgroups.html, 1.4.
    if (cpuacct / "cpuacct.usage").exists() and not (cpuacct / "release_agent").exists():
        return V1(cpu, cpuacct, memory)
    return ProcessTree()


def share_of(limits: Limits, cpu_request: float | None, cores: float) -> Share:
    """`cores` are those that the pod may run on. A request of 0 is none: the downward API's."""
    wall = cores if limits.cpu_quota is None else min(limits.cpu_quota, cores)
    return Share(wall, cpu_request or None, limits.memory_bytes)


def usable_cores() -> int:
    """Cores that this process may run on: the machine's, or those of its cpuset."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _directory(mount: Path, path: str) -> Path:
    """A cgroup's directory; the mount itself where its path means nothing in here, as in a
    container that sees its own cgroup at the mount but the node's path in /proc.
    """
    directory = mount / path.lstrip("/")
    return directory if ".." not in directory.parts and directory.is_dir() else mount


def _v1_directory(mount: Path, paths: dict[str, str], controller: str) -> Path:
    return _directory(mount / controller, paths.get(controller, "/"))


@dataclass(frozen=True, slots=True)
class V2:
    own: Path
    files: KernelFiles = field(default_factory=KernelFiles)

    def reading(self) -> Reading:
        usage = self.files.read(self.own / "cpu.stat", lambda t: keyed(t, "usage_usec"))
        held = self.files.read(self.own / "memory.current", whole)
        cache = self.files.read(self.own / "memory.stat", lambda t: keyed(t, "inactive_file"))
        # Missing without CONFIG_PSI; refuses to be read where PSI is switched off.
        pressure = self.files.read(self.own / "cpu.pressure", pressure_ratio, may_miss=True)
        return Reading(
            None if usage is None else usage / 1e6, working_set_bytes(held, cache), pressure
        )

    def limits(self) -> Limits:
        return Limits(
            self.files.read(self.own / "cpu.max", quota_cores, may_miss=True),
            self.files.read(self.own / "memory.max", limit_bytes, may_miss=True),
        )


@dataclass(frozen=True, slots=True)
class V1:
    cpu: Path
    cpuacct: Path
    memory: Path
    files: KernelFiles = field(default_factory=KernelFiles)

    def reading(self) -> Reading:
        usage = self.files.read(self.cpuacct / "cpuacct.usage", whole)
        held = self.files.read(self.memory / "memory.usage_in_bytes", whole)
        cache = self.files.read(
            self.memory / "memory.stat", lambda t: keyed(t, "total_inactive_file")
        )
        return Reading(None if usage is None else usage / 1e9, working_set_bytes(held, cache))

    def limits(self) -> Limits:
        quota = self.files.read(self.cpu / "cpu.cfs_quota_us", quota_us, may_miss=True)
        period = self.files.read(self.cpu / "cpu.cfs_period_us", whole, may_miss=True)
        return Limits(
            quota / period if quota and period else None,
            self.files.read(self.memory / "memory.limit_in_bytes", limit_bytes, may_miss=True),
        )


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """A laptop: this process and its descendants, without limits. Memory is the sum of RSS, which
    counts what processes share once for each.
    """

    def reading(self) -> Reading:
        cpu_seconds, memory_bytes = 0.0, 0
        try:
            parent = psutil.Process()
            for process in [parent, *parent.children(recursive=True)]:
                try:
                    # The last two are of children that have ended and were waited for.
                    cpu_seconds += sum(process.cpu_times()[:4])
                    memory_bytes += process.memory_info().rss
                except psutil.Error:
                    continue  # ended while we looked
        except (psutil.Error, OSError):
            return Reading(None, None)
        return Reading(cpu_seconds, memory_bytes)

    def limits(self) -> Limits:
        return Limits(None, None)
