"""What the collector itself uses.

All metrics are type=node; each group is switched on by its key. The names are those of the reference (a Go program); what they
mean here stands beside them.

| key | metric | kind | unit | value here |
|---|---|---|---|---|
| `read_mem_stats` | `total_alloc` | u64 | `Bytes` | largest resident size so far |
| | `heap_alloc`, `heap_inuse` | u64 | `Bytes` | resident size |
| | `heap_sys` | u64 | `Bytes` | data segment and heap (VmData) |
| | `heap_idle`, `heap_released` | u64 | `Bytes` | 0 |
| | `heap_objects` | u64 | – | objects that the garbage collector tracks |
| `read_goroutines` | `num_goroutines` | i64 | – | threads |
| `read_cgo_calls` | `num_cgo_calls` | i64 | – | 0 |
| `read_rusage` | `rusage_user_time`, `rusage_system_time` | f64 | `seconds` | getrusage(RUSAGE_SELF) |
| | `rusage_vol_ctx_switch`, `rusage_invol_ctx_switch`, `rusage_signals`, `rusage_major_pgfaults`, `rusage_minor_pgfaults` | i64 | – | same |
"""

from __future__ import annotations

import gc
import resource
import threading
from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import U64, FieldValue, Head, Message
from msgspec import Meta

from ..base import Collector, Context, metric, node_head

SOURCE, GROUP = "SelfCollector", "Self"
STATUS = Path("/proc/self/status")  # ours, whatever root the node's files have


class Keys(msgspec.Struct):
    read_mem_stats: Annotated[bool, Meta(description="Memory of the process.")] = False
    read_goroutines: Annotated[bool, Meta(description="Number of threads.")] = False
    read_cgo_calls: Annotated[bool, Meta(description="Calls of native libraries; always 0 here.")] = False
    read_rusage: Annotated[bool, Meta(description="Processor time, context switches, page faults.")] = False


class SelfUsage(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._heads: dict[str, Head] = {}

    def open(self, ctx: Context) -> None:
        """Never fails."""

    def read(self, now_ns: int, duration: float) -> list[Message]:
        values: list[tuple[str, FieldValue, str]] = []
        if self._config.read_mem_stats:
            values += memory(STATUS.read_text(), len(gc.get_objects()))
        if self._config.read_goroutines:
            values.append(("num_goroutines", threading.active_count(), ""))
        if self._config.read_cgo_calls:
            values.append(("num_cgo_calls", 0, ""))
        if self._config.read_rusage:
            values += usage(resource.getrusage(resource.RUSAGE_SELF))
        return [metric(self._head(name, unit), value, now_ns) for name, value, unit in values]

    def _head(self, name: str, unit: str) -> Head:
        head = self._heads.get(name)
        if head is None:
            head = self._heads[name] = node_head(name, SOURCE, GROUP, unit)
        return head


def memory(status: str, objects: int) -> list[tuple[str, FieldValue, str]]:
    """(name, value, unit) from `/proc/self/status`, whose sizes are in KiB."""
    kib = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in status.splitlines()) if rest.endswith("kB")}
    resident = U64(kib.get("VmRSS", 0) * 1024)
    return [
        ("total_alloc", U64(kib.get("VmHWM", 0) * 1024), "Bytes"),
        ("heap_alloc", resident, "Bytes"),
        ("heap_inuse", resident, "Bytes"),
        ("heap_sys", U64(kib.get("VmData", 0) * 1024), "Bytes"),
        ("heap_idle", U64(0), "Bytes"),
        ("heap_released", U64(0), "Bytes"),
        ("heap_objects", U64(objects), ""),
    ]


def usage(r: resource.struct_rusage) -> list[tuple[str, FieldValue, str]]:
    """(name, value, unit) of getrusage(2)."""
    return [
        ("rusage_user_time", r.ru_utime, "seconds"),
        ("rusage_system_time", r.ru_stime, "seconds"),
        ("rusage_vol_ctx_switch", r.ru_nvcsw, ""),
        ("rusage_invol_ctx_switch", r.ru_nivcsw, ""),
        ("rusage_signals", r.ru_nsignals, ""),
        ("rusage_major_pgfaults", r.ru_majflt, ""),
        ("rusage_minor_pgfaults", r.ru_minflt, ""),
    ]
