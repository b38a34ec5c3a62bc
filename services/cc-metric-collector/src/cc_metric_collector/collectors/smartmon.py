"""Health of NVMe disks, from `smartctl`.

| metric | unit | value, in `nvme_smart_health_information_log` |
|---|---|---|
| `smartmon_temp` | `degC` | temperature |
| `smartmon_percent_used` | `percent` | percentage_used |
| `smartmon_avail_spare` | `percent` | available_spare |
| `smartmon_data_units_read`, `smartmon_data_units_write` | – | data_units_read, data_units_written |
| `smartmon_host_reads`, `smartmon_host_writes` | – | host_reads, host_writes |
| `smartmon_power_cycles` | – | power_cycles |
| `smartmon_power_on` | `sec` | power_on_hours × 3600 |
| `smartmon_unsafe_shutdowns` | – | unsafe_shutdowns |
| `smartmon_media_errors` | – | media_errors |
| `smartmon_errlog_entries` | – | num_err_log_entries |
| `smartmon_warn_temp_time` | – | warning_temp_time |
| `smartmon_crit_comp_time` | – | critical_comp_time |

Kind i64; tags: type=node, stype=disk, `stype-id` = name of the device.

- Disks are found once, at start, by `smartctl --scan`, or named in `devices`. No disk is no error.
- Only values that the disk reports are sent: a SATA or SAS disk, which has no such log, sends nothing.
- The exit status of smartctl is a bit mask. Bits 0 and 1 (wrong call, disk not opened) make its output unusable for that
  round; the others tell of the disk's state and do not.
- smartctl needs root: either the collector runs as root or `use_sudo` is on.

Tested on recorded output.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing, metric, node_head
from ..commands import find_command

SOURCE, GROUP = "SmartMonCollector", "Disk"
LOG = "nvme_smart_health_information_log"
UNUSABLE = 0b11


class Value(msgspec.Struct, frozen=True):
    """A metric: the key of the log, what it is multiplied with, its unit."""

    key: str
    unit: str = ""
    scale: int = 1


VALUES = {
    "smartmon_temp": Value("temperature", "degC"),
    "smartmon_percent_used": Value("percentage_used", "percent"),
    "smartmon_avail_spare": Value("available_spare", "percent"),
    "smartmon_data_units_read": Value("data_units_read"),
    "smartmon_data_units_write": Value("data_units_written"),
    "smartmon_host_reads": Value("host_reads"),
    "smartmon_host_writes": Value("host_writes"),
    "smartmon_power_cycles": Value("power_cycles"),
    "smartmon_power_on": Value("power_on_hours", "sec", 3600),
    "smartmon_unsafe_shutdowns": Value("unsafe_shutdowns"),
    "smartmon_media_errors": Value("media_errors"),
    "smartmon_errlog_entries": Value("num_err_log_entries"),
    "smartmon_warn_temp_time": Value("warning_temp_time"),
    "smartmon_crit_comp_time": Value("critical_comp_time"),
}


class Device(msgspec.Struct, frozen=True):
    """A disk as smartctl names it."""

    name: Annotated[str, Meta(description="Path of the device.")]
    type: Annotated[str, Meta(description="Its type for smartctl: nvme, sat, scsi.")]


class Scan(msgspec.Struct):
    """Output of `smartctl --scan --json=c`."""

    devices: list[Device] = []


class Keys(msgspec.Struct):
    use_sudo: Annotated[bool, Meta(description="Run smartctl by sudo.")] = False
    exclude_devices: Annotated[list[str], Meta(description="Paths of devices that are left out.")] = []
    exclude_metrics: Annotated[list[str], Meta(description="Full names of metrics that are not sent.")] = []
    old_exclude_metrics: Annotated[list[str], Meta(description="The same as exclude_metrics, in the spelling of the reference.")] = (
        msgspec.field(default_factory=list, name="excludeMetrics")
    )
    devices: Annotated[list[Device], Meta(description="Disks, each with `name` and `type`; without it they are searched.")] = []


class Smartmon(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._excluded = {*config.exclude_metrics, *config.old_exclude_metrics}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        if unknown := sorted(self._excluded - set(VALUES)):
            ctx.log.warning("smartmon.unknown_metrics", names=", ".join(unknown), remedy="correct them in exclude_metrics")
        if set(VALUES) <= self._excluded:
            raise SourceMissing("every metric is excluded")
        self._smartctl = find_command("smartctl", sudo=["sudo"] if self._config.use_sudo else [])
        found = [d for d in self._config.devices or self._scan() if d.name not in self._config.exclude_devices]
        self._devices = [(device, self._heads(device)) for device in found]

    def _scan(self) -> list[Device]:
        try:
            return msgspec.json.decode(self._output(["--scan", "--json=c"], self._ctx.interval), type=Scan).devices
        except (CommandFailed, msgspec.MsgspecError) as error:
            raise SourceMissing(f"search for disks: {error}") from None

    def _heads(self, device: Device) -> dict[str, Head]:
        tags = {"stype": "disk", "stype-id": device.name}
        return {name: node_head(name, SOURCE, GROUP, v.unit, tags) for name, v in VALUES.items() if name not in self._excluded}

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for device, heads in self._devices:
            try:
                found = health(self._output(["--json=c", f"--device={device.type}", "--all", device.name], self._share))
            except (CommandFailed, msgspec.MsgspecError) as error:
                self._ctx.log.throttled(600, "smartmon.failed", device=device.name, error=str(error))
                continue
            out += [metric(heads[name], value, now_ns) for name, value in found.items() if name in heads]
        return out

    @property
    def _share(self) -> float:
        """Seconds that each disk may take: all of them together get the interval."""
        return self._ctx.interval / len(self._devices)

    def _output(self, options: list[str], timeout: float) -> bytes:
        """CommandFailed, also where the exit status says that the output is not usable."""
        try:
            return self._ctx.run([*self._smartctl, *options], timeout=timeout)
        except CommandFailed as error:
            if error.status is None or error.status < 0 or error.status & UNUSABLE:
                raise
            return error.output


def health(output: bytes) -> dict[str, int]:
    """Metric → value of what the output of `smartctl --all --json=c` has. MsgspecError where it is no JSON object."""
    log: Any = msgspec.json.decode(output, type=dict[str, Any]).get(LOG)
    if not isinstance(log, dict):
        return {}
    return {name: log[v.key] * v.scale for name, v in VALUES.items() if isinstance(log.get(v.key), int)}
