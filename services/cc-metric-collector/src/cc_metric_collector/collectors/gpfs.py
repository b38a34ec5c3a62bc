"""Requests and bytes of GPFS (Spectrum Scale) file systems, from `mmpmon -p -s` (`fs_io_s`).

| counter | value (i64) | change (i64) | rate (f64) | unit |
|---|---|---|---|---|
| opens | `gpfs_num_opens` | `gpfs_num_opens_diff` | `gpfs_opens_rate` | `requests` |
| closes | `gpfs_num_closes` | `gpfs_num_closes_diff` | `gpfs_closes_rate` | `requests` |
| reads | `gpfs_num_reads` | `gpfs_num_reads_diff` | `gpfs_reads_rate` | `requests` |
| writes | `gpfs_num_writes` | `gpfs_num_writes_diff` | `gpfs_writes_rate` | `requests` |
| readdirs | `gpfs_num_readdirs` | `gpfs_num_readdirs_diff` | `gpfs_readdirs_rate` | `requests` |
| inode updates | `gpfs_num_inode_updates` | `gpfs_num_inode_updates_diff` | `gpfs_inode_updates_rate` | `requests` |
| bytes read | `gpfs_bytes_read` | `gpfs_bytes_read_diff` | `gpfs_bw_read` | `bytes` |
| bytes written | `gpfs_bytes_written` | `gpfs_bytes_written_diff` | `gpfs_bw_write` | `bytes` |
| bytes, both | `gpfs_bytes_total` | `gpfs_bytes_total_diff` | `gpfs_bw_total` | `bytes` |
| reads and writes | `gpfs_iops` | `gpfs_iops_diff` | `gpfs_iops_rate` | `requests` |
| opens, closes, readdirs, inode updates | `gpfs_metaops` | `gpfs_metaops_diff` | `gpfs_metaops_rate` | `requests` |

Rates are in `requests/sec` and `bytes/sec`. Tags: type=node, `filesystem`. The time is that of the reading in mmpmon.

- The columns are sent by `send_abs_values`, `send_diff_values` and `send_derived_values`, the last three rows only with
  `send_total_values` too. `send_bandwidths` sends the three bandwidths whatever the others say.
- A file system has changes and rates from its second reading on. A counter that went backwards has a change and a rate of 0;
  one that is missing repeats its last value.
- A file system that mmpmon reports with an error (`_rc_` not 0), and a line that is none of its pairs, is left out.
- `mmpmon` is for root only: either the collector runs as root or `use_sudo` is on, with an absolute `mmpmon_path`.

Tested on recorded output.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from ccmessage.message import FieldValue, Head, Message
from msgspec import Meta

from ..base import Collector, Context, SourceMissing, metric, node_head
from ..commands import find_command, need_root

SOURCE, GROUP = "GpfsCollector", "GPFS"
REQUEST = b"once fs_io_s\n"
START = "_fs_io_s_"


class Counter(msgspec.Struct, frozen=True):
    """A row of the table: the words of mmpmon it adds up, its metrics, its unit."""

    words: tuple[str, ...]
    name: str
    rate: str
    unit: str = "requests"

    @property
    def total(self) -> bool:
        return len(self.words) > 1


COUNTERS = (
    Counter(("_oc_",), "gpfs_num_opens", "gpfs_opens_rate"),
    Counter(("_cc_",), "gpfs_num_closes", "gpfs_closes_rate"),
    Counter(("_rdc_",), "gpfs_num_reads", "gpfs_reads_rate"),
    Counter(("_wc_",), "gpfs_num_writes", "gpfs_writes_rate"),
    Counter(("_dir_",), "gpfs_num_readdirs", "gpfs_readdirs_rate"),
    Counter(("_iu_",), "gpfs_num_inode_updates", "gpfs_inode_updates_rate"),
    Counter(("_br_",), "gpfs_bytes_read", "gpfs_bw_read", "bytes"),
    Counter(("_bw_",), "gpfs_bytes_written", "gpfs_bw_write", "bytes"),
    Counter(("_br_", "_bw_"), "gpfs_bytes_total", "gpfs_bw_total", "bytes"),
    Counter(("_rdc_", "_wc_"), "gpfs_iops", "gpfs_iops_rate"),
    Counter(("_oc_", "_cc_", "_dir_", "_iu_"), "gpfs_metaops", "gpfs_metaops_rate"),
)
WORDS = tuple(counter.words[0] for counter in COUNTERS if not counter.total)


class Keys(msgspec.Struct):
    mmpmon_path: Annotated[str, Meta(description="The command, a path or a name to be found in PATH; absolute with use_sudo.")] = "mmpmon"
    exclude_filesystem: Annotated[list[str], Meta(description="File systems that are left out.")] = []
    exclude_metrics: Annotated[list[str], Meta(description="Full names of metrics that are not sent.")] = []
    use_sudo: Annotated[bool, Meta(description="Run mmpmon by sudo.")] = False
    send_abs_values: Annotated[bool, Meta(description="Send the counters.")] = False
    send_diff_values: Annotated[bool, Meta(description="Send changes since the last read, with the suffix `_diff`.")] = False
    send_derived_values: Annotated[bool, Meta(description="Send rates.")] = False
    send_total_values: Annotated[bool, Meta(description="Send sums (bytes, iops, metaops) too, of what the other switches select.")] = False
    send_bandwidths: Annotated[bool, Meta(description="Send gpfs_bw_read, gpfs_bw_write and gpfs_bw_total in any case.")] = False


class Reading(msgspec.Struct, frozen=True):
    """A line of mmpmon: counters by word, its time in ns."""

    filesystem: str
    counters: dict[str, int]
    time_ns: int


class Gpfs(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._last: dict[str, Reading] = {}
        self._heads: dict[str, dict[str, Head]] = {}  # of a file system, by metric

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._wanted = dict(self._choose())
        if not self._wanted:
            raise SourceMissing("no metrics: switch on one of the keys that begin with send_")
        if not self._config.use_sudo:
            need_root("mmpmon", "run the collector as root or set use_sudo")
        elif not Path(self._config.mmpmon_path).is_absolute():
            raise SourceMissing("mmpmon_path must be absolute with use_sudo")
        self._argv = [*find_command(self._config.mmpmon_path, sudo=["sudo"] if self._config.use_sudo else []), "-p", "-s"]

    def _choose(self) -> Iterator[tuple[str, str]]:
        """(metric, unit) of all that is to be sent."""
        keys = self._config
        for counter in COUNTERS:
            row = keys.send_total_values or not counter.total
            bandwidth = keys.send_bandwidths and counter.unit == "bytes"
            choices = (
                (row and keys.send_abs_values, counter.name, counter.unit),
                (row and keys.send_diff_values, f"{counter.name}_diff", counter.unit),
                ((row and keys.send_derived_values) or bandwidth, counter.rate, f"{counter.unit}/sec"),
            )
            yield from ((name, unit) for on, name, unit in choices if on and name not in keys.exclude_metrics)

    def read(self, now_ns: int, duration: float) -> list[Message]:
        """CommandFailed: nothing is sent."""
        text = self._ctx.run(self._argv, timeout=self._ctx.interval, stdin=REQUEST).decode("utf-8", "replace")
        out: list[Message] = []
        for line in text.splitlines():
            if not line.startswith(START):
                continue
            try:
                found = parse(line)
            except ValueError as error:
                self._ctx.log.throttled(600, "gpfs.left_out", reason=str(error))
                continue
            if found.filesystem not in self._config.exclude_filesystem:
                out += self._messages(found)
        return out

    def _messages(self, now: Reading) -> list[Message]:
        heads = self._heads.get(now.filesystem) or self._make_heads(now.filesystem)
        old = self._last.get(now.filesystem)
        if old is not None:
            now = msgspec.structs.replace(now, counters={**old.counters, **now.counters})
        self._last[now.filesystem] = now
        return [
            metric(heads[name], value, now.time_ns) for counter in COUNTERS for name, value in values(counter, now, old) if name in heads
        ]

    def _make_heads(self, filesystem: str) -> dict[str, Head]:
        tags = {"filesystem": filesystem}
        self._heads[filesystem] = {name: node_head(name, SOURCE, GROUP, unit, tags) for name, unit in self._wanted.items()}
        return self._heads[filesystem]


def values(counter: Counter, now: Reading, old: Reading | None) -> Iterator[tuple[str, FieldValue]]:
    """(metric, value): the counter, and with an older reading its change and its rate, never negative."""
    if not all(word in now.counters for word in counter.words):
        return
    new = sum(now.counters[word] for word in counter.words)
    yield counter.name, new
    if old is None or not all(word in old.counters for word in counter.words):
        return
    change = max(0, new - sum(old.counters[word] for word in counter.words))
    yield f"{counter.name}_diff", change
    if now.time_ns > old.time_ns:
        yield counter.rate, change / ((now.time_ns - old.time_ns) / 1e9)


def parse(line: str) -> Reading:
    """A line `_fs_io_s_ _n_ 10.0.0.1 … _rc_ 0 _t_ 1700000000 _tu_ 5 … _fs_ home … _oc_ 17 …`. ValueError: not usable."""
    words = line.split()[1:]
    pairs = dict(zip(words[::2], words[1::2], strict=False))  # a key without a value at the end is none
    name = pairs.get("_fs_")
    if not name:
        raise ValueError(f"no file system in {line[:200]!r}")
    if pairs.get("_rc_", "0") != "0":
        raise ValueError(f"mmpmon reports {pairs['_rc_']} for {name}")
    try:
        time_ns = int(pairs["_t_"]) * 1_000_000_000 + int(pairs["_tu_"]) * 1000
    except (KeyError, ValueError):
        raise ValueError(f"no time for {name}") from None
    return Reading(name, {word: int(pairs[word]) for word in WORDS if pairs.get(word, "").isdigit()}, time_ns)
