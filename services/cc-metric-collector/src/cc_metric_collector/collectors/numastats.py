"""Page allocation of NUMA domains, from `/sys/devices/system/node/node<N>/numastat`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `numastats_<key>` | memoryDomain | i64 | – | counter; keys as the file has them: `numa_hit`, `numa_miss`, `numa_foreign`, `interleave_hit`, `local_node`, `other_node` |
| `numastats_<key>_rate` | memoryDomain | f64 | – | per second |

`type-id` is the number of the domain. The base reading of the rates is taken at start; a counter that went backwards is left
out for one round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, rate, typed_head

SOURCE, GROUP = "NUMAStatsCollector", "NUMA"
DOMAINS = "/sys/devices/system/node"


class Keys(msgspec.Struct):
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = True
    send_derived_values: Annotated[bool, Meta(description="Send rates, with the suffix `_rate`.")] = False


class Domain(msgspec.Struct):
    """A NUMA domain: its last reading and the heads met so far, key → (counter, rate)."""

    id: str
    file: Path
    last: dict[str, int] = {}
    at: float = 0.0
    heads: dict[str, tuple[Head, Head]] = {}


class Numastats(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        found = sorted(int(p.name[4:]) for p in ctx.path(DOMAINS).glob("node[0-9]*") if p.name[4:].isdigit())
        if not found:
            raise SourceMissing(f"no NUMA domain in {DOMAINS}")
        self._domains = [Domain(str(n), ctx.path(f"{DOMAINS}/node{n}/numastat")) for n in found]
        for domain in self._domains:
            self._counters(domain)

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for domain in self._domains:
            old, before = domain.last, domain.at
            for key, value in self._counters(domain).items():
                absolute, derived = domain.heads.get(key) or self._make_heads(domain, key)
                if self._config.send_abs_values:
                    out.append(metric(absolute, value, now_ns))
                if self._config.send_derived_values and key in old:
                    speed = rate(value, old[key], domain.at - before)
                    if speed is not None:
                        out.append(metric(derived, speed, now_ns))
        return out

    def _counters(self, domain: Domain) -> dict[str, int]:
        """Read and remember; an unreadable domain gives nothing, and no rate next time."""
        try:
            domain.last = parse(domain.file.read_text())
        except OSError as error:
            domain.last = {}
            self._ctx.log.throttled(600, "numastats.unreadable", file=str(domain.file), error=str(error))
        domain.at = self._ctx.monotonic()
        return domain.last

    def _make_heads(self, domain: Domain, key: str) -> tuple[Head, Head]:
        tags = {"type": "memoryDomain", "type-id": domain.id}
        name = f"numastats_{key}"
        domain.heads[key] = typed_head(name, tags, SOURCE, GROUP), typed_head(f"{name}_rate", tags, SOURCE, GROUP)
        return domain.heads[key]


def parse(text: str) -> dict[str, int]:
    """Key → counter."""
    pairs = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}
