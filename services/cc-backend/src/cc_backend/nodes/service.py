"""The nodes of a cluster as pages see them: which there are, and how many of them jobs have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ccschema.clusters import Cluster
from ccschema.hostlist import NodeList
from ccschema.ids import natural_key

from cc_backend.clusters import Catalogue
from cc_backend.db.nodes import StateRow
from cc_backend.metrics.dispatch import Dispatcher


class NodePage(NamedTuple):
    hosts: list[str]
    total: int
    has_next: bool


async def nodes_of(
    catalogue: Catalogue, dispatcher: Dispatcher, cluster: str, sub_cluster: str, contains: str, reported: Iterable[str] = ()
) -> list[str]:
    """Hosts of the node lists, and the reported ones, whose name contains a text, naturally sorted; sub_cluster "": all of the cluster.

    A subcluster whose list is `*` has the hosts that the metric store knows. NotFound: no such cluster or subcluster."""
    config = catalogue.get(cluster)
    if sub_cluster:
        catalogue.subcluster(cluster, sub_cluster)
    hosts = {*_listed(config), *reported}
    if any(NodeList(sub.nodes).everything for sub in config.sub_clusters):
        hosts.update(await dispatcher.hosts(cluster))
    wanted = (host for host in hosts if contains in host)
    return sorted((h for h in wanted if not sub_cluster or catalogue.subcluster_of(cluster, h) == sub_cluster), key=natural_key)


def _listed(cluster: Cluster) -> Iterable[str]:
    for sub in cluster.sub_clusters:
        yield from NodeList(sub.nodes).names()


def in_state(hosts: Iterable[str], states: Mapping[str, StateRow], wanted: str) -> list[str]:
    """wanted: `all`, `notindb` (no state was ever reported), or a scheduler state."""
    if wanted == "all":
        return list(hosts)
    if wanted == "notindb":
        return [host for host in hosts if host not in states]
    return [host for host in hosts if host in states and states[host].node_state == wanted]


def cut(hosts: list[str], items: int, page: int) -> NodePage:
    """One page of a list; items -1: all; pages below 1 count as 1; a page beyond the end is empty."""
    if items == -1:
        return NodePage(hosts, len(hosts), False)
    end = items * max(page, 1)
    return NodePage(hosts[end - items : end], len(hosts), end < len(hosts))


def per_subcluster(catalogue: Catalogue, cluster: str, hosts: Iterable[str]) -> list[tuple[str, int]]:
    """(subcluster, number of the given hosts in it) in the order of the configuration; those without any are absent."""
    counts = Counter(catalogue.subcluster_of(cluster, host) for host in hosts)
    return [(sub.name, counts[sub.name]) for sub in catalogue.get(cluster).sub_clusters if counts[sub.name]]
