"""Tells the metric store which hosts it must not forget: those of running jobs and of jobs that wait for the archiver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cc_backend.db import jobs as rows
from cc_backend.db.database import Database

from .schedule import Every, Report

INTERVAL: Final = 60.0


class Protection:
    name = "protection"
    when = Every(INTERVAL)

    def __init__(self, database: Database, protect: Callable[[Mapping[str, frozenset[str]] | None, int], None]) -> None:
        self._database = database
        self._protect = protect

    async def run_once(self, now: int) -> Report:
        try:
            busy = await self._database.read(rows.busy_hosts)
        except Exception:
            self._protect(None, now)  # "could not ask": the store frees nothing on a guess
            raise
        self._protect({cluster: frozenset(hosts) for cluster, hosts in busy.items()}, now)
        return Report(done=sum(map(len, busy.values())))
