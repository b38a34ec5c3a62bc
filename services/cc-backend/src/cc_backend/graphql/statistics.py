"""Resolvers of statistics over many jobs."""

from __future__ import annotations

import asyncio
from typing import Any

from ariadne import ObjectType

from cc_backend.jobs import filters, statistics

from .context import Info
from .jobs import job_filters


async def resolve_jobs_statistics(
    _: object,
    info: Info,
    filter: list[dict[str, Any]] | None = None,
    page: dict[str, int] | None = None,
    sortBy: str | None = None,
    groupBy: str | None = None,
) -> list[dict[str, object]]:
    """Names are those of visible users, so a manager may know them."""
    context = info.context
    see, now, short = context.see, context.now, context.rooms.short_job
    where = job_filters(context, filter)
    cut = None if page is None else filters.Page(items=page["itemsPerPage"], page=page["page"])
    found = await context.rooms.database.read(
        lambda conn: statistics.sums(conn, see, where, now=now, short=short, group=groupBy, sort=sortBy, page=cut)
    )
    people = await asyncio.gather(*(context.users.get(one.id) for one in found)) if groupBy == "USER" else [None] * len(found)
    return [_shown(one, person[0] if person is not None else "") for one, person in zip(found, people, strict=True)]


def _shown(one: statistics.Sums, name: str) -> dict[str, object]:
    """Hours are cut."""
    return {
        "id": one.id,
        "name": name,
        "totalUsers": one.users,
        "totalJobs": one.jobs,
        "runningJobs": one.running,
        "shortJobs": one.short,
        "totalWalltime": one.seconds // 3600,
        "totalNodes": one.nodes,
        "totalNodeHours": one.node_seconds // 3600,
        "totalCores": one.cores,
        "totalCoreHours": one.core_seconds // 3600,
        "totalAccs": one.accs,
        "totalAccHours": one.acc_seconds // 3600,
    }


def bindables() -> list[ObjectType]:
    query = ObjectType("Query")
    query.set_field("jobsStatistics", resolve_jobs_statistics)
    return [query]
