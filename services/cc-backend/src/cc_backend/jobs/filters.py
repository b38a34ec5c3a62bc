"""Job filters as data, and as SQL: used by REST and GraphQL alike.

A filter is a list of `JobFilter`; all conditions of all of them hold at once. Everything from outside is bound as a
parameter or taken from an allow-list; the caller's `Visibility` is a condition of its own that no filter can widen.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from ccdaemon.errors import InputError
from ccschema.jobs import Job
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, cast, false, func, literal, select, true
from sqlalchemy.types import Text

from cc_backend.access import Visibility
from cc_backend.db import jobs as rows
from cc_backend.db.tables import JOB_STATES, SHARED, job, job_footprint, job_node, jobtag, tag

FOOTPRINT_NAME: Final = re.compile(r"[a-zA-Z0-9_]+")
RANGES: Final = {"last6h": 6 * 3600, "last24h": 86400, "last7d": 7 * 86400, "last30d": 30 * 86400}


class StringCondition(msgspec.Struct, frozen=True, rename="camel"):
    """The first member that is present counts, in this order. The three pattern forms ignore ASCII case."""

    eq: str | None = None
    neq: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    in_: tuple[str, ...] | None = msgspec.field(default=None, name="in")


class Range(msgspec.Struct, frozen=True):
    """Inclusive; 0 = unbounded on that side, both 0 (or negative) = no condition."""

    from_: float = msgspec.field(default=0, name="from")
    to: float = 0


class TimeRange(msgspec.Struct, frozen=True):
    """Seconds since the epoch, inclusive; without either end, `range` is one of RANGES (anything else: no condition)."""

    from_: int | None = msgspec.field(default=None, name="from")
    to: int | None = None
    range: str | None = None


class MetricStat(msgspec.Struct, frozen=True, rename="camel"):
    """`metric_name` is a complete footprint key, `cpu_load_avg`."""

    metric_name: str
    range: Range


class JobFilter(msgspec.Struct, frozen=True, rename="camel"):
    """One object of a filter (names as in the GraphQL input `JobFilter`); an empty one restricts nothing."""

    db_id: tuple[int, ...] | None = None
    job_id: StringCondition | None = None
    array_job_id: int | None = None
    user: StringCondition | None = None
    project: StringCondition | None = None
    cluster: StringCondition | None = None
    sub_cluster: StringCondition | None = None
    partition: StringCondition | None = None
    job_name: StringCondition | None = None
    state: tuple[str, ...] | None = None
    shared: str | None = None
    schedule: str | None = None
    duration: Range | None = None
    energy: Range | None = None
    num_nodes: Range | None = None
    num_accelerators: Range | None = None
    num_hwthreads: Range | None = msgspec.field(default=None, name="numHWThreads")
    start_time: TimeRange | None = None
    tags: tuple[int, ...] | None = None
    metric_stats: tuple[MetricStat, ...] | None = None
    node: StringCondition | None = None


class Order(msgspec.Struct, frozen=True):
    """`type` "col": `field` is a job column in camelCase or snake_case; anything else: `field` is a footprint key, literally."""

    field: str
    type: str = "col"
    order: Literal["ASC", "DESC"] = "ASC"


NEWEST_FIRST: Final = Order(field="startTime", order="DESC")


class Page(msgspec.Struct, frozen=True):
    """`items` −1 = all, else at least 1; a `page` below 1 counts as 1."""

    items: int = 50
    page: int = 1


class JobPage(msgspec.Struct, frozen=True):
    jobs: list[Job]
    has_next: bool


# By the field's name without case and underscores: clients say startTime, start_time, numHwthreads and numHWThreads.
ORDER_COLUMNS: Final = {
    "id": job.c.id, "jobid": job.c.job_id, "cluster": job.c.cluster, "subcluster": job.c.subcluster, "submittime": job.c.submit_time,
    "starttime": job.c.start_time, "hpcuser": job.c.hpc_user, "user": job.c.hpc_user, "project": job.c.project,
    "clusterpartition": job.c.cluster_partition, "partition": job.c.cluster_partition, "arrayjobid": job.c.array_job_id,
    "duration": job.c.duration, "walltime": job.c.walltime, "jobstate": job.c.job_state, "numnodes": job.c.num_nodes,
    "numhwthreads": job.c.num_hwthreads, "numacc": job.c.num_acc, "smt": job.c.smt, "shared": job.c.shared,
    "monitoringstatus": job.c.monitoring_status, "energy": job.c.energy,
}  # fmt: skip


def find_jobs(
    conn: Connection,
    see: Visibility,
    where: Sequence[JobFilter],
    order: Order | None,
    page: Page,
    *,
    metadata: bool = False,
    now: int | None = None,
) -> JobPage:
    """The visible jobs that fulfil `where`, with resources, footprint and energy footprint; `metaData` where asked for.

    Ties are in the order of database ids, so pages never overlap. Raises InputError for an unknown order field or a bad page.
    """
    now = int(time.time()) if now is None else now
    if page.items < 1 and page.items != -1:
        raise InputError(f"items per page must be at least 1 (or -1 for all), not {page.items}")
    query = _ordered(rows.select_jobs(metadata=metadata).where(condition(see, where, now)), order)
    if page.items > 0:
        query = query.limit(page.items + 1).offset(page.items * (max(page.page, 1) - 1))
    found: Sequence[Row[tuple[object, ...]]] = conn.execute(query).all()
    has_next = 0 < page.items < len(found)
    return JobPage(jobs=rows.jobs_of(conn, found[: page.items] if has_next else found, now), has_next=has_next)


def count_jobs(conn: Connection, see: Visibility, where: Sequence[JobFilter], *, now: int | None = None) -> int:
    """How many jobs `find_jobs` would go through."""
    now = int(time.time()) if now is None else now
    return conn.execute(select(func.count()).select_from(job).where(condition(see, where, now))).scalar_one()


def condition(see: Visibility, where: Sequence[JobFilter], now: int) -> ColumnElement[bool]:
    """SQL of row rule and filter together, over table `job`."""
    return and_(rows.visible(see), *(c for f in where for c in _conditions(f, see, now)))


def _conditions(f: JobFilter, see: Visibility, now: int) -> list[ColumnElement[bool]]:
    texts = (
        (f.job_id, cast(job.c.job_id, Text)), (f.user, job.c.hpc_user), (f.project, job.c.project), (f.cluster, job.c.cluster),
        (f.sub_cluster, job.c.subcluster), (f.partition, job.c.cluster_partition),
    )  # fmt: skip
    numbers = (
        (f.duration, job.c.duration), (f.energy, job.c.energy), (f.num_nodes, job.c.num_nodes), (f.num_accelerators, job.c.num_acc),
        (f.num_hwthreads, job.c.num_hwthreads),
    )  # fmt: skip
    out = [_text(c, column) for c, column in texts if c is not None]
    out += [_range(r, column) for r, column in numbers if r is not None]
    if f.db_id is not None:
        out.append(job.c.id.in_(f.db_id))
    if f.array_job_id is not None:
        out.append(job.c.array_job_id == f.array_job_id)
    if f.job_name is not None and not _is_list(f.job_name):
        out.append(_text(f.job_name, job.c.job_name))
    if f.state is not None:
        out.append(job.c.job_state.in_(_known(f.state, JOB_STATES, "state")))
    if f.shared is not None:
        out.append(job.c.shared == _known((f.shared,), SHARED, "shared")[0])
    if f.schedule is not None:
        out.append(_schedule(f.schedule))
    if f.start_time is not None:
        out.append(_times(f.start_time, now))
    if f.tags is not None:
        out.append(_tagged(f.tags, see))
    if f.node is not None and not _is_list(f.node):
        out.append(_on_node(f.node))
    return out + [_footprint(stat) for stat in f.metric_stats or ()]


def _known(asked: Sequence[str], words: Sequence[str], what: str) -> Sequence[str]:
    for word in asked:
        if word not in words:
            raise InputError(f"'{word}' is none of {', '.join(words)}", what)
    return asked


def _text(c: StringCondition, column: ColumnElement[str]) -> ColumnElement[bool]:
    if c.eq is not None:
        return column == c.eq
    if c.neq is not None:
        return column != c.neq
    # icontains and its kin escape % and _ in the text (autoescape), so they stand for themselves.
    if c.starts_with is not None:
        return column.istartswith(c.starts_with, autoescape=True)
    if c.ends_with is not None:
        return column.iendswith(c.ends_with, autoescape=True)
    if c.contains is not None:
        return column.icontains(c.contains, autoescape=True)
    if c.in_ is not None:
        return column.in_(c.in_)
    return true()


def _is_list(c: StringCondition) -> bool:
    """`in` has no effect on job names and nodes."""
    return c.in_ is not None and msgspec.structs.replace(c, in_=None) == StringCondition()


def _range(r: Range, column: ColumnElement[float] | ColumnElement[int]) -> ColumnElement[bool]:
    if r.from_ > 0 and r.to > 0:
        return column.between(r.from_, r.to)
    if r.from_ > 0 and r.to == 0:
        return column >= r.from_
    if r.to > 0 and r.from_ == 0:
        return column <= r.to
    return true()


def _times(t: TimeRange, now: int) -> ColumnElement[bool]:
    bounds = []
    if t.from_ is not None:
        bounds.append(job.c.start_time >= t.from_)
    if t.to is not None:
        bounds.append(job.c.start_time <= t.to)
    if not bounds and t.range in RANGES:
        bounds.append(job.c.start_time >= now - RANGES[t.range])
    return and_(true(), *bounds)


def _schedule(word: str) -> ColumnElement[bool]:
    if word == "interactive":
        return job.c.job_name == "interactive"
    if word == "batch":  # a job without a name is batch
        return job.c.job_name.is_(None) | (job.c.job_name != "interactive")
    return true()


def _tagged(ids: Sequence[int], see: Visibility) -> ColumnElement[bool]:
    # EXISTS, not a join: a job with two of the tags is one job. Tags the caller may not read do not exist for them.
    readable = select(tag.c.id).where(tag.c.id.in_(ids), tag.c.tag_scope.in_(see.tag_scopes))
    return select(literal(1)).where(jobtag.c.job_id == job.c.id, jobtag.c.tag_id.in_(readable)).correlate(job).exists()


def _on_node(c: StringCondition) -> ColumnElement[bool]:
    return job.c.id.in_(select(job_node.c.job).where(_text(c, job_node.c.hostname)))


def _footprint(stat: MetricStat) -> ColumnElement[bool]:
    if not FOOTPRINT_NAME.fullmatch(stat.metric_name):
        return false()
    of_job = [job_footprint.c.job == job.c.id, _range(stat.range, job_footprint.c.value)]
    if stat.range.from_ > 0 or stat.range.to > 0:  # without a range every job with a footprint does
        of_job.append(job_footprint.c.name == stat.metric_name)
    return select(literal(1)).where(*of_job).correlate(job).exists()


def _ordered(query: Select[tuple[object, ...]], order: Order | None) -> Select[tuple[object, ...]]:
    if order is None:
        return query.order_by(job.c.id)
    key: ColumnElement[object]
    if order.type == "col":
        name = order.field.replace("_", "").lower()
        if name not in ORDER_COLUMNS:
            raise InputError(f"jobs cannot be ordered by '{order.field}'", "order.field")
        key = ORDER_COLUMNS[name]
    else:
        if not FOOTPRINT_NAME.fullmatch(order.field):
            raise InputError(f"'{order.field}' is no name of a footprint value", "order.field")
        query = query.where(select(literal(1)).where(job_footprint.c.job == job.c.id).correlate(job).exists())
        key = (
            select(job_footprint.c.value)
            .where(job_footprint.c.job == job.c.id, job_footprint.c.name == order.field)
            .correlate(job)
            .scalar_subquery()
        )
    down = order.order == "DESC"
    # Jobs without the value sort as the smallest, on every database.
    return query.order_by(key.desc().nulls_last() if down else key.asc().nulls_first(), job.c.id.desc() if down else job.c.id.asc())
