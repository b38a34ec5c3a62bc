"""Rows of jobs: reading them under a `Visibility`, writing what life cycle and archiver decide.

All functions run inside one transaction of `Database.read` or `Database.write`. Reads that no user asked for (archiver,
workers) are `due_for_archive`, `running_jobs`, `used_nodes`, `same_job_rows`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from ccschema.jobs import Job, Resource
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, insert, or_, select, true, update

from cc_backend.access import Visibility
from cc_backend.db.tables import job, job_detail, job_footprint, job_node, jobtag, tag

AnyRow = Row[Any]

CHUNK: Final = 500  # bound parameters of one statement


def visible(see: Visibility) -> ColumnElement[bool]:
    """The row rule as SQL."""
    if see.everything:
        return true()
    own = job.c.hpc_user == see.username
    return or_(own, job.c.project.in_(see.projects)) if see.projects else own


# --- reading -----------------------------------------------------------------------------------------------------------


def select_jobs(*, metadata: bool) -> Select[Any]:
    """Rows that `jobs_of` understands."""
    columns: list[Any] = [job, job_detail.c.resources, job_detail.c.energy_footprint]
    if metadata:
        columns.append(job_detail.c.meta_data)
    return select(*columns).join_from(job, job_detail, job.c.id == job_detail.c.job)


def jobs_of(conn: Connection, found: Sequence[AnyRow], now: int) -> list[Job]:
    """Job objects of rows of `select_jobs`, footprints in one more statement per CHUNK rows. Running jobs last until `now`."""
    footprints = footprints_of(conn, [row.id for row in found])
    return [_job(row, footprints.get(row.id, {}), now) for row in found]


def _job(row: AnyRow, footprint: dict[str, float], now: int) -> Job:
    running = row.job_state == "running"
    meta = row._mapping.get("meta_data")
    return Job(
        id=row.id,
        job_id=row.job_id,
        cluster=row.cluster,
        sub_cluster=row.subcluster,
        partition=row.cluster_partition,
        project=row.project,
        user=row.hpc_user,
        shared=row.shared,
        job_state=row.job_state,
        resources=msgspec.json.decode(row.resources, type=list[Resource]),
        footprint=footprint,
        energy_footprint=json.loads(row.energy_footprint) if row.energy_footprint else {},
        meta_data=json.loads(meta) if meta else None,
        energy=row.energy,
        array_job_id=row.array_job_id,
        walltime=row.walltime,
        requested_memory=row.requested_memory,
        duration=max(0, now - row.start_time) if running else row.duration,
        smt=row.smt,
        monitoring_status=row.monitoring_status,
        num_acc=row.num_acc,
        num_hwthreads=row.num_hwthreads,
        num_nodes=row.num_nodes,
        submit_time=row.submit_time,
        start_time=row.start_time,
    )


def footprints_of(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, float]]:
    out: dict[int, dict[str, float]] = defaultdict(dict)
    for chunk in _chunks(ids):
        for row in conn.execute(select(job_footprint).where(job_footprint.c.job.in_(chunk))):
            out[row.job][row.name] = row.value
    return out


def metadata_of(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """`metaData` of jobs that the caller may see already (batched loading)."""
    out = {}
    for chunk in _chunks(ids):
        for row in conn.execute(select(job_detail.c.job, job_detail.c.meta_data).where(job_detail.c.job.in_(chunk))):
            out[row.job] = json.loads(row.meta_data) if row.meta_data else {}
    return out


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK))


def job_by_id(conn: Connection, see: Visibility, db_id: int, *, now: int) -> Job | None:
    """The job with its metadata; None where it does not exist or is not the caller's to see."""
    found = conn.execute(select_jobs(metadata=True).where(job.c.id == db_id, visible(see))).all()
    return jobs_of(conn, found, now)[0] if found else None


def same_job_rows(conn: Connection, job_id: int, cluster: str | None, start_time: int | None = None) -> list[AnyRow]:
    """Narrow rows of a scheduler's job id, newest first; filters that are None do not apply."""
    wanted = [job.c.job_id == job_id]
    if cluster is not None:
        wanted.append(job.c.cluster == cluster)
    if start_time is not None:
        wanted.append(job.c.start_time == start_time)
    return list(conn.execute(select(job).where(*wanted).order_by(job.c.id.desc())).all())


def running_jobs(conn: Connection, *, cluster: str, now: int, min_duration: int = 0) -> list[Job]:
    """Jobs of a cluster that run for more than `min_duration` seconds (all users: for workers)."""
    rows = select_jobs(metadata=False).where(job.c.job_state == "running", job.c.cluster == cluster, job.c.start_time < now - min_duration)
    return jobs_of(conn, conn.execute(rows.order_by(job.c.id)).all(), now)


