"""Names of the processes that used most processor time, as `ps -Ao comm --sort=-pcpu` sorts them.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `topproc1` … `topproc<N>` | node | str | – | command name |

Sorted by processor time divided by the time since the process started. Read from `/proc` directly: starting `ps` in each round
cost more than all other collectors together. With fewer processes than N, fewer are sent. Text values are for message sinks and
logs; a metric store drops them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head

SOURCE, GROUP = "TopProcsCollector", "TopProcs"


class Keys(msgspec.Struct):
    num_procs: Annotated[int, Meta(description="How many processes to report.", ge=1, le=10)] = 2


class Topprocs(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._count = config.num_procs

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ticks = float(os.sysconf("SC_CLK_TCK"))
        self._heads = [node_head(f"topproc{i + 1}", SOURCE, GROUP) for i in range(self._count)]
        try:
            ctx.read("/proc/uptime")
        except OSError as error:
            raise SourceMissing(str(error)) from None

    def read(self, now_ns: int, duration: float) -> list[Message]:
        uptime = float(self._ctx.read("/proc/uptime").split()[0])
        busiest = top(self._ctx.path("/proc"), uptime, self._ticks, self._count)
        return [metric(head, name, now_ns) for head, name in zip(self._heads, busiest, strict=False)]


def top(proc: Path, uptime: float, ticks: float, count: int) -> list[str]:
    """Names of the `count` processes with the largest share, largest first; equal shares by process id."""
    shares: list[tuple[float, int, str]] = []
    for entry in os.listdir(proc):  # noqa: PTH208 - thousands of entries: no Path object each
        if not entry.isdigit():
            continue
        try:
            stat = (proc / entry / "stat").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if (found := parse(stat.decode("utf-8", "replace"))) is not None:
            name, cpu, started = found
            shares.append((-cpu / max(uptime * ticks - started, 1.0), int(entry), name))
    return [name for _, _, name in sorted(shares)[:count]]


def parse(stat: str) -> tuple[str, int, int] | None:
    """(name, processor time, start) in clock ticks of a `/proc/<pid>/stat`; the name may hold blanks and brackets."""
    before, bracket, after = stat.rpartition(")")
    _, _, name = before.partition("(")
    words = after.split()
    if not bracket or len(words) < 20:
        return None
    return name, int(words[11]) + int(words[12]), int(words[19])
