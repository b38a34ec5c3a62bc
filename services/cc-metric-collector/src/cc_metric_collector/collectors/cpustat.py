"""Shares of processor time, from `/proc/stat`.

| metric | type | kind | unit (tag) | value |
|---|---|---|---|---|
| `cpu_user`, `cpu_nice`, `cpu_system`, `cpu_idle`, `cpu_iowait`, `cpu_irq`, `cpu_softirq`, `cpu_steal`, `cpu_guest`, `cpu_guest_nice` | node, hwthread | f64 | `Percent` | share of the time since the last read |
| `cpu_used` | node, hwthread | f64 | `Percent` | sum of the shares that are not excluded, without idle |
| `num_cpus` | node | i64 | – | processors that are online |

- The unit is a *tag*. Node values are not divided by the number of processors: a full node of 64 threads shows 6400.
- `cpu_used` counts guest time twice (it is contained in user) and depends on what is excluded. It is not sent when
  `cpu_idle` or `cpu_used` is excluded.
- The first round already sends shares: the base reading is taken at start.
- A processor that comes later gets its base reading in that round; a counter that went backwards (the kernel's iowait
  does that) is left out for one round, `cpu_used` with it; columns that an old kernel does not have are absent.
"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head, rate, typed_head

SOURCE, GROUP = "CpustatCollector", "CPU"
UNIT = {"unit": "Percent"}
COLUMNS = (
    "cpu_user",
    "cpu_nice",
    "cpu_system",
    "cpu_idle",
    "cpu_iowait",
    "cpu_irq",
    "cpu_softirq",
    "cpu_steal",
    "cpu_guest",
    "cpu_guest_nice",
)


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent; also `num_cpus` and `cpu_used`.")] = []


class Heads(msgspec.Struct):
    """Heads of one line of the file: (column, head, counts as used) and the head of the sum."""

    columns: list[tuple[int, Head, bool]]
    used: Head | None


class Cpustat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._excluded = frozenset(config.exclude_metrics)
        self._heads: dict[str, Heads] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._percent = 100.0 / os.sysconf("SC_CLK_TCK")
        self._count = None if "num_cpus" in self._excluded else node_head("num_cpus", SOURCE, GROUP)
        try:
            self._last = parse(ctx.read("/proc/stat"))
        except OSError as error:
            raise SourceMissing(str(error)) from None
        self._at = ctx.monotonic()

    def read(self, now_ns: int, duration: float) -> list[Message]:
        jiffies = parse(self._ctx.read("/proc/stat"))
        at = self._ctx.monotonic()
        out: list[Message] = []
        for line, new in jiffies.items():
            if (old := self._last.get(line)) is not None:
                self._shares(line, new, old, at - self._at, now_ns, out)
        if self._count is not None and jiffies:
            out.append(metric(self._count, sum(1 for line in jiffies if line != "cpu"), now_ns))
        self._last, self._at = jiffies, at
        return out

    def _shares(self, line: str, new: list[int], old: list[int], seconds: float, now_ns: int, out: list[Message]) -> None:
        heads = self._heads.get(line)
        if heads is None:
            heads = self._heads[line] = self._make_heads(line)
        used: float | None = 0.0
        for column, head, counts in heads.columns:
            if column >= len(new) or column >= len(old):
                continue
            share = rate(new[column], old[column], seconds)
            if share is None:
                used = None if counts else used
                continue
            share *= self._percent
            out.append(metric(head, share, now_ns))
            if counts and used is not None:
                used += share
        if heads.used is not None and used is not None:
            out.append(metric(heads.used, used, now_ns))

    def _make_heads(self, line: str) -> Heads:
        tags = {"type": "node"} if line == "cpu" else {"type": "hwthread", "type-id": line[3:]}
        columns = [
            (i, typed_head(name, tags | UNIT, SOURCE, GROUP), name != "cpu_idle")
            for i, name in enumerate(COLUMNS)
            if name not in self._excluded
        ]
        wanted = not {"cpu_idle", "cpu_used"} & self._excluded
        return Heads(columns, typed_head("cpu_used", tags | UNIT, SOURCE, GROUP) if wanted else None)


def parse(text: str) -> dict[str, list[int]]:
    """Jiffies by line name (`cpu`, `cpu0` …) of `/proc/stat`."""
    lines: dict[str, list[int]] = {}
    for line in text.splitlines():
        if not line.startswith("cpu"):
            continue
        name, *numbers = line.split()
        if name == "cpu" or name[3:].isdigit():
            lines[name] = [int(n) for n in numbers]
    return lines
