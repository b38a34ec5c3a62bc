"""Cleanup in mode `archive`: what leaves the retention stands in a Parquet file before it is freed (metric-store 4.8, 4.9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import Log

from ..engine import Engine
from ..persist.parquet import Archive, marks, remove_leftovers
from ..policy import Marks
from ..registry import HostKey


class Archiver:
    """`run` on the loop; views are taken there, files are written by the pool, one host at a time."""

    def __init__(self, engine: Engine, directory: Path, pool: Pool, *, whole: Callable[[HostKey], bool], log: Log) -> None:
        """whole: whether memory holds all that the host's files do; of one that a cap cut off at the start nothing is archived or freed."""
        self._engine = engine
        self._directory = directory
        self._pool = pool
        self._whole = whole
        self._log = log
        self.marks = Marks({})
        self.rows = 0
        self.failed = 0

    async def prepare(self) -> None:
        """What is archived already: known before the first sample is taken. OSError."""
        await self._pool.run(remove_leftovers, self._directory)
        found = await self._pool.run(marks, self._directory)
        self.marks = Marks({HostKey(*key): until for key, until in found.items()})
        self._engine.archive(self.marks)

    def since(self) -> int | None:
        """From when on some host waits for the archive; None: there is nothing."""
        hosts = filter(self._whole, self._engine.hosts())
        return min((max(self.marks.archived(h), self._engine.oldest(h)) for h in hosts), default=None)

    async def run(self, cutoff: int) -> bool:
        """Everything before `cutoff` that is not archived yet. False: some cluster failed, and nothing of it may go."""
        failed = []
        by_cluster: dict[str, list[HostKey]] = {}
        for host in filter(self._whole, self._engine.hosts()):
            by_cluster.setdefault(host.cluster, []).append(host)
        for cluster, hosts in by_cluster.items():
            try:
                await self._cluster(cluster, sorted(hosts, key=lambda h: h.host.encode()), cutoff)
            except (OSError, PeerError) as e:
                failed.append(cluster)
                self._log.error("store.archive-failed", cluster=cluster, error=str(e))
        if failed:
            self.failed += 1
            self._log.error(f"archiving failed for clusters: {', '.join(sorted(failed))}")
        return not failed

    async def _cluster(self, cluster: str, hosts: list[HostKey], cutoff: int) -> None:
        archive = Archive(self._directory, cluster, cutoff)
        begun: list[HostKey] = []
        try:
            for host in hosts:
                since = self.marks.archived(host)
                if since >= cutoff:
                    continue
                try:
                    view = self._engine.view(host)
                except KeyError:
                    continue  # gone since the list was made
                with view:
                    begun.append(host)
                    self.marks.begin([host], cutoff)
                    await self._pool.run(archive.add, view, since)
            written = await self._pool.run(archive.close)
        except BaseException:
            self.marks.give_up(begun)
            await self._pool.run(archive.abandon)
            raise
        self.rows += archive.rows
        self.marks.done(begun, cutoff)
        if written:
            self._log.info("store.archived", cluster=cluster, file=str(archive.path), rows=archive.rows, hosts=len(hosts))
