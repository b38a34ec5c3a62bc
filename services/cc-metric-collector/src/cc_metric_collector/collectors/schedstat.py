"""Load of each hardware thread as the scheduler sees it, from `/proc/schedstat`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `cpu_load_core` | hwthread | f64 | – | (time tasks ran + time tasks waited) / time since the last read |

The file exists only on kernels with CONFIG_SCHEDSTATS; else the collector is skipped. A processor that comes later gets
its base reading in that round; a counter that went backwards is left out for one round.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, rate, typed_head

SOURCE, GROUP, NAME = "SchedstatCollector", "SCHEDSTAT", "cpu_load_core"
FILE = "/proc/schedstat"


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []


class Schedstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._excluded = NAME in config.exclude_metrics
        self._heads: dict[str, Head] = {}

    def open(self, ctx: Context) -> None:
        if self._excluded:
            raise SourceMissing("every metric is excluded")
        self._ctx = ctx
        try:
            self._last = parse(ctx.read(FILE))
        except OSError as error:
            raise SourceMissing(str(error)) from None
        self._at = ctx.monotonic()

    def read(self, now_ns: int, duration: float) -> list[Message]:
        now, at = parse(self._ctx.read(FILE)), self._ctx.monotonic()
        out: list[Message] = []
        for cpu, (running, waiting) in now.items():
            if (old := self._last.get(cpu)) is None:
                continue
            ran, waited = rate(running, old[0], at - self._at), rate(waiting, old[1], at - self._at)
            if ran is None or waited is None:
                continue
            head = self._heads.get(cpu)
            if head is None:
                head = self._heads[cpu] = typed_head(NAME, {"type": "hwthread", "type-id": cpu}, SOURCE, GROUP)
            out.append(metric(head, (ran + waited) / 1e9, now_ns))
        self._last, self._at = now, at
        return out


def parse(text: str) -> dict[str, tuple[int, int]]:
    """Processor number → (ns running, ns waiting), fields 7 and 8 of its line."""
    cpus: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 9 and words[0].startswith("cpu") and words[0][3:].isdigit():
            cpus[words[0][3:]] = (int(words[7]), int(words[8]))
    return cpus
