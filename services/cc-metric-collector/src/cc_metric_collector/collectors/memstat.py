"""Memory of the node and of its NUMA domains, from `/proc/meminfo` and `/sys/devices/system/node/node<N>/meminfo`.

Metrics: `mem_total`, `swap_total`, `mem_sreclaimable`, `mem_slab`, `mem_free`, `mem_buffers`, `mem_cached`, `mem_available`,
`swap_free`, `mem_shared`, `mem_active`, `mem_inactive`, `mem_dirty`, `mem_writeback`, `mem_anon_pages`, `mem_mapped`,
`mem_vmalloc_total`, `mem_anon_hugepages`, `mem_shared_hugepages`, `mem_shared_pmd_mapped`, `mem_hugepages_total`,
`mem_hugepages_free`, `mem_hugepages_reserved`, `mem_hugepages_surplus`, `mem_hugepages_size`, `mem_direct_mapped_4k`,
`mem_direct_mapped_4m`, `mem_direct_mapped_2m`, `mem_direct_mapped_1g`, `mem_locked`, `mem_pagetables`, `mem_kernelstack`, and

    mem_used = MemTotal - MemFree - Buffers - Cached - Shmem        (node)
    mem_used = MemTotal - MemFree - FilePages                       (NUMA domain; FilePages holds buffers and page cache)

All are f64, type=node or type=memoryDomain (`type-id` = number of the domain), unscaled, with the file's unit (`kB`) in
meta `unit`. Numbers of huge pages have no unit. What the kernel does not report is not sent. There is no `swap_used`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, typed_head

SOURCE, GROUP = "MemstatCollector", "Memory"
KEYS = {
    "MemTotal": "mem_total",
    "SwapTotal": "swap_total",
    "SReclaimable": "mem_sreclaimable",
    "Slab": "mem_slab",
    "MemFree": "mem_free",
    "Buffers": "mem_buffers",
    "Cached": "mem_cached",
    "MemAvailable": "mem_available",
    "SwapFree": "swap_free",
    "Shmem": "mem_shared",
    "Active": "mem_active",
    "Inactive": "mem_inactive",
    "Dirty": "mem_dirty",
    "Writeback": "mem_writeback",
    "AnonPages": "mem_anon_pages",
    "Mapped": "mem_mapped",
    "VmallocTotal": "mem_vmalloc_total",
    "AnonHugePages": "mem_anon_hugepages",
    "ShmemHugePages": "mem_shared_hugepages",
    "ShmemPmdMapped": "mem_shared_pmd_mapped",
    "HugePages_Total": "mem_hugepages_total",
    "HugePages_Free": "mem_hugepages_free",
    "HugePages_Rsvd": "mem_hugepages_reserved",
    "HugePages_Surp": "mem_hugepages_surplus",
    "Hugepagesize": "mem_hugepages_size",
    "DirectMap4k": "mem_direct_mapped_4k",
    "DirectMap4M": "mem_direct_mapped_4m",
    "DirectMap2M": "mem_direct_mapped_2m",
    "DirectMap1G": "mem_direct_mapped_1g",
    "Mlocked": "mem_locked",
    "PageTables": "mem_pagetables",
    "KernelStack": "mem_kernelstack",
}
NODE_FILE = "/proc/meminfo"
DOMAINS = "/sys/devices/system/node"


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent; also `mem_used`.")] = []
    node_stats: Annotated[bool, Meta(description="Values of the node.")] = True
    numa_stats: Annotated[bool, Meta(description="Values of each NUMA domain (type=memoryDomain).")] = False


class File(msgspec.Struct):
    """One file and the heads of its metrics, made as they are met."""

    path: Path
    tags: dict[str, str]
    heads: dict[str, Head] = {}


class Memstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._excluded = frozenset(config.exclude_metrics)
        self._names = {key: name for key, name in KEYS.items() if name not in self._excluded}
        self._used = "mem_used" not in self._excluded

    def open(self, ctx: Context) -> None:
        if not self._names and not self._used:
            raise SourceMissing("every metric is excluded")
        self._ctx = ctx
        self._files: list[File] = []
        if self._config.node_stats:
            self._files.append(File(ctx.path(NODE_FILE), {"type": "node"}))
        if self._config.numa_stats:
            domains = sorted((p for p in ctx.path(DOMAINS).glob("node[0-9]*") if p.name[4:].isdigit()), key=lambda p: int(p.name[4:]))
            self._files += [File(d / "meminfo", {"type": "memoryDomain", "type-id": d.name[4:]}) for d in domains]
        for file in self._files:
            try:
                found = parse(file.path.read_text())
            except OSError as error:
                raise SourceMissing(str(error)) from None
            if not found:
                raise SourceMissing(f"{file.path} holds no values")

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for file in self._files:
            try:
                values = parse(file.path.read_text())
            except OSError as error:
                self._ctx.log.throttled(600, "memstat.unreadable", file=str(file.path), error=str(error))
                continue
            for key, name in self._names.items():
                if key in values:
                    value, unit = values[key]
                    out.append(metric(self._head(file, name, unit), value, now_ns))
            if self._used and (amount := used(values)) is not None:
                out.append(metric(self._head(file, "mem_used", values["MemTotal"][1]), amount, now_ns))
        return out

    def _head(self, file: File, name: str, unit: str) -> Head:
        head = file.heads.get(name)
        if head is None:
            head = file.heads[name] = typed_head(name, file.tags, SOURCE, GROUP, unit)
        return head


def parse(text: str) -> dict[str, tuple[float, str]]:
    """Key → (value, unit) of a meminfo file; lines of NUMA files begin with `Node <N>`. The unit may be empty."""
    values: dict[str, tuple[float, str]] = {}
    for line in text.splitlines():
        before, colon, after = line.partition(":")
        words, key = after.split(), before.split()
        if colon and key and words and words[0].isdigit():
            values[key[-1]] = (float(words[0]), words[1] if len(words) > 1 else "")
    return values


def used(values: dict[str, tuple[float, str]]) -> float | None:
    """Memory in use, see the head of this page; None where total or free is missing."""
    if "MemTotal" not in values or "MemFree" not in values:
        return None
    amount = values["MemTotal"][0] - values["MemFree"][0]
    if "Buffers" in values:
        return amount - sum(values[key][0] for key in ("Buffers", "Cached", "Shmem") if key in values)
    return amount - values["FilePages"][0] if "FilePages" in values else amount
