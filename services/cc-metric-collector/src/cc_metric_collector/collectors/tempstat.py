"""Temperatures of the sensors in `/sys/class/hwmon`.

Values are whole degrees (rounded towards zero), i64, type=node, unit `degC`. The name is made of the chip's `name` and the
sensor's label, in lower case with `_` for blanks:

1. chip `coretemp`, label `Core …` or `Package id …`: `temp_<label>` (`temp_core_0`, `temp_package_id_0`)
2. chip and label: `<chip>_<label>`; only the chip: `<chip>`; only a label: `<label>`; neither: not reported
3. a name without `temp` in it gets the prefix `temp_` (`k10temp_tctl` stays, `nvme_composite` → `temp_nvme_composite`)

With `report_max_temperature` and `report_critical_temperature` the limits are sent too, under the name with its first `temp`
replaced by `max_temp` or `crit_temp`; limits are read once, and a limit of 0 is not sent.

`tag_override` maps a part of the sensor's path to a set of tags that *replaces* the usual one. A key that is a whole component of the path wins over
one that is only a part of a component, then the longest wins: `hwmon1` does not match `hwmon10` when there is a key for that.
Two chips of one name give the same metrics unless their tags are overridden; a warning names them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, typed_head

SOURCE, GROUP, UNIT = "TempCollector", "IPMI", "degC"
SENSORS = "/sys/class/hwmon"


class Keys(msgspec.Struct):
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []
    tag_override: Annotated[dict[str, dict[str, str]], Meta(description="Part of a sensor's path → tags used instead.")] = {}
    report_max_temperature: Annotated[bool, Meta(description="Send each sensor's maximum.")] = False
    report_critical_temperature: Annotated[bool, Meta(description="Send each sensor's critical limit.")] = False


class Tempstat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._sensors: list[tuple[Path, Head]] = []
        self._limits: list[tuple[Head, int]] = []
        for file in sorted(ctx.path(SENSORS).glob("*/temp*_input")):
            self._add(file)
        if not self._sensors and not self._limits:
            raise SourceMissing(f"no usable temperature sensor in {SENSORS}")
        heads = [head for _, head in self._sensors]
        if doubled := sorted({head.name for head in heads if heads.count(head) > 1}):
            ctx.log.warning("tempstat.same_name", metrics=" ".join(doubled), remedy="tell the chips apart with tag_override")

    def _add(self, file: Path) -> None:
        name = sensor_name(_text(file.parent / "name"), _text(file.with_name(file.name.replace("_input", "_label"))))
        if name is None:
            return
        tags = self._tags(file)
        if name not in self._config.exclude_metrics and _degrees(file) is not None:
            self._sensors.append((file, typed_head(name, tags, SOURCE, GROUP, UNIT)))
        wanted = (
            (self._config.report_max_temperature, "_max", "max_temp"),
            (self._config.report_critical_temperature, "_crit", "crit_temp"),
        )
        for on, suffix, word in wanted:
            limit = _degrees(file.with_name(file.name.replace("_input", suffix))) if on else None
            limit_name = name.replace("temp", word, 1)
            if limit and limit_name not in self._config.exclude_metrics:
                self._limits.append((typed_head(limit_name, tags, SOURCE, GROUP, UNIT), limit))

    def _tags(self, file: Path) -> dict[str, str]:
        path = "/" + str(file.relative_to(self._ctx.root))
        key = override_key(path, self._config.tag_override)
        return self._config.tag_override[key] if key is not None else {"type": "node"}

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out = [metric(head, limit, now_ns) for head, limit in self._limits]
        for file, head in self._sensors:
            if (value := _degrees(file)) is not None:
                out.append(metric(head, value, now_ns))
            else:
                self._ctx.log.throttled(600, "tempstat.unreadable", file=str(file))
        return out


def sensor_name(chip: str, label: str) -> str | None:
    """Name of the metric; None for a sensor with neither name nor label."""
    if chip == "coretemp" and label.startswith(("Core ", "Package id ")):
        name = f"temp_{label}"
    else:
        name = "_".join(part for part in (chip, label) if part)
    name = name.lower().replace(" ", "_")
    if not name:
        return None
    return name if "temp" in name else f"temp_{name}"


def override_key(path: str, keys: dict[str, dict[str, str]]) -> str | None:
    """The key that fits the path best: whole components before parts of one, then the longest."""
    components = f"{path}/"
    whole = [key for key in keys if f"/{key.strip('/')}/" in components]
    part = [key for key in keys if key in path]
    return max(whole or part, key=len, default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _degrees(file: Path) -> int | None:
    try:
        return int(int(file.read_text()) / 1000)
    except (OSError, ValueError):
        return None
