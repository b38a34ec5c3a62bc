"""Operations of the NFS client (versions 3 and 4) since the last read, from `nfsstat -l --all`.

| metric | kind | unit | value |
|---|---|---|---|
| `nfs3_<op>` (collector `nfs3stat`), `nfs4_<op>` (collector `nfs4stat`) | i64 | – | requests since the last read |

Tag type=node; meta `version` = `v3` or `v4`. `<op>` is what the command prints: total, null, getattr, read, write, commit,
open, close, access, lookup, …

- `nfs4_read` counts requests of an interval; it is no bandwidth (that is `nfsiostat`).
- Only lines of the client count (`nfs v4 client        read:     7`), those of a server on the same node do not.
- An operation that appears later is sent from its second reading on, one that is not printed any more is not sent. A counter
  that went backwards is left out for one round.
- `exclude_metrics` takes the names *without* prefix (`read`).
- Skipped where the command does not exist, fails or prints something that is no number.

Tested on recorded output.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from ccmessage.message import Head, Message, head
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing, metric
from ..commands import find_command

GROUP = "NFS"


class Keys(msgspec.Struct):
    nfsstat: Annotated[str, Meta(description="The command, a path or a name to be found in PATH.")] = "nfsstat"
    exclude_metrics: Annotated[list[str], Meta(description="Operations without prefix (`read`) that are not sent.")] = []


class NfsStat(Collector):
    """Client operations of one version of the protocol."""

    Config = Keys
    version: ClassVar[str]

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._heads: dict[str, Head] = {}

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._argv = [*find_command(self._config.nfsstat), "-l", "--all"]
        try:
            self._last = self._counters()
        except (CommandFailed, ValueError) as error:
            raise SourceMissing(str(error)) from None

    def read(self, now_ns: int, duration: float) -> list[Message]:
        """CommandFailed, ValueError: nothing is sent, and the next differences are those since the last good read."""
        old, self._last = self._last, self._counters()
        return [
            metric(self._heads.get(op) or self._make_head(op), new - old[op], now_ns)
            for op, new in self._last.items()
            if op in old and new >= old[op] and op not in self._config.exclude_metrics
        ]

    def _counters(self) -> dict[str, int]:
        output = self._ctx.run(self._argv, timeout=self._ctx.interval)
        return parse(output.decode("utf-8", "replace"), f"v{self.version}")

    def _make_head(self, op: str) -> Head:
        meta = {"source": f"Nfs{self.version}Collector", "group": GROUP, "version": f"v{self.version}"}
        self._heads[op] = head(f"nfs{self.version}_{op}", {"type": "node"}, meta)
        return self._heads[op]


class Nfs3stat(NfsStat):
    version = "3"


class Nfs4stat(NfsStat):
    version = "4"


def parse(text: str, version: str) -> dict[str, int]:
    """Operation → count of the client's lines. ValueError names a line without a number."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) != 5 or words[1:3] != [version, "client"]:
            continue
        if not words[4].isdigit():
            raise ValueError(f"no number in {line.strip()!r}")
        found[words[3].replace(":", "")] = int(words[4])
    return found
