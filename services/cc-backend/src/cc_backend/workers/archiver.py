"""Archives ended jobs: data, statistics, footprint, energy, tags; then the row says it is archived.

A job is due some time after its end (`jobs.lifecycle.archive_after`), when its last samples have come; until then its pages read the store.

The queue is the rows themselves (ended, monitoring status 1): it survives a kill -9 at any point. A job that was written to the
archive but not marked is simply written again. Failures are repeated with growing pauses, then the status is 2.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
from ccdaemon.errors import InputError, PeerError
from ccdaemon.executors import Pool
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccschema.archive import encode_data, encode_meta
from ccschema.jobs import Job, Tag
from ccschema.scopes import Scope

from cc_backend.archive import ArchiveBackend, JobKey
from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as rows
from cc_backend.db import tags as tag_rows
from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs.footprint import energy, footprint, job_statistics
from cc_backend.metrics import shape
from cc_backend.metrics.dispatch import Dispatcher

from .schedule import Every, Report

AT_ONCE: Final = 4
CORE_SCOPE_UP_TO: Final = 8  # nodes
PAUSES: Final = (30, 120, 600, 3600)
"""Seconds before the next try after the first, second … failure; after the last the job is given up."""
SAFETY_INTERVAL: Final = 30.0
"""How often the rows are looked through even if nobody calls `wake` and no job is known to become due (somebody else wrote rows)."""

NOT_READY_INTERVAL: Final = 0.5


class NoData(Exception):
    """No source has anything of the job."""


class Archiver:
    """A Worker and a Part: `wake` after each stop, else every SAFETY_INTERVAL seconds."""

    name = "archiver"
    when = Every(SAFETY_INTERVAL)

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        archive: ArchiveBackend,
        archive_pool: Pool,
        dispatcher: Dispatcher,
        ledger: Ledger,
        log: Log,
        ready: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ready`: whether the metric store has loaded everything; a store that is still reading would give a part as the whole."""
        self._database = database
        self._catalogue = catalogue
        self._archive = archive
        self._archive_pool = archive_pool
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._log = log
        self._ready = ready
        self._clock = clock
        self._wake = asyncio.Event()
        self._busy: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def wake(self, _job: Job | None = None) -> None:
        self._wake.set()

    async def start(self) -> None:
        """Jobs that a crash left behind are the first."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)
        self.wake()

    async def stop(self, deadline: float) -> None:
        """What is not done by then is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=deadline)

    async def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            pause = SAFETY_INTERVAL
            try:
                while (await self.run_once(int(self._clock()))).done:
                    pass
                pause = await self._pause()
            except Exception as e:
                self._log.bug("BUG: archiver", e)

    async def _pause(self) -> float:
        """Seconds until a job becomes due."""
        if not self._ready():
            return NOT_READY_INTERVAL
        due = await self._database.read(rows.next_archive_time)
        return SAFETY_INTERVAL if due is None else min(SAFETY_INTERVAL, max(0.1, due - self._clock()))

    async def run_once(self, now: int) -> Report:
        """Archive what is due, AT_ONCE jobs side by side; how many were tried (a batch at most) and how many failed."""
        if not self._ready():
            return Report()
        due = await self._database.read(lambda conn: rows.due_for_archive(conn, now, 50 * AT_ONCE, self._busy))
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(job: Job) -> bool:
            async with limit:
                return await self._try(job, now)

        results = await asyncio.gather(*(one(job) for job in due))
        return Report(done=len(results), failed=results.count(False))

    async def _try(self, job: Job, now: int) -> bool:
        self._busy.add(job.id)
        self._ledger.took(1)
        try:
            await self.archive(job)
        except Exception as e:
            if not isinstance(e, NoData | NotFound | PeerError | OSError | InputError | ValueError):
                self._log.bug("BUG: archiving", e, job=job.id)
            self._ledger.refused("failed", 1)
            await self._failed(job, now, str(e))
            return False
        finally:
            self._busy.discard(job.id)
        self._ledger.gave(1)
        return True

    async def _failed(self, job: Job, now: int, reason: str) -> None:
        again = await self._database.write(lambda conn: rows.archive_failed(conn, job.id, now, PAUSES))
        level = self._log.error if again is None else self._log.warning
        level(
            "archiving.failed",
            job=job.id,
            cluster=job.cluster,
            job_id=job.job_id,
            reason=reason,
            again_in=again - now if again else "never",
        )

    async def archive(self, job: Job) -> None:
        """Archive one job; raises what went wrong. Everything is final before `meta.json` is written."""
        cluster = self._catalogue.get(job.cluster)
        sub = self._catalogue.subcluster(job.cluster, job.sub_cluster)
        data = await self._load(job)
        if not data:
            raise NoData("no metric data")
        tags = (await self._database.read(lambda conn: tag_rows.tags_of(conn, None, [job.id]))).get(job.id, [])

        def write() -> tuple[dict[str, float], dict[str, float], float]:
            statistics = job_statistics(data, cluster)
            prints = footprint(statistics, sub)
            parts, total = energy(job, data, statistics, sub)
            meta = msgspec.structs.replace(
                job,
                statistics=statistics,
                footprint=prints,
                energy_footprint=parts,
                energy=total,
                tags=[Tag(type=t.type, name=t.name, scope=t.scope) for t in tags],
                monitoring_status=3,
            )
            self._archive.write(JobKey(job.cluster, job.job_id, job.start_time), encode_meta(meta), encode_data(shape.to_document(data)))
            return prints, parts, total

        prints, parts, total = await self._archive_pool.run(write)
        if not await self._database.write(lambda conn: rows.archived(conn, job.id, prints, parts, total)):
            self._log.notice("archiving.row_gone", job=job.id)

    async def _load(self, job: Job) -> shape.JobData:
        """Native resolution: node for every metric, core for few nodes, accelerators of metrics that are measured there."""
        scopes = [Scope.NODE]
        if job.num_nodes <= CORE_SCOPE_UP_TO:
            scopes.append(Scope.CORE)
        data = await self._dispatcher.job_data(job, None, scopes, 0)
        if job.num_acc > 0:
            sub = self._catalogue.subcluster(job.cluster, job.sub_cluster)
            names = [metric.name for metric in sub.metric_config if metric.scope is Scope.ACCELERATOR]
            more = await self._dispatcher.job_data(job, names, [Scope.NODE, Scope.ACCELERATOR], 0) if names else {}
            data = {**data, **{name: {**data.get(name, {}), **by_scope} for name, by_scope in more.items()}}
        return data
