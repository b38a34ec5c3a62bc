"""Requests and bytes of Lustre clients, from `lctl get_param llite.<device>.stats`.

| metric | kind | unit | value |
|---|---|---|---|
| `lustre_read_requests`, `lustre_write_requests` | i64 | `requests` | samples of `read_bytes`, `write_bytes` |
| `lustre_read_bytes`, `lustre_write_bytes` | i64 | `bytes` | sum of `read_bytes`, `write_bytes` |
| `lustre_open`, `lustre_close`, `lustre_setattr`, `lustre_getattr`, `lustre_statfs`, `lustre_inode_permission` | i64 | – | samples |
| `<each>_diff` | i64 | as above | change since the last read |
| `lustre_read_requests_rate`, `lustre_write_requests_rate` | f64 | `requests/sec` | per second |
| `lustre_read_bw`, `lustre_write_bw` | f64 | `bytes/sec` | per second |

Tags: type=node, `device` (the mount as llite names it, `scratch-ffff8c0123456789`).

- Counters, changes and rates are each sent when their switch is on; with all three off the collector is skipped. The base
  reading is taken at start.
- Lustre prints no line for what never happened: its counter is 0. A line that is missing later, or is too short, repeats the
  last value. A counter that went backwards (the file system was mounted anew) has a change and a rate of 0.
- Mounts are found once, at start. `lctl` is for root only: either the collector runs as root or `use_sudo` is on.
- `exclude_metrics` takes full names.

Tested on recorded output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from ccmessage.message import FieldValue, Head, Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing, metric, node_head
from ..commands import find_command, need_root

SOURCE, GROUP = "LustreCollector", "Lustre"
START, END = "llite.", ".stats="


class Counter(msgspec.Struct, frozen=True):
    """A counter: its metric, the line and the word in it (0 = the name of the line), its unit, the name of its rate if it has one."""

    name: str
    line: str
    word: int
    unit: str = ""
    rate: str = ""


COUNTERS = (
    Counter("lustre_read_requests", "read_bytes", 1, "requests", "lustre_read_requests_rate"),
    Counter("lustre_write_requests", "write_bytes", 1, "requests", "lustre_write_requests_rate"),
    Counter("lustre_read_bytes", "read_bytes", 6, "bytes", "lustre_read_bw"),
    Counter("lustre_write_bytes", "write_bytes", 6, "bytes", "lustre_write_bw"),
    *(Counter(f"lustre_{name}", name, 1) for name in ("open", "close", "setattr", "getattr", "statfs", "inode_permission")),
)


class Keys(msgspec.Struct):
    lctl_command: Annotated[str, Meta(description="Path of lctl; without it, or where it is not there, the one in PATH.")] = ""
    exclude_metrics: Annotated[list[str], Meta(description="Full names of metrics that are not sent.")] = []
    use_sudo: Annotated[bool, Meta(description="Run lctl by sudo.")] = False
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = False
    send_diff_values: Annotated[bool, Meta(description="Send changes, with the suffix `_diff`.")] = False
    send_derived_values: Annotated[bool, Meta(description="Send rates.")] = False


class Device(msgspec.Struct):
    """A mount: last reading of its counters, when, and the heads of what is sent by name of the metric."""

    name: str
    heads: dict[str, Head]
    last: dict[str, int]
    at: float


class Lustrestat(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        wanted = list(self._wanted())
        if not wanted:
            raise SourceMissing("no metrics: switch on send_abs_values, send_diff_values or send_derived_values")
        if not self._config.use_sudo:
            need_root("lctl", "run the collector as root or set use_sudo")
        self._lctl = self._find()
        try:
            found = devices(self._get("*", ctx.interval))
            self._share = ctx.interval / max(len(found), 1)  # all of them together get the interval
            self._devices = [self._opened(name, wanted) for name in found]
        except CommandFailed as error:
            raise SourceMissing(str(error)) from None
        if not self._devices:
            raise SourceMissing("no Lustre file system is mounted")

    def _wanted(self) -> Iterator[tuple[str, str]]:
        """(metric, unit) of all that is to be sent."""
        for counter in COUNTERS:
            choices = (
                (self._config.send_abs_values, counter.name, counter.unit),
                (self._config.send_diff_values, f"{counter.name}_diff", counter.unit),
                (self._config.send_derived_values, counter.rate, f"{counter.unit}/sec"),
            )
            yield from ((name, unit) for on, name, unit in choices if on and name and name not in self._config.exclude_metrics)

    def _find(self) -> list[str]:
        sudo = ["sudo"] if self._config.use_sudo else []
        if self._config.lctl_command:
            try:
                return find_command(self._config.lctl_command, sudo=sudo)
            except SourceMissing as missing:
                self._ctx.log.warning("lustrestat.other_lctl", reason=str(missing), remedy="the one in PATH is taken")
        return find_command("lctl", sudo=sudo)

    def _opened(self, name: str, wanted: list[tuple[str, str]]) -> Device:
        tags = {"device": name}
        device = Device(name, {m: node_head(m, SOURCE, GROUP, unit, tags) for m, unit in wanted}, {}, 0.0)
        self._read(device)
        return device

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for device in self._devices:
            old, before = device.last, device.at
            try:
                self._read(device)
            except CommandFailed as error:
                self._ctx.log.throttled(60, "lustrestat.failed", device=device.name, error=str(error))
                continue
            for counter in COUNTERS:
                for name, value in forms(counter, device.last[counter.name], old[counter.name], device.at - before):
                    if name in device.heads:
                        out.append(metric(device.heads[name], value, now_ns))
        return out

    def _read(self, device: Device) -> None:
        found = parse(self._get(device.name, self._share))
        device.last = {c.name: found.get(c.name, device.last.get(c.name, 0)) for c in COUNTERS}
        device.at = self._ctx.monotonic()

    def _get(self, device: str, timeout: float) -> str:
        return self._ctx.run([*self._lctl, "get_param", f"{START}{device}.stats"], timeout=timeout).decode("utf-8", "replace")


def forms(counter: Counter, new: int, old: int, seconds: float) -> Iterator[tuple[str, FieldValue]]:
    """(metric, value): the counter, its change and its rate, the latter two never negative."""
    yield counter.name, new
    yield f"{counter.name}_diff", max(0, new - old)
    if counter.rate and seconds > 0:
        yield counter.rate, max(0, new - old) / seconds


def devices(text: str) -> list[str]:
    """Mounts that `lctl get_param llite.*.stats` names; a file system may have dots in its name."""
    lines = (line.strip() for line in text.splitlines())
    return [line.removeprefix(START).removesuffix(END) for line in lines if line.startswith(START) and line.endswith(END)]


def parse(text: str) -> dict[str, int]:
    """Metric → counter, of the lines like `read_bytes 127 samples [bytes] 4096 1048576 98765432` that are complete."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        if words := line.split():
            lines.setdefault(words[0], words)
    found = ((c.name, lines.get(c.line, [])[c.word : c.word + 1]) for c in COUNTERS)
    return {name: int(words[0]) for name, words in found if words and words[0].isdigit()}
