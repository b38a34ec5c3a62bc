"""Bytes and packets of InfiniBand ports, from `/sys/class/infiniband/<device>/ports/<port>/counters`.

| metric | kind | unit | value |
|---|---|---|---|
| `ib_recv`, `ib_xmit` | u64 | `bytes` | `port_rcv_data`, `port_xmit_data`, times 4 |
| `ib_recv_pkts`, `ib_xmit_pkts` | u64 | `packets` | `port_rcv_packets`, `port_xmit_packets` |
| `<each>_bw` | f64 | `bytes/sec`, `packets/sec` | per second |
| `ib_total`, `ib_total_pkts` | u64 | `bytes`, `packets` | received and sent together |
| `ib_total_bw`, `ib_total_pkts_bw` | f64 | `bytes/sec`, `packets/sec` | sum of both rates |

Tags: type=node, `device`, `port`, `lid`.

- Which of them are sent is said by `send_abs_values` (counters, the default), `send_derived_values` (rates) and
  `send_total_values` (sums of what the other two select). Rates come from the first round on, their base is read at start.
- A counter that went backwards has wrapped if it was close to 2^64, else it was reset: then there is no rate for that round.
- A counter that cannot be read is left out, also of the sums, and has no rate until two reads were good.
- Ports without a LID or with LID 0x0 (RoCE) are no InfiniBand ports. A port with an unreadable counter at start is left out,
  with a warning; the others work.

Tested on a recorded tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from ccmessage.message import U64, Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head

V = TypeVar("V", int, float)

SOURCE, GROUP = "InfinibandCollector", "Network"
DEVICES = "/sys/class/infiniband"
MODULUS = 1 << 64
NEAR_THE_END = MODULUS - (1 << 48)  # hours before the wrap, at the rate of the fastest port


class Counter(msgspec.Struct, frozen=True):
    """A metric: its file, what a count is worth, its unit, the sum it is part of."""

    name: str
    file: str
    scale: int
    unit: str
    total: str


COUNTERS = (
    Counter("ib_recv", "port_rcv_data", 4, "bytes", "ib_total"),
    Counter("ib_xmit", "port_xmit_data", 4, "bytes", "ib_total"),
    Counter("ib_recv_pkts", "port_rcv_packets", 1, "packets", "ib_total_pkts"),
    Counter("ib_xmit_pkts", "port_xmit_packets", 1, "packets", "ib_total_pkts"),
)
TOTALS = {counter.total: counter.unit for counter in COUNTERS}


class Keys(msgspec.Struct):
    exclude_devices: Annotated[list[str], Meta(description="Devices left out, as `mlx5_0`.")] = []
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = True
    send_derived_values: Annotated[bool, Meta(description="Send rates, with the suffix `_bw`.")] = False
    send_total_values: Annotated[bool, Meta(description="Send the sums of both directions too.")] = False


class Port(msgspec.Struct):
    """A port: its heads by name, and the last reading of each counter that was good."""

    directory: Path
    heads: dict[str, Head]
    last: dict[str, int]
    at: float


class Ibstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ports = list(self._find())
        if not self._ports:
            raise SourceMissing(f"no usable port in {DEVICES}")

    def _find(self) -> Iterator[Port]:
        for directory in sorted(self._ctx.path(DEVICES).glob("*/ports/*")):
            device, lid = directory.parent.parent.name, lid_of(directory)
            if device in self._config.exclude_devices or lid is None:
                continue
            port = Port(directory / "counters", heads({"device": device, "port": directory.name, "lid": lid}), {}, 0.0)
            self._counters(port)
            if len(port.last) < len(COUNTERS):
                self._ctx.log.warning("ibstat.port_left_out", device=device, port=directory.name, reason="a counter cannot be read")
            else:
                yield port

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for port in self._ports:
            old, before = port.last, port.at
            self._counters(port)
            if self._config.send_abs_values:
                values = {c.name: port.last[c.name] * c.scale for c in COUNTERS if c.name in port.last}
                out += [metric(port.heads[name], U64(value % MODULUS), now_ns) for name, value in self._selected(values).items()]
            if self._config.send_derived_values and port.at > before:
                rates = {c.name: d * c.scale / (port.at - before) for c in COUNTERS if (d := self._change(c, old, port.last)) is not None}
                out += [metric(port.heads[f"{name}_bw"], value, now_ns) for name, value in self._selected(rates).items()]
        return out

    def _change(self, counter: Counter, old: dict[str, int], new: dict[str, int]) -> int | None:
        if counter.name not in old or counter.name not in new:
            return None
        return difference(new[counter.name], old[counter.name])

    def _selected(self, values: Mapping[str, V]) -> dict[str, V]:
        """With the sums of what there is, where they are asked for."""
        out = dict(values)
        for counter in COUNTERS if self._config.send_total_values else ():
            if counter.name in values:
                out[counter.total] = out[counter.total] + values[counter.name] if counter.total in out else values[counter.name]
        return out

    def _counters(self, port: Port) -> None:
        """Read and remember what is readable."""
        port.last = {}
        for counter in COUNTERS:
            file = port.directory / counter.file
            try:
                port.last[counter.name] = int(file.read_text())
            except (OSError, ValueError) as error:
                self._ctx.log.throttled(600, "ibstat.unreadable", file=str(file), error=str(error))
        port.at = self._ctx.monotonic()


def difference(new: int, old: int) -> int | None:
    """Change of a counter that wraps at 2^64; None after a reset."""
    if new >= old:
        return new - old
    return new - old + MODULUS if old >= NEAR_THE_END else None


def heads(tags: dict[str, str]) -> dict[str, Head]:
    """Heads of all metrics of a port, by name."""
    units = {counter.name: counter.unit for counter in COUNTERS} | TOTALS
    return {name: node_head(name, SOURCE, GROUP, unit, tags) for name, unit in units.items()} | {
        f"{name}_bw": node_head(f"{name}_bw", SOURCE, GROUP, f"{unit}/sec", tags) for name, unit in units.items()
    }


def lid_of(port: Path) -> str | None:
    """LID of a port, None where it has none."""
    try:
        lid = (port / "lid").read_text().strip()
    except OSError:
        return None
    return lid if lid and lid != "0x0" else None
