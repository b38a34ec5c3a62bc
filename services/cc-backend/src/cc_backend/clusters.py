"""The catalogue of clusters: every `cluster.json` of the archive, loaded once and again on request.

Pure but for the swap in `reload`: the archive driver reads the documents, this module understands them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ccdaemon.errors import OperatorError
from ccdaemon.log import Log
from ccschema.clusters import Cluster, ClusterError, HostMap, NoSubCluster, SubCluster, load_cluster
from ccstore.metrics import MetricSpec, MetricTable, aggregation

from .errors import NotFound


class Catalogue:
    """Clusters in load order. Immutable but for `reload`, which puts a whole new set in place or none of it."""

    def __init__(self, documents: Mapping[str, bytes], log: Log) -> None:
        """`documents`: directory name → content of its `cluster.json`. OperatorError names every mistake."""
        self._log = log
        self._clusters: dict[str, Cluster] = {}
        self._hosts: dict[str, HostMap] = {}
        self.reload(documents)

    def reload(self, documents: Mapping[str, bytes]) -> None:
        """Take a new set of documents; on a mistake (OperatorError) the old set stays."""
        loaded: dict[str, Cluster] = {}
        mistakes: list[str] = []
        for directory, document in documents.items():
            try:
                cluster, warnings = load_cluster(document, directory)
            except ClusterError as e:
                mistakes.append(str(e))
                continue
            for warning in warnings:
                self._log.warning("clusters.doubtful", text=warning)
            loaded[cluster.name] = cluster
        if mistakes:
            raise OperatorError("\n".join(mistakes), "correct the cluster configuration in the job archive")
        self._clusters = loaded
        self._hosts = {name: HostMap(cluster) for name, cluster in loaded.items()}

    def names(self) -> list[str]:
        return list(self._clusters)

    def all(self) -> list[Cluster]:
        return list(self._clusters.values())

    def find(self, name: str) -> Cluster | None:
        return self._clusters.get(name)

    def get(self, name: str) -> Cluster:
        """NotFound where there is no such cluster."""
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotFound(f"no such cluster: {name}")
        return cluster

    def subcluster(self, cluster: str, name: str) -> SubCluster:
        """The subcluster by its name; NotFound."""
        found = self.get(cluster).sub_cluster(name)
        if found is None:
            raise NotFound(f"no subcluster {name} in cluster {cluster}")
        return found

    def subcluster_of(self, cluster: str, host: str) -> str | None:
        """Name of the host's subcluster, in configuration order; `*` matches every host. None: in no list (logged)."""
        self.get(cluster)
        try:
            return self._hosts[cluster].find(host)
        except NoSubCluster:
            # Missing nodes in node lists lead to wrong metric lists: worth a line that names the host.
            self._log.throttled(300, "clusters.host_in_no_subcluster", cluster=cluster, host=host)
            return None

    def metric_tables(self) -> dict[str, MetricTable]:
        """The store's metric list of each cluster: frequency and aggregation of every metric."""
        return {name: MetricTable(_specs(cluster)) for name, cluster in self._clusters.items()}


def _specs(cluster: Cluster) -> dict[str, MetricSpec]:
    return {metric.name: MetricSpec(metric.timestep, aggregation(metric.aggregation)[0]) for metric in cluster.metric_config}


def metric_names(cluster: Cluster) -> Sequence[str]:
    return [metric.name for metric in cluster.metric_config]
