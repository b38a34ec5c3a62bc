"""Clock of each core, from `/sys/devices/system/cpu/cpu<N>/cpufreq/scaling_cur_freq`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `cpufreq` | hwthread | i64 | `kHz` | frequency of the first hardware thread of each core, as the kernel gives it |

`type-id` is that thread, the tag `package_id` its socket. The unit is that of the file (kHz; the reference calls it Hz), so
`"change_unit_prefix": {"name == 'cpufreq'": "M"}` gives MHz. Skipped where a core has no such file (virtual machines,
containers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, typed_head

SOURCE, GROUP, NAME = "CPUFreqCollector", "CPU", "cpufreq"


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []


class Cpufreq(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._excluded = NAME in config.exclude_metrics

    def open(self, ctx: Context) -> None:
        if self._excluded:
            raise SourceMissing("every metric is excluded")
        self._ctx = ctx
        self._sources: list[tuple[Path, Head]] = []
        for (socket, _, _), threads in ctx.topology.cores().items():
            file = ctx.path(f"/sys/devices/system/cpu/cpu{threads[0]}/cpufreq/scaling_cur_freq")
            try:
                file.read_bytes()
            except OSError as error:
                raise SourceMissing(str(error)) from None
            tags = {"type": "hwthread", "type-id": str(threads[0]), "package_id": str(socket)}
            self._sources.append((file, typed_head(NAME, tags, SOURCE, GROUP, "kHz")))
        if not self._sources:
            raise SourceMissing("no core found")

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for file, head in self._sources:
            try:
                out.append(metric(head, int(file.read_text()), now_ns))
            except (OSError, ValueError) as error:
                self._ctx.log.throttled(600, "cpufreq.unreadable", file=str(file), error=str(error))
        return out
