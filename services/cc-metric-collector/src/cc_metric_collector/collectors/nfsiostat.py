"""Bytes and pages of NFS mounts, from `/proc/self/mountstats`.

| metric | kind | unit | value |
|---|---|---|---|
| `nfsio_nread`, `nfsio_nwrite` | i64 | `bytes` | read and written by applications |
| `nfsio_dread`, `nfsio_dwrite` | i64 | `bytes` | the same with O_DIRECT |
| `nfsio_nfsread`, `nfsio_nfswrite` | i64 | `bytes` | read from and written to the server |
| `nfsio_pageread`, `nfsio_pagewrite` | i64 | `4K_pages` | pages |
| `nfsio_<name>_bw` | f64 | `bytes/sec`, `4K_pages/s` | per second |

Tags: type=node, stype=filesystem, `stype-id` = mount point, or `server:/export` with `use_server_as_stype`.

- `exclude_metrics` takes the names *without* prefix (`nread`); it holds for both forms.
- A mount that appears later is remembered in its first round and sent from the next; a mount that vanished is forgotten. No
  NFS mount at all is no error. A counter that went backwards is left out for one round.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, metric, node_head, rate

SOURCE, GROUP = "NfsIOStatCollector", "NFS"
FILE = "/proc/self/mountstats"
NAMES = ("nread", "nwrite", "dread", "dwrite", "nfsread", "nfswrite", "pageread", "pagewrite")


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names without prefix (`nread`) that are not sent, in both forms.")] = []
    exclude_filesystem: Annotated[list[str], Meta(description="Mount points (servers with use_server_as_stype) left out.")] = []
    use_server_as_stype: Annotated[bool, Meta(description="`stype-id` is `server:/export` instead of the mount point.")] = False
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = True
    send_derived_values: Annotated[bool, Meta(description="Send rates, with the suffix `_bw`.")] = False


class Nfsiostat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._heads: dict[tuple[str, str], tuple[Head, Head]] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._last, self._at = self._mounts(), ctx.monotonic()

    def read(self, now_ns: int, duration: float) -> list[Message]:
        now, at = self._mounts(), self._ctx.monotonic()
        out: list[Message] = []
        for mount, counters in now.items():
            if (old := self._last.get(mount)) is None:
                continue
            for name, new, before in zip(NAMES, counters, old, strict=True):
                if name in self._config.exclude_metrics:
                    continue
                absolute, derived = self._heads.get((mount, name)) or self._make_heads(mount, name)
                if self._config.send_abs_values:
                    out.append(metric(absolute, new, now_ns))
                if self._config.send_derived_values and (speed := rate(new, before, at - self._at)) is not None:
                    out.append(metric(derived, speed, now_ns))
        for key in [key for key in self._heads if key[0] not in now]:
            del self._heads[key]
        self._last, self._at = now, at
        return out

    def _mounts(self) -> dict[str, list[int]]:
        try:
            text = self._ctx.read(FILE)
        except OSError as error:
            self._ctx.log.throttled(600, "nfsiostat.unreadable", error=str(error))
            return {}
        found = parse(text, by_server=self._config.use_server_as_stype)
        return {mount: counters for mount, counters in found.items() if mount not in self._config.exclude_filesystem}

    def _make_heads(self, mount: str, name: str) -> tuple[Head, Head]:
        unit, per_second = ("4K_pages", "4K_pages/s") if name.startswith("page") else ("bytes", "bytes/sec")
        tags = {"stype": "filesystem", "stype-id": mount}
        heads = (
            node_head(f"nfsio_{name}", SOURCE, GROUP, unit, tags),
            node_head(f"nfsio_{name}_bw", SOURCE, GROUP, per_second, tags),
        )
        self._heads[mount, name] = heads
        return heads


def parse(text: str, *, by_server: bool) -> dict[str, list[int]]:
    """Mount point (or server) → the eight counters of its `bytes:` line; the first mount of a server counts."""
    found: dict[str, list[int]] = {}
    current: str | None = None
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["device"]:
            current = None
            if len(words) >= 8 and words[2:4] == ["mounted", "on"] and words[7].startswith("nfs"):
                current = words[1] if by_server else words[4]
        elif words[:1] == ["bytes:"] and current is not None and len(words) == 9 and all(w.isdigit() for w in words[1:]):
            found.setdefault(current, [int(w) for w in words[1:]])
            current = None
    return found
