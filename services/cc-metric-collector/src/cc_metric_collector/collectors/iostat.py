"""Work of block devices since the last read, from `/proc/diskstats`.

Metrics (i64, type=node, tag `device`, no unit; changes since the last read, not per second): `io_reads`,
`io_reads_merged`, `io_read_sectors`, `io_read_ms`, `io_writes`, `io_writes_merged`, `io_writes_sectors`, `io_writes_ms`,
`io_ioops_ms`, `io_ioops_weighted_ms`, `io_discards`, `io_discards_merged`, `io_discards_sectors`, `io_discards_ms`,
`io_flushes`, `io_flushes_ms`; and `io_ioops`, the requests in flight at the moment of reading. A sector has 512 bytes.

- Devices with `loop` in their name are left out, and so is what appears after the start.
- Fields that an older kernel does not have are not sent; a counter that went backwards is left out for one round.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head

SOURCE, GROUP = "IOstatCollector", "Disk"
FILE = "/proc/diskstats"
FIELDS = {
    "io_reads": 3,
    "io_reads_merged": 4,
    "io_read_sectors": 5,
    "io_read_ms": 6,
    "io_writes": 7,
    "io_writes_merged": 8,
    "io_writes_sectors": 9,
    "io_writes_ms": 10,
    "io_ioops": 11,
    "io_ioops_ms": 12,
    "io_ioops_weighted_ms": 13,
    "io_discards": 14,
    "io_discards_merged": 15,
    "io_discards_sectors": 16,
    "io_discards_ms": 17,
    "io_flushes": 18,
    "io_flushes_ms": 19,
}
GAUGE = 11


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []
    exclude_devices: Annotated[list[str], Meta(description="Names of devices that are left out.")] = []


class Iostat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        fields = {name: field for name, field in FIELDS.items() if name not in self._config.exclude_metrics}
        if not fields:
            raise SourceMissing("every metric is excluded")
        try:
            self._last = parse(ctx.read(FILE))
        except OSError as error:
            raise SourceMissing(str(error)) from None
        devices = [d for d in self._last if "loop" not in d and d not in self._config.exclude_devices]
        self._heads: dict[str, list[tuple[int, Head]]] = {
            device: [(field, node_head(name, SOURCE, GROUP, "", {"device": device})) for name, field in fields.items()]
            for device in devices
        }

    def read(self, now_ns: int, duration: float) -> list[Message]:
        now = parse(self._ctx.read(FILE))
        out: list[Message] = []
        for device, heads in self._heads.items():
            new, old = now.get(device), self._last.get(device)
            if new is None:
                continue
            for field, head in heads:
                if field == GAUGE and field in new:
                    out.append(metric(head, new[field], now_ns))
                elif old is not None and field in new and field in old and new[field] >= old[field]:
                    out.append(metric(head, new[field] - old[field], now_ns))
        self._last = now
        return out


def parse(text: str) -> dict[str, dict[int, int]]:
    """Device → field number → value."""
    devices: dict[str, dict[int, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3:
            devices[words[2]] = {i: int(word) for i, word in enumerate(words) if i > 2 and word.isdigit()}
    return devices