def used_nodes(conn: Connection, before: int) -> dict[str, list[str]]:
    """Hosts of running jobs that started before `before`, by cluster, sorted."""
    query = (
        select(job.c.cluster, job_node.c.hostname)
        .distinct()
        .join_from(job, job_node, job.c.id == job_node.c.job)
        .where(job.c.job_state == "running", job.c.start_time < before)
        .order_by(job.c.cluster, job_node.c.hostname)
    )
    out: dict[str, list[str]] = defaultdict(list)
    for row in conn.execute(query):
        out[row.cluster].append(row.hostname)
    return dict(out)


def busy_hosts(conn: Connection) -> dict[str, set[str]]:
    """Hosts of running jobs and of ended ones whose data is still to be archived, by cluster."""
    waiting = and_(job.c.monitoring_status == 1, job.c.job_state != "running")
    out: dict[str, set[str]] = defaultdict(set)
    for which in (job.c.job_state == "running", waiting):
        for row in conn.execute(
            select(job.c.cluster, job_node.c.hostname).join_from(job, job_node, job.c.id == job_node.c.job).where(which)
        ):
            out[row.cluster].add(row.hostname)
    return dict(out)


# --- writing -----------------------------------------------------------------------------------------------------------


def insert_job(conn: Connection, new: Job) -> int:
    """Insert a job as it is; the database id. The caller has checked everything."""
    meta = new.meta_data or {}
    row = {
        "job_id": new.job_id,
        "cluster": new.cluster,
        "subcluster": new.sub_cluster,
        "submit_time": new.submit_time,
        "start_time": new.start_time,
        "hpc_user": new.user,
        "project": new.project,
        "cluster_partition": new.partition,
        "array_job_id": new.array_job_id,
        "job_name": meta.get("jobName"),
        "duration": new.duration,
        "walltime": new.walltime,
        "job_state": new.job_state,
        "num_nodes": new.num_nodes,
        "num_hwthreads": new.num_hwthreads,
        "num_acc": new.num_acc,
        "smt": new.smt,
        "requested_memory": new.requested_memory,
        "shared": new.shared,
        "monitoring_status": new.monitoring_status,
        "energy": new.energy,
    }
    db_id = int(conn.execute(insert(job).values(row).returning(job.c.id)).scalar_one())
    conn.execute(
        insert(job_detail).values(
            job=db_id,
            resources=msgspec.json.encode(new.resources).decode(),
            meta_data=json.dumps(meta, ensure_ascii=False) if meta else None,
            energy_footprint=json.dumps(new.energy_footprint) if new.energy_footprint else None,
        )
    )
    hosts = dict.fromkeys(resource.hostname for resource in new.resources)
    conn.execute(insert(job_node), [{"job": db_id, "hostname": host} for host in hosts])
    set_footprint(conn, db_id, new.footprint or {})
    return db_id


def end_job(conn: Connection, db_id: int, state: str, duration: int, archive_after: int) -> bool:
    """Running → `state`; False where the row was not running (any more), and then nothing is changed."""
    ended = {"job_state": state, "duration": duration, "archive_after": archive_after}
    return _changed(conn, update(job).where(job.c.id == db_id, job.c.job_state == "running").values(ended))


def set_footprint(conn: Connection, db_id: int, footprint: Mapping[str, float]) -> None:
    conn.execute(delete(job_footprint).where(job_footprint.c.job == db_id))
    if footprint:
        conn.execute(insert(job_footprint), [{"job": db_id, "name": name, "value": value} for name, value in footprint.items()])


def set_footprints(conn: Connection, found: Mapping[int, Mapping[str, float]]) -> None:
    """Footprints of running jobs by id; a job that has ended meanwhile keeps what the archiver says."""
    running = set(conn.execute(select(job.c.id).where(job.c.job_state == "running")).scalars())
    for db_id in running & found.keys():
        set_footprint(conn, db_id, found[db_id])


def set_metadata(conn: Connection, db_id: int, meta: Mapping[str, str]) -> None:
    conn.execute(update(job_detail).where(job_detail.c.job == db_id).values(meta_data=json.dumps(meta, ensure_ascii=False)))
    conn.execute(update(job).where(job.c.id == db_id).values(job_name=meta.get("jobName")))


def delete_jobs(conn: Connection, ids: Sequence[int]) -> int:
    """Delete rows with all that hangs on them; how many there were."""
    return sum(conn.execute(delete(job).where(job.c.id.in_(chunk))).rowcount for chunk in _chunks(ids))


def delete_archived(conn: Connection) -> int:
    """Delete the rows of all jobs that are in the archive."""
    return conn.execute(delete(job).where(job.c.monitoring_status == 3)).rowcount


