"""What the store does by the clock: snapshots, retention, memory cap, cleanup (metric-store 4.5, 4.8, 5.1, 5.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ccdaemon.errors import OperatorError
from ccdaemon.executors import Pool
from ccdaemon.log import Log

from ..engine import Engine
from ..persist.wal import Wal
from ..registry import HostKey
from .archiving import Archiver
from .checkpoints import Checkpointer
from .config import StoreConfig
from .loading import Loader

TURN = 1.0
"""Seconds between two looks at what is due."""
RETENTION_AT_LEAST = 600.0
CAP_CHECK = 30.0
YOUNGEST = 3600
"""Seconds: younger data is not archived for the cap."""


class Tasks:
    """One loop, so that nothing overlaps; each `*_once` may be called by a test."""

    def __init__(
        self, engine: Engine, wal: Wal, loader: Loader, checkpoints: Checkpointer, pool: Pool, config: StoreConfig, *, log: Log
    ) -> None:
        self._engine = engine
        self._wal = wal
        self._loader = loader
        self._checkpoints = checkpoints
        self._pool = pool
        self._config = config
        self._log = log
        self._finish = asyncio.Event()
        self._archiver: Archiver | None = None
        if config.cleanup.mode == "archive":
            self._archiver = Archiver(engine, Path(config.cleanup.directory), pool, whole=loader.whole, log=log)

    async def run(self) -> None:
        """Until `finish`. Nothing is freed or snapshotted before a start has read all files."""
        await self._loader.finished.wait()
        keep = self._config.retention_in_memory
        retention_every = min(RETENTION_AT_LEAST, keep / 2)
        next_retention = next_cap = time.monotonic()
        while not await self._finishing(TURN):
            now = time.monotonic()
            try:
                await self.checkpoints_once()
                if keep > 0 and now >= next_retention:
                    next_retention = now + retention_every
                    await self.retention_once(int(time.time()))
                if now >= next_cap:
                    next_cap = now + CAP_CHECK
                    await self.cap_once(int(time.time()))
            except Exception as e:  # one failing round must not end all later ones
                self._log.error("store.task-failed", error=repr(e))

    def finish(self) -> None:
        """The round that is running is the last one: a snapshot or an archive is not given up half way."""
        self._finish.set()

    async def _finishing(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._finish.wait(), seconds)
        return self._finish.is_set()

    async def checkpoints_once(self) -> None:
        self._checkpoints.hurry(self._wal.take_due())
        due = self._checkpoints.due()
        if due:
            await self._checkpoints.take(due)

    async def prepare(self) -> None:
        """Before the store takes anything. OSError: the archive's folder cannot be read."""
        if self._archiver is not None:
            await self._archiver.prepare()

    async def retention_once(self, now: int) -> None:
        """Frees what has left the window; in mode `archive` what stands in its files of that, which one run in each retention writes."""
        if self._archiver is not None:
            keep = int(self._config.retention_in_memory)
            since = self._archiver.since()
            if since is not None and now - keep - since >= keep:
                await self._archiver.run(now - keep)
        await self._forget(self._engine.retain(now))

    async def cleanup_now(self, now: int) -> tuple[int, int]:
        """One cleanup run with cut-off now - retention, whatever is due: (hosts whose checkpoint shrank or went, rows archived).

        OperatorError: the archive could not be written, and nothing is freed."""
        keep = int(self._config.retention_in_memory)
        if keep <= 0:
            return 0, 0
        if self._archiver is not None and not await self._archiver.run(now - keep):
            raise OperatorError("metric-store.cleanup: the archive could not be written", "see the messages before; nothing was removed")
        before = {host: usage for host in self._engine.hosts() if (usage := self._oldest(host)) is not None}
        await self._forget(self._engine.retain(now))
        left = set(self._engine.hosts())
        changed = [h for h in left if self._oldest(h) != before.get(h)]
        await self._checkpoints.take(changed)
        return len(changed) + len(before.keys() - left), self._archiver.rows if self._archiver is not None else 0

    def _oldest(self, host: HostKey) -> tuple[int, ...] | None:
        with self._engine.view(host) as view:
            return tuple(number for group in view.groups for number, _ in group.tiles[:1]) or None

    async def cap_once(self, now: int) -> None:
        """Down to the cap. In mode `archive` younger and younger data is archived before the cap is reached, until some may go; a tile that
        finds no room takes it then."""
        cap = self._engine.cap
        if self._archiver is not None and self._engine.bytes > cap * 8 // 10 > 0:
            for age in self._ages(now):
                if now - age - (self._archiver.marks.last() or 0) < age // 8:
                    continue  # not a file every half minute
                if self._engine.spare() >= cap // 10 or not await self._archiver.run(now - age):
                    break
        await self._forget(self._engine.fit(now))

    def _ages(self, now: int) -> Iterator[int]:
        """Of the data to be archived for the cap: the retention (without one, all that there is), its half, … down to an hour."""
        oldest = self._engine.usage().oldest
        age = int(self._config.retention_in_memory) if self._config.retention_in_memory > 0 else now - (oldest or now)
        while age >= YOUNGEST:
            yield age
            age //= 2

    async def _forget(self, gone: Iterable[HostKey]) -> None:
        """All are queued in the turn in which the engine let them go, so no sample of a reborn host can come between."""
        for done in [asyncio.wrap_future(self._checkpoints.forget(host)) for host in gone]:
            try:
                await done
            except OSError as e:
                self._log.throttled(60.0, "store.forget-failed", error=str(e))
