"""Load of the node and number of processes, from `/proc/loadavg`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `load_one`, `load_five`, `load_fifteen` | node | f64 | – | load averages over 1, 5 and 15 minutes |
| `proc_run` | node | i64 | – | runnable scheduling entities |
| `proc_total` | node | i64 | – | all scheduling entities |

A value that cannot be read is left out; the others are sent.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.message import Message
from msgspec import Meta

from ..base import Collector, Context, metric, node_head

SOURCE, GROUP = "LoadavgCollector", "LOAD"
FIELDS = (("load_one", 0), ("load_five", 1), ("load_fifteen", 2))
COUNTS = (("proc_run", 0), ("proc_total", 1))


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []


class Loadavg(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._excluded = frozenset(config.exclude_metrics)

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._heads = {name: node_head(name, SOURCE, GROUP) for name, _ in FIELDS + COUNTS if name not in self._excluded}

    def read(self, now_ns: int, duration: float) -> list[Message]:
        values = parse(self._ctx.read("/proc/loadavg"))
        return [metric(head, values[name], now_ns) for name, head in self._heads.items() if name in values]


def parse(text: str) -> dict[str, float | int]:
    """Values of `/proc/loadavg` by metric name; what is missing or no number is left out."""
    words = text.split()
    values: dict[str, float | int] = {}
    for name, index in FIELDS:
        if (number := _float(words, index)) is not None:
            values[name] = number
    counts = words[3].split("/") if len(words) > 3 else []
    for name, index in COUNTS:
        if index < len(counts) and counts[index].isdigit():
            values[name] = int(counts[index])
    return values


def _float(words: list[str], index: int) -> float | None:
    try:
        return float(words[index])
    except (IndexError, ValueError):
        return None
