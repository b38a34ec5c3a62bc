"""Power of sockets, cores and memory, from the energy counters in `/sys/devices/virtual/powercap/intel-rapl`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| `rapl_average_power` | socket, node | f64 | `Watt` | energy since the last read / time since the last read |

Tags: `type=socket` and `type-id` = N for the zones `package-N` (also `package-N-die-M`) and what lies below them, `type=node`
for the others (psys); `id` = number of the zone (`0`) or sub zone (`0:1`), `zone_name`, and for sub zones `sub_zone_name`.

- A counter that went backwards has wrapped at `max_energy_range_uj`. An interval over which it wraps twice cannot be told (at
  300 W a range of 262 kJ lasts 14 minutes).
- The base reading is taken at start. Excluding a zone by name or id does not take its sub zones along.
- A zone needs readable `name`, `energy_uj` and `max_energy_range_uj`. Current kernels show `energy_uj` to root only.

Tested on recorded zones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, typed_head

SOURCE, GROUP, NAME, UNIT = "RAPLCollector", "energy", "rapl_average_power", "Watt"
ZONES = "/sys/devices/virtual/powercap/intel-rapl"
PREFIX = "intel-rapl:"
PACKAGE = re.compile(r"package-([0-9]+)(-die-[0-9]+)?")


class Keys(msgspec.Struct):
    exclude_device_by_id: Annotated[list[str], Meta(description="Zones left out by number: `0`, `0:1`.")] = []
    exclude_device_by_name: Annotated[list[str], Meta(description="Zones left out by name: `psys`, `dram`, `core`, `package-0`.")] = []


class Zone(msgspec.Struct):
    """An energy counter; `energy` in µJ at the time `at` in s, None where the last read failed."""

    file: Path
    head: Head
    range: int
    energy: int | None
    at: float


class Rapl(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._zones: list[Zone] = []
        for parent in directories(ctx.path(ZONES)):
            self._add(parent, parent)
            for child in directories(parent):
                self._add(child, parent)
        if not self._zones:
            raise SourceMissing(f"no usable zone in {ZONES} (energy_uj is for root only on current kernels)")

    def _add(self, zone: Path, parent: Path) -> None:
        try:
            name, parent_name = (zone / "name").read_text().strip(), (parent / "name").read_text().strip()
            largest, energy = _number(zone / "max_energy_range_uj"), _number(zone / "energy_uj")
        except (OSError, ValueError) as error:
            self._ctx.log.warning("rapl.zone_left_out", zone=zone.name, error=str(error))
            return
        id = zone.name.removeprefix(PREFIX)
        if id in self._config.exclude_device_by_id or name in self._config.exclude_device_by_name:
            return
        tags = {**type_of(parent_name), "id": id, "zone_name": parent_name}
        if zone != parent:
            tags["sub_zone_name"] = name
        head = typed_head(NAME, tags, SOURCE, GROUP, UNIT)
        self._zones.append(Zone(zone / "energy_uj", head, largest, energy, self._ctx.monotonic()))

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        begin = self._ctx.monotonic()
        for zone in self._zones:
            old, before = zone.energy, zone.at
            zone.energy, zone.at = self._energy(zone), self._ctx.monotonic()
            if old is None or zone.energy is None:
                continue
            if (power := watt(zone.energy - old, zone.range, zone.at - before)) is not None:
                out.append(metric(zone.head, power, now_ns + round((zone.at - begin) * 1e9)))
        return out

    def _energy(self, zone: Zone) -> int | None:
        try:
            return _number(zone.file)
        except (OSError, ValueError) as error:
            self._ctx.log.throttled(600, "rapl.unreadable", file=str(zone.file), error=str(error))
            return None


def watt(microjoules: int, largest: int, seconds: float) -> float | None:
    """Average power; a negative difference has wrapped at `largest`. None when no time has passed."""
    if seconds <= 0:
        return None
    return (microjoules if microjoules >= 0 else microjoules + largest) / (seconds * 1e6)


def type_of(zone: str) -> dict[str, str]:
    """Tags that say to what of the node a zone belongs."""
    package = PACKAGE.fullmatch(zone)
    return {"type": "socket", "type-id": package[1]} if package else {"type": "node"}


def directories(parent: Path) -> list[Path]:
    """Zones below a directory, by number."""
    found = [path for path in parent.glob(f"{PREFIX}*") if path.is_dir()]
    return sorted(found, key=lambda path: [int(n) for n in re.findall("[0-9]+", path.name)])


def _number(file: Path) -> int:
    return int(file.read_text())
