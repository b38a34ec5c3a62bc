"""Jobs of the archive as rows: what `-init-db` inserts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from ccdaemon.errors import InputError
from ccschema.archive import DocumentError, decode_meta
from ccschema.jobs import Job, JobState
from sqlalchemy import Connection

from cc_backend.archive import ArchiveBackend, JobKey, Missing
from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as rows
from cc_backend.db import tags as tag_rows

from .footprint import energy, footprint
from .lifecycle import checked

EVERY: Final = 100
"""Jobs between two calls of `progress`."""


def rebuild(
    conn: Connection,
    archive: ArchiveBackend,
    catalogue: Catalogue,
    now: int,
    failed: Callable[[JobKey, str], None],
    progress: Callable[[int], None],
) -> int:
    """Replace all archived jobs of the database by what the archive has, in this one transaction; how many.

    Jobs that are not in the archive (running, waiting for the archiver, given up) stay. A job that cannot be read is told to
    `failed` and left out.
    """
    rows.delete_archived(conn)
    count = 0
    for key in archive.keys():  # noqa: SIM118 - an archive is no mapping
        try:
            job = row_of(decode_meta(archive.read_meta(key)), catalogue)
        except (DocumentError, InputError, Missing, OSError) as e:
            failed(key, str(e))
            continue
        if any(row.start_time == job.start_time for row in rows.same_job_rows(conn, job.job_id, job.cluster)):
            continue  # it waits for the archiver, which will find it there
        db_id = rows.insert_job(conn, job)
        for tag in job.tags:
            if tag.type and tag.name:
                # With its scope: a private tag must not become everybody's.
                tag_rows.attach(conn, db_id, tag_rows.ensure_tag(conn, tag.type, tag.name, tag.scope or "global", now), now)
        count += 1
        if count % EVERY == 0:
            progress(count)
    return count


def row_of(meta: Job, catalogue: Catalogue) -> Job:
    """An archived job as its row: subcluster first, then footprint and energy by the rule of the archiver. InputError."""
    state = "cancelled" if meta.job_state == "stopped" else meta.job_state
    found = JobState.of(state)
    if found is None or not found.final:
        raise InputError(f"not a valid job state of an archived job: {meta.job_state}")
    job = msgspec.structs.replace(meta, job_state=state, shared=meta.shared or "none", monitoring_status=3)
    job = checked(job, catalogue)
    statistics = job.statistics or {}
    sub = catalogue.subcluster(job.cluster, job.sub_cluster)
    computed, _ = energy(job, {}, statistics, sub)
    # What was integrated from samples is not known without them: the document says it.
    parts = {**(job.energy_footprint or {}), **computed}
    total = job.energy or sum(parts.values())
    return msgspec.structs.replace(job, footprint=footprint(statistics, sub), energy_footprint=parts, energy=total)
