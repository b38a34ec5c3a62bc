"""Clock of each core, from `/proc/cpuinfo`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `cpufreq` | hwthread | f64 | `MHz` | frequency of the first hardware thread of each core |

`type-id` is that thread, the tag `package_id` its socket. Values belong to threads by the number in the file, so a thread that
goes or comes shifts nothing. There are no keys; what stands in the configuration has no effect.

`cpufreq` measures the same under the same name, in kHz: enable one of the two (the other one works where the machine has
`/sys/devices/system/cpu/cpu0/cpufreq`, this one on x86 only: ARM has no `cpu MHz`).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from ccmessage.message import Head, Message

from ..base import Collector, Context, SourceMissing, metric, typed_head

SOURCE, GROUP, NAME = "CPUFreqCpuInfoCollector", "CPU", "cpufreq"
FILE = "/proc/cpuinfo"


class Keys(msgspec.Struct):
    """No keys."""


class Thread(msgspec.Struct, frozen=True):
    """A complete entry of the file."""

    id: int
    package: str
    core: str
    mhz: float


class CpufreqCpuinfo(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._heads: dict[int, Head] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        try:
            found = list(threads(ctx.read(FILE)))
        except OSError as error:
            raise SourceMissing(str(error)) from None
        cores: set[tuple[str, str]] = set()
        for thread in found:
            if (thread.package, thread.core) not in cores:
                cores.add((thread.package, thread.core))
                tags = {"type": "hwthread", "type-id": str(thread.id), "package_id": thread.package}
                self._heads[thread.id] = typed_head(NAME, tags, SOURCE, GROUP, "MHz")
        if not self._heads:
            raise SourceMissing(f"{FILE} names no thread with its socket, its core and its clock")

    def read(self, now_ns: int, duration: float) -> list[Message]:
        found = threads(self._ctx.read(FILE))
        return [metric(self._heads[t.id], t.mhz, now_ns) for t in found if t.id in self._heads]


def threads(text: str) -> Iterator[Thread]:
    """Entries with processor, socket, core and clock; the others are left out."""
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        entry = {key.strip(): value.strip() for key, _, value in pairs}
        try:
            yield Thread(int(entry["processor"]), entry["physical id"], entry["core id"], float(entry["cpu MHz"]))
        except (KeyError, ValueError):
            continue
