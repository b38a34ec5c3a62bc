"""Memory and CPU time of Slurm jobs on the hardware threads they own, from their control groups (cgroup v2).

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `job_mem_used` | hwthread | f64 | `Bytes` | `memory.current` / n |
| `job_max_mem_used` | hwthread | f64 | `Bytes` | `memory.peak` / n |
| `job_mem_limit` | hwthread | f64 | `Bytes` | `memory.max` / n, 0 for no limit |
| `job_user_cpu` | hwthread | f64 | `%` | 100·user_usec/usage_usec / n of `cpu.stat` |
| `job_sys_cpu` | hwthread | f64 | `%` | 100·system_usec/usage_usec / n of `cpu.stat` |

`type-id` is the thread; n is the number of threads in the job's `cpuset.cpus`, or in `cpuset.cpus.effective` where that is
empty, so the sum over a job's threads is the job's value. A thread that is online and in no job has 0.

- The CPU values are shares of the CPU time since the job began, not a utilisation: user and system share add up to 100 % for
  each job.
- A thread has one value in a round: what several jobs have on it is added.
- Jobs are the directories `job_<digits>` and, from Slurm 26.05, those named by a SLUID (`s` and 13 characters).
- A file that cannot be read counts as 0, with a warning (`memory.peak` needs Linux 5.19). Without the base directory nothing is
  sent in that round. A job that ends while it is read counts as no job.
- Root is not needed where the files are readable; with `use_sudo` each is read by `sudo cat FILE`.

Tested on recorded control groups.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing, metric, typed_head
from ..commands import find_command
from ..topology import parse_cpu_list

SOURCE, GROUP = "SlurmCgroupCollector", "SLURM"
ONLINE = "/sys/devices/system/cpu/online"
UNITS = {"job_mem_used": "Bytes", "job_max_mem_used": "Bytes", "job_mem_limit": "Bytes", "job_user_cpu": "%", "job_sys_cpu": "%"}
MEMORY_FILES = {"job_mem_used": "memory.current", "job_max_mem_used": "memory.peak", "job_mem_limit": "memory.max"}
CPU_KEYS = {"job_user_cpu": "user_usec", "job_sys_cpu": "system_usec"}
# SLUIDs are Crockford's base 32: no i, l, o, u.
JOB = re.compile(r"job_[0-9]+|[sS][0-9a-hjkmnp-tv-zA-HJKMNP-TV-Z]{13}")


class Keys(msgspec.Struct):
    cgroup_base: Annotated[str, Meta(description="Directory that holds the control groups of the jobs.")] = (
        "/sys/fs/cgroup/system.slice/slurmstepd.scope"
    )
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []
    use_sudo: Annotated[bool, Meta(description="Read the files of the jobs with `sudo cat`.")] = False


class SlurmCgroup(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._names = [name for name in UNITS if name not in config.exclude_metrics]
        self._heads: dict[tuple[str, int], Head] = {}

    def open(self, ctx: Context) -> None:
        if not self._names:
            raise SourceMissing("every metric is excluded")
        self._ctx = ctx
        self._cat = find_command("cat", sudo=["sudo"]) if self._config.use_sudo else []
        self._base = ctx.path(self._config.cgroup_base)
        try:
            self._online = parse_cpu_list(ctx.read(ONLINE))
        except (OSError, ValueError) as error:
            raise SourceMissing(str(error)) from None

    def read(self, now_ns: int, duration: float) -> list[Message]:
        """OSError without the base directory."""
        until = self._ctx.monotonic() + self._ctx.interval
        values: dict[int, dict[str, float]] = {cpu: dict.fromkeys(self._names, 0.0) for cpu in self._online}
        for job in sorted(path for path in self._base.iterdir() if JOB.fullmatch(path.name)):
            cpus = self._cpus(job, until)
            if not cpus:
                continue
            shares = self._shares(job, len(cpus), until)
            if not job.is_dir():
                continue
            for cpu in cpus:
                sums = values.setdefault(cpu, dict.fromkeys(self._names, 0.0))
                for name in self._names:
                    sums[name] += shares[name]
        return [metric(self._head(name, cpu), value, now_ns) for cpu, of in values.items() for name, value in of.items()]

    def _head(self, name: str, cpu: int) -> Head:
        found = self._heads.get((name, cpu))
        if found is None:
            tags = {"type": "hwthread", "type-id": str(cpu)}
            found = self._heads[name, cpu] = typed_head(name, tags, SOURCE, GROUP, UNITS[name])
        return found

    def _cpus(self, job: Path, until: float) -> list[int]:
        """Threads of a job; a job without the right or the file has none."""
        for name in ("cpuset.cpus", "cpuset.cpus.effective"):
            try:
                if cpus := parse_cpu_list(self._text(job / name, until)):
                    return cpus
            except ValueError as error:
                self._ctx.log.throttled(600, "slurm_cgroup.unreadable", file=str(job / name), error=str(error))
        return []

    def _shares(self, job: Path, n: int, until: float) -> dict[str, float]:
        """What each of the n threads of a job gets of its values."""
        shares = {name: _number(self._text(job / file, until)) / n for name, file in MEMORY_FILES.items() if name in self._names}
        if any(name in self._names for name in CPU_KEYS):
            times = cpu_times(self._text(job / "cpu.stat", until))
            usage = times.get("usage_usec", 0)
            for name, key in CPU_KEYS.items():
                shares[name] = 100.0 * times.get(key, 0) / usage / n if usage else 0.0
        return shares

    def _text(self, file: Path, until: float) -> str:
        """Content of a file, empty where it cannot be read."""
        try:
            if not self._cat:
                return file.read_text()
            left = max(0.1, until - self._ctx.monotonic())
            return self._ctx.run([*self._cat, str(file)], timeout=left).decode("ascii", "replace")
        except (OSError, CommandFailed) as error:
            if file.parent.is_dir():  # else the job has ended
                self._ctx.log.throttled(600, f"slurm_cgroup.unreadable.{file.name}", file=str(file), error=str(error))
            return ""


def cpu_times(text: str) -> dict[str, int]:
    """Key → µs of `cpu.stat`."""
    pairs = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}


def _number(text: str) -> int:
    """0 for `max` (no limit) and for an empty text."""
    text = text.strip()
    return int(text) if text.isdigit() else 0
