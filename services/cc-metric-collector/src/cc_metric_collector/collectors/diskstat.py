"""Size and free space of mounted block devices, from `/proc/self/mounts` and statfs(2).

| metric | tags | kind | unit | value |
|---|---|---|---|---|
| `disk_total` | type=node, `device` = source of the mount | u64 | `GBytes` | size / 10^9, rounded down |
| `disk_free` | same | u64 | `GBytes` | free blocks (also those reserved for root) / 10^9, rounded down |
| `part_max_used` | type=node | i64 | `percent` | largest 100·(total − free)/total of those numbers; 0 if there is none; file systems below 1 GB do not count |

- Only mounts whose source begins with `/dev`, without `loop` in the source and without `boot` in the mount point. A device
  that is mounted several times is sent once, for its first mount point.
- A mount point that does not answer within a second is left out until it does (dead network block devices).
"""

from __future__ import annotations

import os
import threading
from typing import Annotated

import msgspec
from ccmessage.message import U64, Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head

SOURCE, GROUP = "DiskstatCollector", "Disk"
FILE = "/proc/self/mounts"
GB = 1_000_000_000
PATIENCE = 1.0


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []
    exclude_mounts: Annotated[list[str], Meta(description="Mount points that contain one of these texts are left out.")] = []


class Probe(threading.Thread):
    """One statfs call that may hang; a daemon thread, so that it never holds up an exit."""

    def __init__(self, mount: str) -> None:
        super().__init__(daemon=True, name="statfs")
        self._mount = mount
        self.result: os.statvfs_result | None = None

    def run(self) -> None:
        try:
            self.result = os.statvfs(self._mount)
        except OSError:
            self.result = None


class Diskstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._excluded = frozenset(config.exclude_metrics)
        self._not = tuple(config.exclude_mounts)
        self._heads: dict[str, tuple[Head, Head]] = {}
        self._hanging: dict[str, Probe] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        try:
            ctx.read(FILE)
        except OSError as error:
            raise SourceMissing(str(error)) from None
        self._max = node_head("part_max_used", SOURCE, GROUP, "percent")

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        largest = 0
        for device, mount in mounts(self._ctx.read(FILE), self._not).items():
            if (sizes := self._sizes(mount)) is None:
                continue
            total, free = sizes
            heads = self._heads.get(device) or self._make_heads(device)
            if "disk_total" not in self._excluded:
                out.append(metric(heads[0], U64(total), now_ns))
            if "disk_free" not in self._excluded:
                out.append(metric(heads[1], U64(free), now_ns))
            if total > 0:
                largest = max(largest, 100 * (total - free) // total)
        if "part_max_used" not in self._excluded:
            out.append(metric(self._max, largest, now_ns))
        return out

    def _make_heads(self, device: str) -> tuple[Head, Head]:
        tags = {"device": device}
        heads = (node_head("disk_total", SOURCE, GROUP, "GBytes", tags), node_head("disk_free", SOURCE, GROUP, "GBytes", tags))
        self._heads[device] = heads
        return heads

    def _sizes(self, mount: str) -> tuple[int, int] | None:
        """(total, free) in GB; None for what is no file system with blocks or does not answer."""
        probe = self._hanging.pop(mount, None)
        if probe is None:
            probe = Probe(mount)
            probe.start()
            probe.join(PATIENCE)
        if probe.is_alive():
            self._hanging[mount] = probe
            self._ctx.log.throttled(600, "diskstat.no_answer", mount=mount)
            return None
        found = probe.result
        if found is None or not found.f_blocks or not found.f_frsize:
            return None
        return found.f_blocks * found.f_frsize // GB, found.f_bfree * found.f_frsize // GB


def mounts(text: str, excluded: tuple[str, ...]) -> dict[str, str]:
    """Device → mount point, the first one of each device."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or not words[0].startswith("/dev") or "loop" in words[0]:
            continue
        mount = words[1].replace("\\040", " ")
        if "boot" not in mount and not any(part in mount for part in excluded):
            found.setdefault(words[0], mount)
    return found