def delete_before(conn: Connection, before: int, *, omit_tagged: str = "none", running: bool = False) -> int:
    """Delete jobs with start_time < `before`; running ones only with `running`. `omit_tagged`: none, all, user."""
    wanted = [job.c.start_time < before, *_not_tagged(omit_tagged)]
    if not running:
        wanted.append(job.c.job_state != "running")
    return conn.execute(delete(job).where(*wanted)).rowcount


def _not_tagged(omit_tagged: str) -> list[ColumnElement[bool]]:
    """Conditions that spare jobs with any tag (`all`) or with one that no tagger set (`user`)."""
    if omit_tagged == "none":
        return []
    spared = select(jobtag.c.job_id).join(tag, tag.c.id == jobtag.c.tag_id)
    if omit_tagged == "user":
        spared = spared.where(tag.c.tag_type.not_in(("app", "jobClass")))
    return [job.c.id.not_in(spared)]


def for_retention(conn: Connection, before: int, omit_tagged: str, after_id: int, limit: int) -> list[AnyRow]:
    """Rows that may be deleted, by id from `after_id` on: old, ended, and not waiting for the archiver."""
    old = and_(job.c.start_time < before, job.c.job_state != "running", job.c.monitoring_status != 1, job.c.id > after_id)
    return list(conn.execute(select(job).where(old, *_not_tagged(omit_tagged)).order_by(job.c.id).limit(limit)).all())


def refresh_durations(conn: Connection, now: int) -> int:
    """The stored duration of running jobs; how many rows."""
    longer = func.max(0, now - job.c.start_time) if conn.dialect.name == "sqlite" else func.greatest(0, now - job.c.start_time)
    return conn.execute(update(job).where(job.c.job_state == "running").values(duration=longer)).rowcount


def end_over_walltime(conn: Connection, now: int, grace: int, archive_grace: int) -> int:
    """End running jobs that exceed their walltime by more than `grace` seconds, as `failed` at that time; how many.

    They are archived no earlier than `archive_grace` seconds after that end."""
    late = and_(job.c.job_state == "running", job.c.walltime > 0, job.c.start_time < now - grace - job.c.walltime)
    ended = {
        "job_state": "failed",
        "duration": job.c.walltime + grace,
        "archive_after": job.c.start_time + job.c.walltime + grace + archive_grace,
    }
    return conn.execute(update(job).where(late).values(ended)).rowcount


# --- the archiver's queue is the rows themselves -------------------------------------------------------------------------


def due_for_archive(conn: Connection, now: int, limit: int, skip: Iterable[int] = ()) -> list[Job]:
    """Ended jobs that wait for archiving and whose time has come, oldest first, with metadata."""
    waiting = and_(job.c.monitoring_status == 1, job.c.job_state != "running", job.c.archive_after <= now, job.c.id.not_in(list(skip)))
    query = select_jobs(metadata=True).where(waiting).order_by(job.c.archive_after, job.c.id).limit(limit)
    return jobs_of(conn, conn.execute(query).all(), now)


def next_archive_time(conn: Connection) -> int | None:
    """When the first of the ended jobs that wait for archiving is due; None: there is none."""
    waiting = and_(job.c.monitoring_status == 1, job.c.job_state != "running")
    return conn.execute(select(func.min(job.c.archive_after)).where(waiting)).scalar()


def archived(conn: Connection, db_id: int, footprint: Mapping[str, float], energy_footprint: Mapping[str, float], energy: float) -> bool:
    """The job is safe in the archive; False where the row has gone meanwhile."""
    if not _changed(conn, update(job).where(job.c.id == db_id).values(monitoring_status=3, energy=energy, archive_tries=0)):
        return False
    conn.execute(update(job_detail).where(job_detail.c.job == db_id).values(energy_footprint=json.dumps(dict(energy_footprint))))
    set_footprint(conn, db_id, footprint)
    return True


def archive_failed(conn: Connection, db_id: int, now: int, pauses: Sequence[int]) -> int | None:
    """Count a failed try. The time of the next one; None: `pauses` are used up, and the job is given up (monitoring status 2)."""
    tries = conn.execute(select(job.c.archive_tries).where(job.c.id == db_id)).scalar() or 0
    again = now + pauses[tries] if tries < len(pauses) else None
    values: dict[str, Any] = {"archive_tries": tries + 1} | ({"monitoring_status": 2} if again is None else {"archive_after": again})
    conn.execute(update(job).where(job.c.id == db_id).values(values))
    return again


def _changed(conn: Connection, statement: Any) -> bool:
    return bool(conn.execute(statement).rowcount)
