"""Sums over many jobs: one statement, one row a group (graphql 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from ccdaemon.errors import InputError
from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, func, select

from cc_backend.access import Visibility
from cc_backend.db.tables import job

from .filters import JobFilter, Page, condition

GROUPS: Final = {"USER": job.c.hpc_user, "PROJECT": job.c.project, "CLUSTER": job.c.cluster, "SUBCLUSTER": job.c.subcluster}
SORTS: Final = {
    "TOTALWALLTIME": "seconds", "TOTALJOBS": "jobs", "TOTALUSERS": "users", "TOTALNODES": "nodes", "TOTALNODEHOURS": "node_seconds",
    "TOTALCORES": "cores", "TOTALCOREHOURS": "core_seconds", "TOTALACCS": "accs", "TOTALACCHOURS": "acc_seconds",
}  # fmt: skip


class Sums(msgspec.Struct, frozen=True):
    """Of one group; `id` "" without grouping. Running jobs count with now − start; cores are hardware threads; shared nodes count once a job."""

    id: str
    jobs: int
    users: int
    running: int
    short: int
    seconds: int
    nodes: int
    node_seconds: int
    cores: int
    core_seconds: int
    accs: int
    acc_seconds: int


def sums(
    conn: Connection,
    see: Visibility,
    where: Sequence[JobFilter],
    *,
    now: int,
    short: int,
    group: str | None = None,
    sort: str | None = None,
    page: Page | None = None,
) -> list[Sums]:
    """Without `group` exactly one element; with it one per value that a visible job has, largest `sort` first, ties and no sort by value.

    short: seconds of stored duration below which a job is short. `page` counts groups; beyond the end there are none. InputError for a bad page.
    """
    columns = _columns(now, short)
    if group is None:
        return [_sums("", conn.execute(select(*columns.values()).where(condition(see, where, now))).one())]
    key = GROUPS[group]
    query = select(key.label("id"), *columns.values()).where(condition(see, where, now)).group_by(key)
    query = query.order_by(columns[SORTS[sort]].desc(), key) if sort is not None else query.order_by(key)
    if page is not None and page.items != -1:
        if page.items < 0:
            raise InputError(f"invalid items-per-page value: {page.items}")
        query = query.limit(page.items).offset(page.items * (max(page.page, 1) - 1))
    return [_sums(row.id, row) for row in conn.execute(query)]


def _columns(now: int, short: int) -> dict[str, ColumnElement[Any]]:
    running = job.c.job_state == "running"
    age = now - job.c.start_time
    seconds = case((running, case((age > 0, age), else_=0)), else_=cast(job.c.duration, BigInteger))
    found: dict[str, ColumnElement[Any]] = {
        "jobs": func.count(),
        "users": func.count(job.c.hpc_user.distinct()),
        "running": func.sum(case((running, 1), else_=0)),
        "short": func.sum(case((job.c.duration < short, 1), else_=0)),
        "seconds": func.sum(seconds),
    }
    for name, column in (("node", job.c.num_nodes), ("core", job.c.num_hwthreads), ("acc", job.c.num_acc)):
        found |= {f"{name}s": func.sum(column), f"{name}_seconds": func.sum(seconds * column)}
    return {name: column.label(name) for name, column in found.items()}


def _sums(id_: str, row: Any) -> Sums:
    return Sums(id_, *(int(row._mapping[name] or 0) for name in Sums.__struct_fields__[1:]))
