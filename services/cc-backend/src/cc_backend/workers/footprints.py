"""Footprints of running jobs, from the metric store's statistics."""

from __future__ import annotations

from typing import Final

from ccdaemon.errors import PeerError
from ccdaemon.log import Log
from ccschema.jobs import JobStatistics

from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as rows
from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs.footprint import footprint
from cc_backend.metrics.dispatch import Dispatcher

from .schedule import Every, Report

MIN_DURATION: Final = 600
"""Seconds a job must have run."""


class Footprints:
    name = "footprints"

    def __init__(self, database: Database, catalogue: Catalogue, dispatcher: Dispatcher, interval: float, log: Log) -> None:
        self.when = Every(interval)
        self._database = database
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._log = log

    async def run_once(self, now: int) -> Report:
        """One cluster after the other; the footprints of a cluster are written in one transaction. Jobs without data keep theirs."""
        done = failed = 0
        for cluster in self._catalogue.names():
            found, lost = await self._of_cluster(cluster, now)
            done, failed = done + len(found), failed + lost

            if found:
                await self._database.write(lambda conn, found=found: rows.set_footprints(conn, found))  # type: ignore[misc]
        return Report(done=done, failed=failed)

    async def _of_cluster(self, cluster: str, now: int) -> tuple[dict[int, dict[str, float]], int]:
        jobs = await self._database.read(lambda conn: rows.running_jobs(conn, cluster=cluster, now=now, min_duration=MIN_DURATION))
        found: dict[int, dict[str, float]] = {}
        failed = 0
        for job in jobs:
            if not job.monitoring_status:
                continue
            try:
                numbers = await self._dispatcher.job_statistics(job, None)
                sub = self._catalogue.subcluster(cluster, job.sub_cluster)
            except (PeerError, NotFound) as e:
                failed += 1
                self._log.throttled(60, "footprint.no_data", job=job.id, reason=str(e))
                continue
            if numbers:
                statistics = {name: JobStatistics(avg=n.avg, min=n.min, max=n.max) for name, n in numbers.items()}
                found[job.id] = footprint(statistics, sub)
        return found, failed
