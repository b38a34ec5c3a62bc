"""Ends jobs whose stop never came: those that run longer than their walltime and a grace."""

from __future__ import annotations

from collections.abc import Callable

from ccdaemon.log import Log

from cc_backend.db import jobs as rows
from cc_backend.db.database import Database

from .schedule import Daily, Report


class Walltime:
    """They end as `failed` after walltime + grace seconds, and what there is of them is archived (`stopped` wakes the archiver)."""

    name = "walltime"
    when = Daily(3)

    def __init__(self, database: Database, grace: int, archive_grace: int, stopped: Callable[[], None], log: Log) -> None:
        self._database = database
        self._grace = grace
        self._archive_grace = archive_grace
        self._stopped = stopped
        self._log = log

    async def run_once(self, now: int) -> Report:
        count = await self._database.write(lambda conn: rows.end_over_walltime(conn, now, self._grace, self._archive_grace))
        if count:
            self._log.notice("walltime.jobs_ended", jobs=count)
            self._stopped()
        return Report(done=count)
