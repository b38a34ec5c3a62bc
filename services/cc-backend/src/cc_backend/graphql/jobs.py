"""Resolvers of jobs: the list, one job, and what hangs on it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from ariadne import ObjectType
from ccdaemon.errors import InputError
from ccschema.jobs import Job, Tag

from cc_backend.access import Right, require, visibility
from cc_backend.jobs import filters

from .context import Context, Info
from .limits import MAX_UNPAGED

HARDWARE: Final = {
    "CPU": ("cpu", "Cpu", "CPU"),
    "Accelerator": ("acc", "Acc", "ACC"),
    "Memory": ("mem", "Mem", "MEM"),
    "Core": ("core", "Core", "CORE"),
}


async def resolve_job(_: object, info: Info, id: int | str) -> Job:
    context = info.context
    return await context.job(id)


async def resolve_jobs(
    _: object,
    info: Info,
    filter: list[dict[str, Any]] | None = None,
    page: dict[str, int] | None = None,
    order: dict[str, str] | None = None,
) -> dict[str, object]:
    context = info.context
    see, now = context.see, context.now
    where = job_filters(context, filter)
    wanted = job_page(context, page)
    sorting = None if order is None else convert(order, filters.Order, "order")
    if sorting is not None and sorting.type != "col":
        context.check_footprint_keys([sorting.field])
    selected = {node.name.value for nodes in info.field_nodes for node in _fields(nodes, info)}
    found: dict[str, object] = {}
    if selected - {"count", "offset", "limit", "__typename"}:
        listed = await context.rooms.database.read(lambda conn: filters.find_jobs(conn, see, where, sorting, wanted, now=now))
        found = {"items": listed.jobs, "hasNextPage": listed.has_next}
    if "count" in selected:
        found["count"] = await context.rooms.database.read(lambda conn: filters.count_jobs(conn, see, where, now=now))
    return found


def job_filters(context: Context, given: list[dict[str, Any]] | None) -> list[filters.JobFilter]:
    """InputError for what the types of the schema cannot refuse: ids that are no numbers, metrics that are not open to the caller."""
    where = [convert(one, filters.JobFilter, "filter") for one in given or ()]
    context.check_footprint_keys(stat.metric_name for one in where for stat in one.metric_stats or ())
    return where


def job_page(context: Context, given: dict[str, int] | None) -> filters.Page:
    """The page asked for; "all" is MAX_UNPAGED rows for those who do not see everything."""
    if given is None:
        return filters.Page()
    items = given["itemsPerPage"]
    if items == 0 or items < -1:
        raise InputError(f"invalid items-per-page value: {items}")
    if not visibility(context.who).everything and (items == -1 or items > MAX_UNPAGED):
        items = MAX_UNPAGED
    return filters.Page(items=items, page=given["page"])


def convert(value: object, type_: type[Any], place: str) -> Any:
    try:
        return msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError as e:
        raise InputError(str(e), place) from None


def _fields(node: Any, info: Info) -> list[Any]:
    """Fields of a selection with its fragments, whatever @skip says."""
    found: list[Any] = []
    for one in node.selection_set.selections if node.selection_set else ():
        if one.kind == "field":
            found.append(one)
        else:
            found += _fields(info.fragments[one.name.value] if one.kind == "fragment_spread" else one, info)
    return found


# ---- fields of a job


async def resolve_tags(job: Job, info: Info) -> list[Tag]:
    context = info.context
    return await context.tags.get(job.id) or []


async def resolve_metadata(job: Job, info: Info) -> dict[str, str] | None:
    context = info.context
    return await context.metadata.get(job.id) or None


async def resolve_user_data(job: Job, info: Info) -> dict[str, str] | None:
    """A visible job is of the caller's own or of a project in his charge, so a manager may know whose it is."""
    context = info.context
    require(context.who, Right.LOOK_UP_USER, job.user)
    return await account(context, job.user)


async def account(context: Context, username: str) -> dict[str, str] | None:
    found = await context.users.get(username)
    return None if found is None else {"username": username, "name": found[0], "email": found[1]}


def resolve_footprint(job: Job, info: Info) -> list[dict[str, object]]:
    """One entry per stored value, by name."""
    hidden = info.context.hidden(job.cluster, job.sub_cluster)
    parts = [(*key.rpartition("_")[::2], value) for key, value in sorted((job.footprint or {}).items())]
    return [{"name": name, "stat": stat, "value": value} for name, stat, value in parts if name not in hidden]


def resolve_energy_footprint(job: Job, info: Info) -> list[dict[str, object]]:
    hidden = info.context.hidden(job.cluster, job.sub_cluster)
    return [
        {"hardware": hardware(metric), "metric": metric, "value": value}
        for metric, value in sorted((job.energy_footprint or {}).items())
        if metric not in hidden
    ]


def hardware(metric: str) -> str:
    """The class of hardware that a metric's name speaks of, else Other."""
    return next((name for name, words in HARDWARE.items() if any(word in metric for word in words)), "Other")


def bindables() -> list[ObjectType]:
    query = ObjectType("Query")
    query.set_field("job", resolve_job)
    query.set_field("jobs", resolve_jobs)
    job = ObjectType("Job")
    job.set_alias("state", "job_state")
    job.set_alias("numHWThreads", "num_hwthreads")
    job.set_alias("SMT", "smt")
    job.set_field("tags", resolve_tags)
    job.set_field("metaData", resolve_metadata)
    job.set_field("userData", resolve_user_data)
    job.set_field("footprint", resolve_footprint)
    job.set_field("energyFootprint", resolve_energy_footprint)
    return [query, job]
