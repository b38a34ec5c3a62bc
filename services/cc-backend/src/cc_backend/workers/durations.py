"""Stores the duration of running jobs, for filters and sorting."""

from __future__ import annotations

from cc_backend.db import jobs as rows
from cc_backend.db.database import Database

from .schedule import Every, Report


class Durations:
    name = "durations"

    def __init__(self, database: Database, interval: float) -> None:
        self.when = Every(interval)
        self._database = database

    async def run_once(self, now: int) -> Report:
        return Report(done=await self._database.write(lambda conn: rows.refresh_durations(conn, now)))
