"""Snapshots of hosts while the store runs (architecture 3, Durability 5 and 6)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import Log

from ..engine import Engine
from ..persist.export import write_json
from ..persist.parts import folder_of
from ..persist.snapshot import path_of, write_snapshot
from ..persist.sync import sync_file_system
from ..persist.wal import Wal, WriteFailed
from ..registry import HostKey, HostView

T = TypeVar("T")
FAILURES = (OSError, PeerError, WriteFailed)
TOGETHER = 64
"""Hosts whose snapshots share the two syncs."""


class _Taken(NamedTuple):
    host: HostKey
    view: HostView
    cut: Future[int]
    life: int


class _Written(NamedTuple):
    host: HostKey
    next_part: int
    tmp: Path
    final: Path
    life: int


class Checkpointer:
    """Knows which hosts have records that no snapshot contains, and takes snapshots. All on the loop."""

    def __init__(
        self, engine: Engine, wal: Wal, root: Path, pool: Pool, *, interval: float, json: bool, log: Log, whole: Callable[[HostKey], bool]
    ) -> None:
        self._engine = engine
        self._wal = wal
        self._root = root
        self._pool = pool
        self._interval = interval
        self._json = json  # file-format json: the same data as `<timestamp>.json` beside each snapshot
        self._log = log
        self._whole = whole
        self._due: dict[HostKey, float] = {}  # hosts with records since their snapshot → when (monotonic)
        self._running: set[HostKey] = set()
        self._lives: dict[HostKey, int] = {}  # counts how often a host was forgotten
        self._numbers = itertools.count()
        self.taken = 0
        self.failed = 0

    @property
    def waiting(self) -> int:
        """Hosts with records that no snapshot contains."""
        return len(self._due)

    def wrote(self, host: HostKey) -> None:
        """A record of the host went to the log. Hosts get their first turn at a random time, so that they stay spread."""
        if host not in self._due:
            self._due[host] = time.monotonic() + self._interval * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def replayed(self, log_bytes: dict[HostKey, int]) -> None:
        """After a start: the longest replays first, a few each second."""
        order = sorted((h for h, n in log_bytes.items() if n), key=lambda h: -log_bytes[h])
        for place, host in enumerate(order):
            self._due[host] = time.monotonic() + place / TOGETHER

    def hurry(self, hosts: Iterable[HostKey]) -> None:
        """Hosts whose log grew above its limit, or whose last write or sync failed."""
        for host in hosts:
            self._due[host] = 0.0

    def forget(self, host: HostKey) -> Future[None]:
        """The engine holds nothing of the host any more: its files go, also a snapshot that is being written."""
        self._due.pop(host, None)
        self._lives[host] = self._lives.get(host, 0) + 1
        return self._wal.forget(host)

    def due(self) -> list[HostKey]:
        now = time.monotonic()
        ready = [h for h, at in self._due.items() if at <= now and h not in self._running and self._whole(h)]
        return sorted(ready, key=lambda h: self._due[h])[:TOGETHER]

    def all(self) -> list[HostKey]:
        """Every host that a stop has to save."""
        return [h for h in self._due if self._whole(h)]

    async def take(self, hosts: Iterable[HostKey]) -> int:
        """Snapshots of these hosts; the number that are safe. A failed one leaves its log parts and is due again."""
        safe = 0
        batch = [h for h in hosts if h not in self._running]
        for at in range(0, len(batch), TOGETHER):
            safe += await self._take(batch[at : at + TOGETHER])
        return safe

    async def _take(self, hosts: list[HostKey]) -> int:
        taken = [t for host in hosts if (t := self._view(host)) is not None]
        self._running.update(t.host for t in taken)
        safe: set[HostKey] = set()
        try:
            written = await self._write(taken)
            if written:
                await self._pool.run(sync_file_system, self._root)
                renamed = [w for w in written if await self._publish(w)]
                await self._pool.run(sync_file_system, self._root)
                for w in renamed:
                    await asyncio.wrap_future(self._wal.supersede(w.host, w.final, w.next_part))
                    safe.add(w.host)
        except FAILURES as e:
            self._log.throttled(10.0, "store.snapshot-failed", error=str(e))
        finally:
            for t in taken:
                t.view.close()
                self._running.discard(t.host)
                if t.host not in safe and self._lives.get(t.host, 0) == t.life:
                    self.failed += 1
                    self._due[t.host] = time.monotonic() + 10.0
        self.taken += len(safe)
        return len(safe)

    def _view(self, host: HostKey) -> _Taken | None:
        """View and cut in one turn of the loop: every sample of the view stands before the cut, every later one behind it."""
        self._due.pop(host, None)
        try:
            view = self._engine.view(host)
        except KeyError:
            return None
        try:
            return _Taken(host, view, self._wal.cut(host), self._lives.get(host, 0))
        except WriteFailed:  # the log is closed: the store is stopping, its parts are for the next start
            view.close()
            return None

    async def _write(self, taken: list[_Taken]) -> list[_Written]:
        now = int(time.time())

        async def one(t: _Taken) -> _Written | None:
            try:
                next_part = await asyncio.wrap_future(t.cut)
                folder = folder_of(self._root, t.host)
                final = await self._pool.run(path_of, folder, now)
                # A name of its own: a stop may give up on a worker that still writes, and no other may get that one's file.
                tmp = final.with_name(f"{final.name}.{next(self._numbers)}.tmp")
                await self._pool.run(write_snapshot, t.view, next_part, tmp, now)
                if self._json:
                    await self._pool.run(write_json, t.view, final.with_suffix(".json"))
            except FAILURES as e:
                self._log.throttled(10.0, "store.snapshot-failed", cluster=t.host.cluster, host=t.host.host, error=str(e))
                return None
            return _Written(t.host, next_part, tmp, final, t.life)

        return [w for w in await asyncio.gather(*(one(t) for t in taken)) if w is not None]

    async def _publish(self, w: _Written) -> bool:
        """A host that was forgotten meanwhile must not come back by its snapshot."""
        if self._lives.get(w.host, 0) != w.life:
            await self._pool.run(_remove, w.tmp)
            return False
        return await asyncio.wrap_future(self._wal.publish(w.host, w.tmp, w.final))


def _remove(tmp: Path) -> None:
    with suppress(OSError):
        tmp.unlink()
        tmp.parent.rmdir()
