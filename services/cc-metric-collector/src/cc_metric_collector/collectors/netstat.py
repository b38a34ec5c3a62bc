"""Bytes and packets of network interfaces, from `/proc/net/dev`.

| metric | kind | unit |
|---|---|---|
| `net_bytes_in`, `net_bytes_out` | i64 | `bytes` |
| `net_pkts_in`, `net_pkts_out` | i64 | `packets` |
| `net_bytes_in_bw`, `net_bytes_out_bw` | f64 | `bytes/sec` |
| `net_pkts_in_bw`, `net_pkts_out_bw` | f64 | `packets/sec` |

Tags: type=node, stype=network, `stype-id` = name of the interface as the system calls it.

- `include_devices` is required: the interfaces to report, by their canonical names. An interface whose system name is in
  the list of aliases of a canonical name counts as that one; each system interface keeps its own counters.
- The list of interfaces is fixed at start. Rates begin with the first round (the base reading is taken at start); a counter
  that went backwards is left out for one round.
- Several interfaces of one node become one series at node scope in a store; see the router's warning.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head, rate

SOURCE, GROUP = "NetstatCollector", "Network"
FILE = "/proc/net/dev"
# column behind the colon → (name, unit)
COLUMNS = {
    0: ("net_bytes_in", "bytes"),
    1: ("net_pkts_in", "packets"),
    8: ("net_bytes_out", "bytes"),
    9: ("net_pkts_out", "packets"),
}


class Keys(msgspec.Struct):
    include_devices: Annotated[list[str], Meta(description="Interfaces to report (required).")] = []
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = True
    send_derived_values: Annotated[bool, Meta(description="Send rates, with the suffix `_bw`.")] = False
    interface_aliases: Annotated[dict[str, list[str]], Meta(description="Canonical name → names the system may use.")] = {}


class Netstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        if not self._config.include_devices:
            raise SourceMissing("include_devices is empty: name the interfaces to report")
        wanted = set(self._config.include_devices)
        for name in self._config.include_devices:
            wanted.update(self._config.interface_aliases.get(name, ()))
        try:
            counters = parse(ctx.read(FILE))
        except OSError as error:
            raise SourceMissing(str(error)) from None
        self._heads = {device: make_heads(device) for device in counters if device in wanted}
        if not self._heads:
            raise SourceMissing(f"none of {', '.join(sorted(wanted))} exists; there are {', '.join(sorted(counters))}")
        self._last, self._at = counters, ctx.monotonic()

    def read(self, now_ns: int, duration: float) -> list[Message]:
        counters, at = parse(self._ctx.read(FILE)), self._ctx.monotonic()
        out: list[Message] = []
        for device, heads in self._heads.items():
            if (new := counters.get(device)) is None:
                continue
            old = self._last.get(device)
            for column, (absolute, derived) in heads.items():
                if self._config.send_abs_values:
                    out.append(metric(absolute, new[column], now_ns))
                if self._config.send_derived_values and old is not None:
                    speed = rate(new[column], old[column], at - self._at)
                    if speed is not None:
                        out.append(metric(derived, speed, now_ns))
        self._last, self._at = counters, at
        return out


def make_heads(device: str) -> dict[int, tuple[Head, Head]]:
    """Column → (counter, rate)."""
    tags = {"stype": "network", "stype-id": device}
    return {
        column: (node_head(name, SOURCE, GROUP, unit, tags), node_head(f"{name}_bw", SOURCE, GROUP, f"{unit}/sec", tags))
        for column, (name, unit) in COLUMNS.items()
    }


def parse(text: str) -> dict[str, list[int]]:
    """Interface → its columns. There may be no blank behind the colon, and a name may hold one (`eth0:1`): the last counts."""
    devices: dict[str, list[int]] = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        numbers = rest.split()
        if colon and len(numbers) >= 10 and all(n.isdigit() for n in numbers):
            devices[name.strip()] = [int(n) for n in numbers]
    return devices
