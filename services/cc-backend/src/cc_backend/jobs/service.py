"""What is done to jobs: start, stop, delete, tag, edit. REST and NATS differ only in who answers.

Each operation is one transaction; hooks run after its commit. Nothing here waits for the archiver: the stopped row is its queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from ccdaemon.errors import InputError
from ccdaemon.executors import Pool
from ccdaemon.log import Log
from ccschema.jobs import Job, Tag
from sqlalchemy import Connection

from cc_backend.access import SYSTEM, Identity, Right, Visibility, may, require, visibility
from cc_backend.archive import ArchiveBackend, JobKey, Missing, codec
from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as rows
from cc_backend.db import tags as tag_rows
from cc_backend.db.database import Database
from cc_backend.errors import Duplicate, NotFound

from .lifecycle import Insert, Known, StopRequest, archive_after, checked, decide_start, decide_stop

NO_JOB = "no such job"
"""One text for jobs that do not exist and jobs that are not the caller's to see."""


class Hooks(msgspec.Struct):
    """Called after the commit, on the loop; they must not block. `stopped` wakes the archiver."""

    started: list[Callable[[Job], None]] = []
    stopped: list[Callable[[Job], None]] = []


class JobService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        archive: ArchiveBackend,
        archive_pool: Pool,
        log: Log,
        hooks: Hooks | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.catalogue = catalogue
        self.hooks = hooks or Hooks()
        self._archive = archive
        self._archive_pool = archive_pool
        self._log = log
        self._clock = clock

    # --- life cycle ---------------------------------------------------------------------------------------------------

    async def start(self, job: Job, by: Identity) -> int:
        """Register a running job; its database id. Raises InputError, Duplicate; Denied for tags `by` may not attach (the job stays)."""
        now = int(self._clock())
        job = checked(job, self.catalogue)
        job = msgspec.structs.replace(job, job_state="running", duration=max(0, min(now - job.start_time, 2**31 - 1)))
        tags = [(tag, tag.scope or "global") for tag in job.tags]
        allowed = [(tag, scope) for tag, scope in tags if may(by, Right.WRITE_TAG, scope)]

        def insert(conn: Connection) -> int:
            known = [_known(row) for row in rows.same_job_rows(conn, job.job_id, job.cluster)]
            match decide_start(job, known):
                case Insert(new):
                    db_id = rows.insert_job(conn, new)
                case Duplicate() as duplicate:
                    raise duplicate
            for tag, scope in allowed:
                tag_rows.attach(conn, db_id, tag_rows.ensure_tag(conn, *_tag_words(tag), scope, now), now)
            return db_id

        db_id = await self.database.write(insert)
        self._log.info(
            f"new job (id: {db_id}): cluster={job.cluster}, jobId={job.job_id}, user={job.user}, startTime={job.start_time}",
        )
        started = msgspec.structs.replace(job, id=db_id)
        for hook in self.hooks.started:
            hook(started)
        for _, scope in tags:
            require(by, Right.WRITE_TAG, scope)
        return db_id

    async def stop(self, stop: StopRequest) -> Job:
        """End a running job; the job as it is then. Raises NotFound, AlreadyStopped, InputError."""
        now = int(self._clock())
        _check_ids(stop.job_id, stop.start_time, stop.stop_time)

        def end(conn: Connection) -> Job:
            found = rows.same_job_rows(conn, stop.job_id, stop.cluster, stop.start_time)
            decision = decide_stop(stop, [_known(row) for row in found])
            row = next(row for row in found if row.id == decision.db_id)
            due = archive_after(stop.stop_time, now, self._timesteps(row.cluster, row.subcluster))
            # One transaction, and the row must still run: a stop never touches another job.
            if not rows.end_job(conn, decision.db_id, decision.state, decision.duration, due):
                raise NotFound(NO_JOB)
            return _found(rows.job_by_id(conn, visibility(SYSTEM), decision.db_id, now=now))

        job = await self.database.write(end)
        if job.monitoring_status:
            self._log.info(
                f"archiving job... (dbid: {job.id}): cluster={job.cluster}, jobId={job.job_id}, user={job.user}, "
                f"startTime={job.start_time}, duration={job.duration}, state={job.job_state}",
            )
        for hook in self.hooks.stopped:
            hook(job)
        return msgspec.structs.replace(job, meta_data=None)

    def _timesteps(self, cluster: str, sub_cluster: str) -> list[int]:
        """Of the metrics of a subcluster; of none where it is in the catalogue no more."""
        config = self.catalogue.find(cluster)
        subs = config.sub_clusters if config is not None else ()
        return [metric.timestep for sub in subs if sub.name == sub_cluster for metric in sub.metric_config]

    # --- finding ------------------------------------------------------------------------------------------------------

    async def job(self, see: Visibility, db_id: int) -> Job:
        """The job with metadata and readable tags; NotFound."""

        def read(conn: Connection) -> Job:
            job = _found(rows.job_by_id(conn, see, _check_id(db_id), now=int(self._clock())))
            return msgspec.structs.replace(job, tags=tag_rows.tags_of(conn, see, [db_id]).get(db_id, []))

        return await self.database.read(read)

    async def newest(self, job_id: int, cluster: str | None, start_time: int | None) -> int:
        """Database id of the newest job of a scheduler's id; NotFound."""
        _check_ids(job_id, start_time)
        found = await self.database.read(lambda conn: rows.same_job_rows(conn, job_id, cluster, start_time))
        if not found:
            raise NotFound(NO_JOB)
        return int(found[0].id)

    # --- deleting -----------------------------------------------------------------------------------------------------

    async def delete(self, db_id: int) -> None:
        """Delete the row (never the archive); NotFound."""
        if not await self.database.write(lambda conn: rows.delete_jobs(conn, [_check_id(db_id)])):
            raise NotFound(NO_JOB)

    async def delete_before(self, before: int, omit_tagged: str, *, running: bool) -> int:
        """Delete rows of jobs that started before; how many. Running ones only with `running`."""
        if omit_tagged not in ("none", "all", "user"):
            raise InputError(f"must be one of none, all, user, not '{omit_tagged}'", "omit-tagged")
        return await self.database.write(lambda conn: rows.delete_before(conn, before, omit_tagged=omit_tagged, running=running))

    # --- tags and metadata --------------------------------------------------------------------------------------------

    async def add_tags(self, by: Identity, db_id: int, tags: Sequence[Tag]) -> Job:
        """Attach tags (scope empty = global), creating unknown ones; the job with its readable tags."""
        see, now = visibility(by), int(self._clock())
        for tag in tags:
            require(by, Right.WRITE_TAG, tag.scope or "global")

        def attach(conn: Connection) -> None:
            _found(rows.job_by_id(conn, see, _check_id(db_id), now=now))
            for tag in tags:
                tag_rows.attach(conn, db_id, tag_rows.ensure_tag(conn, *_tag_words(tag), tag.scope or "global", now), now)

        await self.database.write(attach)
        return await self._tags_changed(see, db_id)

    async def remove_tags(self, by: Identity, db_id: int, tags: Sequence[Tag]) -> Job:
        """Detach tags; NotFound names a tag that does not exist."""
        see, now = visibility(by), int(self._clock())
        for tag in tags:
            require(by, Right.WRITE_TAG, tag.scope or "global")

        def detach(conn: Connection) -> None:
            _found(rows.job_by_id(conn, see, _check_id(db_id), now=now))
            for tag in tags:
                tag_rows.detach(conn, db_id, _known_tag(conn, tag))

        await self.database.write(detach)
        return await self._tags_changed(see, db_id)

    async def delete_tags(self, by: Identity, tags: Sequence[Tag]) -> int:
        """Delete tags everywhere; how many. NotFound before anything is deleted."""
        for tag in tags:
            require(by, Right.DELETE_TAG, tag.scope or "global")

        def delete(conn: Connection) -> set[int]:
            ids = [_known_tag(conn, tag) for tag in tags]
            return {job_id for tag_id in ids for job_id in tag_rows.delete_tag(conn, tag_id)}

        for db_id in sorted(await self.database.write(delete)):
            await self._rewrite_archive(db_id)
        return len(tags)

    async def edit_metadata(self, db_id: int, key: str, value: str) -> Job:
        """Set one key of `metaData`; the job."""
        if not key:
            raise InputError("the key is empty", "key")
        see, now = visibility(SYSTEM), int(self._clock())

        def edit(conn: Connection) -> Job:
            job = _found(rows.job_by_id(conn, see, _check_id(db_id), now=now))
            meta = {**(job.meta_data or {}), key: value}
            rows.set_metadata(conn, db_id, meta)
            return msgspec.structs.replace(job, meta_data=meta)

        job = await self.database.write(edit)
        await self._rewrite_archive(db_id)
        return job

    async def _tags_changed(self, see: Visibility, db_id: int) -> Job:
        await self._rewrite_archive(db_id)
        return await self.job(see, db_id)

    async def _rewrite_archive(self, db_id: int) -> None:
        """Tags and metadata of an archived job, as the database has them; a job that waits for the archiver gets them there."""
        now = int(self._clock())

        def read(conn: Connection) -> tuple[Job | None, list[Tag]]:
            return rows.job_by_id(conn, visibility(SYSTEM), db_id, now=now), tag_rows.tags_of(conn, None, [db_id]).get(db_id, [])

        job, tags = await self.database.read(read)
        if job is None or job.monitoring_status != 3:
            return
        key = JobKey(job.cluster, job.job_id, job.start_time)

        def rewrite() -> None:
            self._archive.write_meta(key, codec.edited_meta(self._archive.read_meta(key), tags, job.meta_data or {}))

        try:
            await self._archive_pool.run(rewrite)
        except Missing:
            self._log.info("archive.entry_missing", job=db_id, cluster=job.cluster, job_id=job.job_id)


def _known(row: rows.AnyRow) -> Known:
    return Known(db_id=row.id, cluster=row.cluster, start_time=row.start_time, state=row.job_state, duration=row.duration)


def _found(job: Job | None) -> Job:
    if job is None:
        raise NotFound(NO_JOB)
    return job


def _check_id(db_id: int) -> int:
    if not 0 < db_id < 2**63:
        raise NotFound(NO_JOB)
    return db_id


def _check_ids(*numbers: int | None) -> None:
    """Numbers that no column can hold belong to no job."""
    if any(number is not None and not -(2**63) <= number < 2**63 for number in numbers):
        raise NotFound(NO_JOB)


def _tag_words(tag: Tag) -> tuple[str, str]:
    if not tag.type or not tag.name:
        raise InputError("type and name of a tag must not be empty")
    return tag.type, tag.name


def _known_tag(conn: Connection, tag: Tag) -> int:
    found = tag_rows.find_tag(conn, tag.type, tag.name, tag.scope or "global")
    if found is None:
        raise NotFound(f"tag does not exist (name, type, scope): {tag.name}, {tag.type}, {tag.scope or 'global'}")
    return found
