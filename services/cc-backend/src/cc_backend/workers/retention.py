"""Retention by deleting: old jobs leave the archive and, where configured, the database.

Never touched: running jobs, jobs that wait for the archiver, jobs that are younger. A row goes only when its archive entry has.
"""

from __future__ import annotations

from typing import Final

from ccdaemon.executors import Pool
from ccdaemon.log import Log

from cc_backend.archive import ArchiveBackend, JobKey
from cc_backend.db import jobs as rows
from cc_backend.db.database import Database

from .schedule import Daily, Report

DAY: Final = 86_400
BATCH: Final = 500


class Retention:
    name = "retention"
    when = Daily(3)

    def __init__(
        self,
        database: Database,
        archive: ArchiveBackend,
        archive_pool: Pool,
        *,
        age_days: int,
        omit_tagged: str,
        include_db: bool,
        log: Log,
    ) -> None:
        self._database = database
        self._archive = archive
        self._archive_pool = archive_pool
        self._age = age_days * DAY
        self._omit_tagged = omit_tagged
        self._include_db = include_db
        self._log = log

    async def run_once(self, now: int) -> Report:
        done = failed = last = 0
        while True:
            after = last
            batch = await self._database.read(
                lambda conn, after=after: rows.for_retention(conn, now - self._age, self._omit_tagged, after, BATCH)  # type: ignore[misc]
            )
            if not batch:
                break
            last = batch[-1].id
            keys = {JobKey(row.cluster, row.job_id, row.start_time): row.id for row in batch}
            gone = await self._archive_pool.run(lambda keys=keys: list(self._archive.delete(keys)))  # type: ignore[misc]
            failed += len(keys) - len(gone)
            done += len(gone)
            if self._include_db:
                ids = [keys[key] for key in gone]
                await self._database.write(lambda conn, ids=ids: rows.delete_jobs(conn, ids))  # type: ignore[misc]
        if done or failed:
            self._log.notice("retention.deleted", jobs=done, failed=failed)
        return Report(done=done, failed=failed)
