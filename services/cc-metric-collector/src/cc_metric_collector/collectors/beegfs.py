"""Operations of a BeeGFS on demand, from `beegfs-ctl --clientstats`.

| metric | kind | unit | value |
|---|---|---|---|
| `beegfs_cmeta_<op>` (collector `beegfs_meta`) | f64 | – | operations of the metadata servers, as the command prints their sum |
| `beegfs_cstorage_<op>` (collector `beegfs_storage`) | f64 | – | operations of the storage servers |
| `…_other` | f64 | – | sum of the operations in `exclude_metrics`; only when there are any |

Tags: type=node, `filesystem` = mount point.

- Mount points are looked up in every round: those in `/proc/mounts` whose device contains `beegfs_ondemand`. None is no error.
- `<op>` is what the line `Sum:` of the command names. Metadata: sum ack close entInf fndOwn mkdir create rddir refrEnt mdsInf
  rmdir rmLnk mvDirIns mvFiIns open ren sChDrct sAttr sDirPat stat statfs trunc symlnk unlnk lookLI statLI revalLI openLI
  createLI hardlnk flckAp flckEn flckRg dirparent listXA getXA rmXA setXA mirror. Storage: sum ack sChDrct getFSize sAttr statfs
  trunc close fsync ops-rd MiB-rd/s ops-wr MiB-wr/s gendbg hrtbeat remNode storInf unlnk. In `exclude_metrics` `refrEn` and
  `refrEnt` are the same.
- `beegfs-ctl` is for root only. A file system whose command fails is left out for that round.

Tested on recorded output.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import msgspec
from ccmessage.message import Head, Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, metric, node_head
from ..commands import find_command, need_root

MOUNTS = "/proc/mounts"
MARK = "beegfs_ondemand"
OTHER = "other"
SUM = re.compile(r"^Sum:\s+[0-9]+\s+\[[a-zA-Z]+\].*$", re.MULTILINE)
PAIR = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s+\[([^\]\s]+)\]")
SAME = {"refrEn", "refrEnt"}  # the name in older descriptions, the one the command prints


class Keys(msgspec.Struct):
    beegfs_path: Annotated[str, Meta(description="The command, a path or a name to be found in PATH.")] = "beegfs-ctl"
    exclude_filesystem: Annotated[list[str], Meta(description="Mount points that are left out.")] = []
    exclude_metrics: Annotated[list[str], Meta(description="Operations (`ack`) that are not sent by name but summed up as `other`.")] = []


class Beegfs(Collector):
    """Operations of one kind of servers."""

    Config = Keys
    nodes: ClassVar[str]
    source: ClassVar[str]
    group: ClassVar[str]

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._excluded = set(config.exclude_metrics)
        if self._excluded & SAME:
            self._excluded |= SAME
        self._heads: dict[tuple[str, str], Head] = {}

    def open(self, ctx: Context) -> None:
        need_root("beegfs-ctl", "run the collector as root")
        self._ctx = ctx
        self._argv = [*find_command(self._config.beegfs_path), "--clientstats", f"--nodetype={self.nodes}"]

    def read(self, now_ns: int, duration: float) -> list[Message]:
        mounts = [m for m in mount_points(self._ctx.read(MOUNTS)) if m not in self._config.exclude_filesystem]
        out: list[Message] = []
        for mount in mounts:
            try:
                values = self._operations(mount, self._ctx.interval / len(mounts))
            except CommandFailed as error:
                self._ctx.log.throttled(60, "beegfs.failed", filesystem=mount, error=str(error))
                continue
            out += [metric(self._head(mount, op), value, now_ns) for op, value in self._summed(values).items()]
        return out

    def _operations(self, mount: str, timeout: float) -> dict[str, float]:
        argv = [*self._argv, f"--mount={mount}", "--allstats"]
        # The command shows the statistics anew after each Enter; the end of its input ends it.
        return parse(self._ctx.run(argv, timeout=timeout, stdin=b"\n").decode("utf-8", "replace"))

    def _summed(self, values: dict[str, float]) -> dict[str, float]:
        named = {op: value for op, value in values.items() if op not in self._excluded}
        if values and self._excluded:
            named[OTHER] = sum(value for op, value in values.items() if op in self._excluded)
        return named

    def _head(self, mount: str, op: str) -> Head:
        found = self._heads.get((mount, op))
        if found is None:
            found = node_head(f"beegfs_c{self.nodes}_{op}", self.source, self.group, "", {"filesystem": mount})
            self._heads[mount, op] = found
        return found


class BeegfsMeta(Beegfs):
    nodes, source, group = "meta", "BeegfsMetaCollector", "BeegfsMeta"


class BeegfsStorage(Beegfs):
    nodes, source, group = "storage", "BeegfsStorageCollector", "BeegfsStorage"


def mount_points(text: str) -> list[str]:
    """Mount points of the file systems on demand."""
    lines = (line.split() for line in text.splitlines())
    return [words[1].replace("\\040", " ") for words in lines if len(words) > 1 and MARK in words[0]]


def parse(text: str) -> dict[str, float]:
    """Operation → value of the first line `Sum:  12 [sum] 3 [open] 4 [close]`; nothing without such a line."""
    line = SUM.search(text)
    return {op: float(number) for number, op in PAIR.findall(line[0])} if line else {}
