"""Resolvers of node views: metric data of hosts, and how many of them jobs have."""

from __future__ import annotations

from ariadne import ObjectType
from ccdaemon.errors import InputError
from ccschema.scopes import Scope

from cc_backend.access import Right, require
from cc_backend.db import jobs as job_rows
from cc_backend.db.nodes import StateRow, current_states
from cc_backend.metrics.shape import JobData
from cc_backend.nodes import service

from .context import Context, Info
from .metrics import named


async def resolve_node_metrics(
    _: object,
    info: Info,
    cluster: str,
    to: int,
    nodes: list[str] | None = None,
    scopes: list[Scope] | None = None,
    metrics: list[str] | None = None,
    **span: int,
) -> list[dict[str, object]]:
    """Hosts with data of at least one metric, each metric as one series of the host; `scopes` has no effect."""
    context = info.context
    require(context.who, Right.READ_NODES)
    begin = _begin(span, to)
    data = await context.rooms.dispatcher.node_data(cluster, nodes, metrics, None, begin, to)
    states = await _states(context, cluster)
    return [_host(context, cluster, host, found, states.get(host)) for host, found in data.items() if found]


async def resolve_node_metrics_list(
    _: object,
    info: Info,
    cluster: str,
    subCluster: str,
    stateFilter: str,
    nodeFilter: str,
    to: int,
    scopes: list[Scope] | None = None,
    metrics: list[str] | None = None,
    page: dict[str, int] | None = None,
    resolution: int | None = None,
    **span: int,
) -> dict[str, object]:
    """A page of the hosts of the node lists, also those without data."""
    context = info.context
    require(context.who, Right.READ_NODES)
    begin = _begin(span, to)
    rooms = context.rooms
    items, number = (50, 1) if page is None else (page["itemsPerPage"], page["page"])
    if items == 0 or items < -1:
        raise InputError(f"invalid items-per-page value: {items}")
    states = await _states(context, cluster)
    hosts = await service.nodes_of(rooms.catalogue, rooms.dispatcher, cluster, subCluster, nodeFilter, states)
    shown = service.cut(service.in_state(hosts, states, stateFilter), items, number)
    step = rooms.dispatcher.resampling.default if resolution is None else resolution
    data = await rooms.dispatcher.node_data(cluster, shown.hosts, metrics, scopes or [Scope.NODE], begin, to, step)
    return {
        "items": [_host(context, cluster, host, data[host], states.get(host)) for host in shown.hosts],
        "totalNodes": shown.total,
        "hasNextPage": shown.has_next,
    }


def _begin(span: dict[str, int], to: int) -> int:
    """`from`, which is no name in Python."""
    begin = span["from"]
    if begin > to:
        raise InputError("invalid time range: 'from' must be before 'to'")
    return begin


async def _states(context: Context, cluster: str) -> dict[str, StateRow]:
    return await context.rooms.database.read(lambda conn: current_states(conn, cluster))


def _host(context: Context, cluster: str, host: str, data: JobData, state: StateRow | None) -> dict[str, object]:
    """States are empty where none was reported."""
    return {
        "host": host,
        "nodeState": state.node_state if state else "",
        "metricHealth": state.health_state if state else "",
        "subCluster": context.rooms.catalogue.subcluster_of(cluster, host) or "",
        "metrics": named(data),
    }


async def resolve_allocated_nodes(_: object, info: Info, cluster: str) -> list[dict[str, object]]:
    context = info.context
    context.rooms.catalogue.get(cluster)
    used = await context.rooms.database.read(lambda conn: job_rows.used_nodes(conn, context.now + 1))
    counts = service.per_subcluster(context.rooms.catalogue, cluster, used.get(cluster, ()))
    return [{"name": name, "count": count} for name, count in counts]


def bindables() -> list[ObjectType]:
    query = ObjectType("Query")
    query.set_field("nodeMetrics", resolve_node_metrics)
    query.set_field("nodeMetricsList", resolve_node_metrics_list)
    query.set_field("allocatedNodes", resolve_allocated_nodes)
    return [query]
