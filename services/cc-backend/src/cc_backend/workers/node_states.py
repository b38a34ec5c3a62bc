"""Deletes old states of nodes; the newest of each node stays."""

from __future__ import annotations

from cc_backend.db.database import Database
from cc_backend.db.nodes import delete_states

from .schedule import Daily, Report


class NodeStateRetention:
    name = "node states"
    when = Daily(2)

    def __init__(self, database: Database, age_hours: int) -> None:
        self._database = database
        self._age = (age_hours if age_hours > 0 else 24) * 3600

    async def run_once(self, now: int) -> Report:
        return Report(done=await self._database.write(lambda conn: delete_states(conn, now - self._age)))
