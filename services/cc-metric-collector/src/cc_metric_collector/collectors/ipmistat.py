"""Sensors of the management controller (BMC), from `ipmi-sensors` or `ipmitool sensor`.

| metric | type | kind | unit | value |
|---|---|---|---|---|
| name of the sensor in lower case, blanks as `_` | node | f64 | as the tool prints it; degrees as `degC`, `degF` | reading |

- At start each tool is tried once, `ipmi-sensors` first; the first that works is used from then on. If none works the
  collector is skipped.
- Readings without a number (`N/A`, `na`) and discrete sensors (`0x0180`) are left out, without a word in the log; so are other
  readings that are no number, with one.
- `include_metrics` takes names as they are sent (`cpu1_temp`).
- The tools need root: either the collector runs as root or `use_sudo` is on.
- A BMC may take seconds for an answer. When the tool fails in a round, what it printed before is sent.

Tested on recorded output of both tools.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing, metric, node_head
from ..commands import find_command

SOURCE, GROUP = "IpmiCollector", "IPMI"
SENSORS_OPTIONS = ["--comma-separated-output", "--sdr-cache-recreate"]
TOOL_OPTIONS = ["sensor"]
UNITS = {"degrees C": "degC", "degrees F": "degF"}


class Keys(msgspec.Struct):
    ipmitool_path: Annotated[str, Meta(description="Command ipmitool, a path or a name to be found in PATH.")] = "ipmitool"
    ipmisensors_path: Annotated[str, Meta(description="Command ipmi-sensors of FreeIPMI, which is preferred.")] = "ipmi-sensors"
    use_sudo: Annotated[bool, Meta(description="Run the tool by `sudo -n`.")] = False
    include_metrics: Annotated[list[str], Meta(description="Names of the metrics that are sent; empty: all.")] = []


class Sensor(msgspec.Struct, frozen=True):
    """A line of a tool: normalised name, unit, and the reading as printed."""

    name: str
    unit: str
    reading: str


Parser = Callable[[str], Iterator[Sensor]]


class Ipmistat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._included = frozenset(config.include_metrics)
        self._heads: dict[tuple[str, str], Head] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        tools: tuple[tuple[str, list[str], Parser], ...] = (
            (self._config.ipmisensors_path, SENSORS_OPTIONS, ipmi_sensors),
            (self._config.ipmitool_path, TOOL_OPTIONS, ipmitool),
        )
        reasons = []
        for program, options, parser in tools:
            try:
                self._argv = [*find_command(program, sudo=["sudo", "-n"] if self._config.use_sudo else []), *options]
                ctx.run(self._argv, timeout=ctx.interval)
            except (SourceMissing, CommandFailed) as error:
                reasons.append(str(error))
            else:
                self._parser = parser
                return
        raise SourceMissing("; ".join(reasons))

    def read(self, now_ns: int, duration: float) -> list[Message]:
        try:
            output = self._ctx.run(self._argv, timeout=self._ctx.interval)
        except CommandFailed as error:
            self._ctx.log.throttled(60, "ipmistat.failed", error=str(error))
            output = error.output
        out: list[Message] = []
        for sensor in self._parser(output.decode("utf-8", "replace")):
            if self._included and sensor.name not in self._included:
                continue
            if (value := number(sensor.reading)) is None:
                self._ctx.log.throttled(600, "ipmistat.no_number", sensor=sensor.name, reading=sensor.reading)
                continue
            out.append(metric(self._head(sensor), value, now_ns))
        return out

    def _head(self, sensor: Sensor) -> Head:
        key = (sensor.name, sensor.unit)
        found = self._heads.get(key)
        if found is None:
            found = self._heads[key] = node_head(sensor.name, SOURCE, GROUP, sensor.unit)
        return found


def ipmi_sensors(text: str) -> Iterator[Sensor]:
    """Lines `ID,Name,Type,Reading,Units,Event` that have a reading."""
    for line in text.splitlines():
        words = line.split(",")
        if len(words) >= 4 and words[1].strip() and not without_number(words[3], "N/A", "Reading"):
            yield Sensor(normalised(words[1]), words[4].strip() if len(words) > 4 else "", words[3].strip())


def ipmitool(text: str) -> Iterator[Sensor]:
    """Lines `name | value | unit | …` that have a value."""
    for line in text.splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) >= 3 and words[0] and not without_number(words[1], "na"):
            yield Sensor(normalised(words[0]), UNITS.get(words[2], words[2]), words[1])


def without_number(reading: str, *words: str) -> bool:
    """Readings that say themselves that they are none, and those of discrete sensors."""
    reading = reading.strip()
    return reading in words or reading.startswith("0x")


def normalised(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
