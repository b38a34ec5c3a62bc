"""Resolvers of what the configuration says, of tags and of accounts."""

from __future__ import annotations

from typing import Final

from ariadne import ObjectType
from ccschema.clusters import Accelerator, Cluster, GlobalMetric, MetricValue, SubCluster, Topology, global_metrics
from ccschema.hostlist import NodeList
from ccschema.jobs import Tag

from cc_backend.access import Right, require, visibility
from cc_backend.db import tags as tag_rows
from cc_backend.db.partitions import partitions
from cc_backend.jobs import filters

from .context import Context, Info
from .jobs import account

PARTITIONS_TTL: Final = 3600.0


def resolve_clusters(_: object, info: Info) -> list[Cluster]:
    context = info.context
    return [_shown(context, cluster) for cluster in context.rooms.catalogue.all()]


def _shown(context: Context, cluster: Cluster) -> Cluster:
    """The cluster without what is hidden from the caller."""
    if not context.restricted:
        return cluster
    return Cluster(
        cluster.name, cluster.metric_config, [_shown_sub(sub, context.hidden(cluster.name, sub.name)) for sub in cluster.sub_clusters]
    )


def _shown_sub(sub: SubCluster, hidden: frozenset[str]) -> SubCluster:
    shown = SubCluster(**{name: getattr(sub, name) for name in sub.__struct_fields__})
    shown.metric_config = [metric for metric in sub.metric_config if metric.name not in hidden]
    shown.footprint = [name for name in sub.footprint if name not in hidden]
    return shown


async def resolve_partitions(cluster: Cluster, info: Info) -> list[str]:
    """Kept for PARTITIONS_TTL: it takes a look at every job of the cluster."""
    rooms = info.context.rooms

    async def load() -> tuple[list[str], float, int]:
        return await rooms.database.read(lambda conn: partitions(conn, cluster.name)), PARTITIONS_TTL, 1

    return await rooms.partitions.get(cluster.name, load) or []


def resolve_die(topology: Topology, _: Info) -> list[list[int]]:
    """Files may have nulls inside; the schema has none."""
    return [[thread for thread in die if thread is not None] for die in topology.die]


def resolve_accelerators(topology: Topology, _: Info) -> list[Accelerator] | None:
    return topology.accelerators or None


def resolve_number_of_nodes(sub: SubCluster, _: Info) -> int:
    """0 for `*`."""
    return len(NodeList(sub.nodes))


def resolve_no_name(_value: MetricValue, _: Info) -> None:
    return None


def resolve_global_metrics(_: object, info: Info) -> list[GlobalMetric]:
    context = info.context
    found = global_metrics(context.rooms.catalogue.all(), restricted=not context.restricted)
    return sorted(found, key=lambda metric: metric.name)


async def resolve_tags(_: object, info: Info) -> list[Tag]:
    context = info.context
    see = context.see
    return await context.rooms.database.read(lambda conn: tag_rows.all_tags(conn, see))


async def resolve_user(_: object, info: Info, username: str) -> dict[str, str] | None:
    """Oneself, and others for managers (users with jobs in their projects), support and admin."""
    context = info.context
    require(context.who, Right.LOOK_UP_USER, username)
    see = visibility(context.who)
    if username != context.who.username and not see.everything:
        where = [filters.JobFilter(user=filters.StringCondition(eq=username))]
        if not await context.rooms.database.read(lambda conn: filters.count_jobs(conn, see, where, now=context.now)):
            return None
    return await account(context, username)


def bindables() -> list[ObjectType]:
    query = ObjectType("Query")
    query.set_field("clusters", resolve_clusters)
    query.set_field("globalMetrics", resolve_global_metrics)
    query.set_field("tags", resolve_tags)
    query.set_field("user", resolve_user)
    cluster = ObjectType("Cluster")
    cluster.set_field("partitions", resolve_partitions)
    sub = ObjectType("SubCluster")
    sub.set_field("numberOfNodes", resolve_number_of_nodes)
    value = ObjectType("MetricValue")
    value.set_field("name", resolve_no_name)
    topology = ObjectType("Topology")
    topology.set_field("die", resolve_die)
    topology.set_field("accelerators", resolve_accelerators)
    return [query, cluster, sub, value, topology]
