"""Cleanup in mode `archive`: what leaves the retention stands in a Parquet file before it is freed (metric-store 4.8, 4.9)."""

from __future__ import annotations

from pathlib import Path

from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import Log

from ..engine import Engine
from ..persist.parquet import Archive, marks, remove_leftovers
from ..registry import HostKey

BEGIN_OF_TIME = -(2**62)


class Archiver:
    """`run` on the loop; views are taken there, files are written by the pool, one host at a time."""

    def __init__(self, engine: Engine, directory: Path, pool: Pool, *, log: Log) -> None:
        self._engine = engine
        self._directory = directory
        self._pool = pool
        self._log = log
        self._marks: dict[HostKey, int] | None = None
        self.rows = 0
        self.failed = 0

    async def prepare(self) -> None:
        """What is archived already. OSError."""
        if self._marks is None:
            await self._pool.run(remove_leftovers, self._directory)
            found = await self._pool.run(marks, self._directory)
            self._marks = {HostKey(*key): until for key, until in found.items()}

    def last(self) -> int | None:
        """The newest cut-off of any file; None: nothing is archived."""
        return max(self._marks.values(), default=None) if self._marks else None

    async def run(self, cutoff: int) -> bool:
        """Everything before `cutoff` that is not archived yet. False: some cluster failed, and nothing may be freed."""
        await self.prepare()
        failed = []
        by_cluster: dict[str, list[HostKey]] = {}
        for host in self._engine.hosts():
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
        assert self._marks is not None
        archive = Archive(self._directory, cluster, cutoff)
        try:
            for host in hosts:
                since = self._marks.get(host, BEGIN_OF_TIME)
                try:
                    view = self._engine.view(host)
                except KeyError:
                    continue  # gone since the list was made
                try:
                    if since < cutoff:
                        await self._pool.run(archive.add, view, since)
                finally:
                    view.close()
            written = await self._pool.run(archive.close)
        except BaseException:
            await self._pool.run(archive.abandon)
            raise
        self.rows += archive.rows
        for host in hosts:
            self._marks[host] = max(self._marks.get(host, cutoff), cutoff)
        if written:
            self._log.info("store.archived", cluster=cluster, file=str(archive.path), rows=archive.rows, hosts=len(hosts))
