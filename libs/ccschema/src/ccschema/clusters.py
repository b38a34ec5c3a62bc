"""Cluster configuration (`cluster.json`): types, loading with all problems, derived metric lists, hosts → subclusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from .fields import Int32, empty_list
from .hostlist import NodeList
from .ids import same_device
from .jsonin import BodyError, first_value, shaped
from .scopes import Scope
from .units import MetricUnit


class ClusterError(ValueError):
    """A cluster configuration that cannot be used: every problem of it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class NoSubCluster(LookupError):
    """No subcluster for this host, or none of this name; the text is that of the suite's answers."""


class Accelerator(msgspec.Struct, rename="camel"):
    """id: PCI address (`00000000:49:00.0`), as the collector and the adapter name the device."""

    id: str
    type: str = ""
    model: str = ""


class Topology(msgspec.Struct, rename="camel", omit_defaults=True):
    """Hardware threads (OS processor ids) of a node, grouped; the index in `socket`, `memory_domain`, `core`, `die` is the id."""

    node: list[int] = msgspec.field(default_factory=empty_list)
    socket: list[list[int]] = msgspec.field(default_factory=empty_list)
    memory_domain: list[list[int]] = msgspec.field(default_factory=empty_list)
    die: list[list[int | None]] = []
    core: list[list[int]] = []
    accelerators: list[Accelerator] = []

    def sockets_of(self, threads: Iterable[int]) -> tuple[list[int], bool]:
        """(sockets with at least one of the threads, ascending; whether every thread of each of them is in the list)."""
        return _touched(self.socket, threads)

    def cores_of(self, threads: Iterable[int]) -> tuple[list[int], bool]:
        """As `sockets_of`, for cores."""
        return _touched(self.core, threads)

    def memory_domains_of(self, threads: Iterable[int]) -> tuple[list[int], bool]:
        """As `sockets_of`, for memory domains."""
        return _touched(self.memory_domain, threads)

    def sockets_of_cores(self, cores: Iterable[int]) -> tuple[list[int], bool]:
        """As `sockets_of`, from core ids; ids that do not exist are ignored."""
        return self.sockets_of(chain.from_iterable(self.core[c] for c in cores if 0 <= c < len(self.core)))

    def units_of(self, scope: Scope, threads: Iterable[int]) -> list[int]:
        """Ids of the units of a thread-based scope that hold one of the threads, ascending; hwthread: the threads themselves."""
        if scope is Scope.HWTHREAD:
            return sorted(set(threads) & set(self.node))
        return _touched(self.groups(scope), threads)[0]

    def groups(self, scope: Scope) -> list[list[int]]:
        """Threads of each unit of a scope: node (one group), socket, memoryDomain, core, hwthread; accelerator: none."""
        match scope:
            case Scope.NODE:
                return [self.node]
            case Scope.SOCKET:
                return self.socket
            case Scope.MEMORY_DOMAIN:
                return self.memory_domain
            case Scope.CORE:
                return self.core
            case Scope.HWTHREAD:
                return [[thread] for thread in self.node]
            case Scope.ACCELERATOR:
                return []

    def memory_domains_by_socket(self) -> list[list[int]]:
        """Domains of each socket; a domain belongs to the socket of its first thread. ValueError: an empty or unknown domain."""
        home = {thread: socket for socket, group in enumerate(self.socket) for thread in group}
        result: list[list[int]] = [[] for _ in self.socket]
        for domain, group in enumerate(self.memory_domain):
            if not group:
                raise ValueError(f"memory domain {domain} has no hardware threads")
            if group[0] not in home:
                raise ValueError(f"hardware thread {group[0]} of memory domain {domain} belongs to no socket")
            result[home[group[0]]].append(domain)
        return result

    def accelerator_ids(self) -> list[str]:
        return [accelerator.id for accelerator in self.accelerators]

    def accelerator_id(self, id_: str) -> str | None:
        """The id as this topology writes it, for any spelling of the address; None: no such device."""
        return next((known for known in self.accelerator_ids() if same_device(known, id_)), None)


def _touched(groups: Sequence[Sequence[int]], threads: Iterable[int]) -> tuple[list[int], bool]:
    asked = set(threads)
    hit = [index for index, group in enumerate(groups) if not asked.isdisjoint(group)]
    return hit, all(asked.issuperset(groups[index]) for index in hit)


class MetricValue(msgspec.Struct, rename="camel"):
    """A peak rate with its unit; the suite's key for the number is `value`."""

    unit: MetricUnit = msgspec.field(default_factory=MetricUnit)
    value: float = 0.0


class SubClusterConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """Override of a metric in one subcluster. The replacement is total: what is absent counts as zero, empty, false."""

    name: str
    unit: MetricUnit = MetricUnit()
    peak: float = msgspec.field(default_factory=float)
    normal: float = msgspec.field(default_factory=float)
    caution: float = msgspec.field(default_factory=float)
    alert: float = msgspec.field(default_factory=float)
    footprint: str = ""
    energy: str = ""
    lower_is_better: bool = False
    restrict: bool = False
    remove: bool = False


class MetricConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    """One metric. timestep: seconds; aggregation: `sum`, `avg` or empty; footprint: `avg`, `min`, `max` or empty;
    energy: `power` (W), `energy` (J) or empty."""

    name: str
    unit: MetricUnit = msgspec.field(default_factory=MetricUnit)
    peak: float = msgspec.field(default_factory=float)
    normal: float = msgspec.field(default_factory=float)
    caution: float = msgspec.field(default_factory=float)
    alert: float = msgspec.field(default_factory=float)
    energy: str = ""
    scope: Scope = msgspec.field(default_factory=lambda: Scope.NODE)
    aggregation: str = msgspec.field(default_factory=str)
    footprint: str = ""
    sub_clusters: list[SubClusterConfig] = []
    timestep: Int32 = msgspec.field(default_factory=int)
    restrict: bool = False
    lower_is_better: bool = False

    def override(self, sub_cluster: str) -> SubClusterConfig | None:
        """The override for a subcluster; of several the last counts."""
        return next((o for o in reversed(self.sub_clusters) if o.name == sub_cluster), None)

    def restricted(self, sub_cluster: str) -> bool:
        override = self.override(sub_cluster)
        return self.restrict if override is None else override.restrict


class SubCluster(msgspec.Struct, rename="camel", omit_defaults=True):
    """A hardware partition. `metric_config`, `footprint`, `energy_footprint` are derived on load, whatever the file says."""

    name: str
    nodes: str
    processor_type: str = msgspec.field(default_factory=str)
    topology: Topology = msgspec.field(default_factory=Topology)
    flop_rate_scalar: MetricValue = msgspec.field(default_factory=MetricValue)
    flop_rate_simd: MetricValue = msgspec.field(default_factory=MetricValue)
    memory_bandwidth: MetricValue = msgspec.field(default_factory=MetricValue)
    metric_config: list[MetricConfig] = []
    footprint: list[str] = []
    energy_footprint: list[str] = []
    sockets_per_node: int = msgspec.field(default_factory=int)
    cores_per_socket: int = msgspec.field(default_factory=int)
    threads_per_core: int = msgspec.field(default_factory=int)

    def metric(self, name: str) -> MetricConfig | None:
        return next((m for m in self.metric_config if m.name == name), None)


class Cluster(msgspec.Struct, rename="camel"):
    """The content of one `cluster.json`."""

    name: str
    metric_config: list[MetricConfig]
    sub_clusters: list[SubCluster]

    def metric(self, name: str) -> MetricConfig | None:
        return next((m for m in self.metric_config if m.name == name), None)

    def sub_cluster(self, name: str) -> SubCluster | None:
        return next((s for s in self.sub_clusters if s.name == name), None)


class HostMap:
    """Hosts → subclusters of one cluster, in the order of the configuration; `*` works everywhere."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster.name
        self._lists = [(sub.name, NodeList(sub.nodes)) for sub in cluster.sub_clusters]

    def find(self, host: str) -> str:
        """Name of the subcluster. Named hosts go before `*`. NoSubCluster names the host."""
        for name, nodes in self._lists:
            if not nodes.everything and host in nodes:
                return name
        for name, nodes in self._lists:
            if nodes.everything:
                return name
        raise NoSubCluster(f"no subcluster found for cluster {self.cluster} and host {host}")

    def assign(self, sub_cluster: str, hosts: Sequence[str]) -> str:
        """Subcluster of a job: the given one if it exists, else that of the first host. NoSubCluster with the suite's text."""
        if sub_cluster:
            if any(name == sub_cluster for name, _ in self._lists):
                return sub_cluster
            raise NoSubCluster(f"already assigned subcluster {sub_cluster} unkown (cluster: {self.cluster})")
        if not hosts:
            raise NoSubCluster("job without any resources/hosts")
        return self.find(hosts[0])

    def nodes(self, sub_cluster: str) -> NodeList:
        """KeyError: no such subcluster."""
        return next(nodes for name, nodes in self._lists if name == sub_cluster)

    def overlaps(self, limit: int = 200_000) -> list[str]:
        """Warnings: hosts in the node lists of two subclusters (the first gets them). Lists larger than `limit` names are skipped."""
        seen: dict[str, str] = {}
        pairs: dict[tuple[str, str], list[str]] = {}
        for name, nodes in self._lists:
            for host in nodes.names() if not nodes.everything and len(nodes) <= limit else ():
                first = seen.setdefault(host, name)
                if first != name:
                    pairs.setdefault((first, name), []).append(host)
        return [
            f"cluster '{self.cluster}': {len(hosts)} hosts ({hosts[0]} …) are in the node lists of both '{a}' and '{b}'; they count as '{a}'"
            for (a, b), hosts in pairs.items()
        ]


def load_cluster(data: bytes, directory: str) -> tuple[Cluster, list[str]]:
    """(cluster with derived lists, warnings) from the bytes of a `cluster.json`; `directory` is its place in the archive.

    ClusterError carries every problem, not the first.
    """
    try:
        value = first_value(data)
    except BodyError as e:
        raise ClusterError([f"failed to load cluster config for '{directory}': {e}"]) from None
    if not isinstance(value, dict):
        raise ClusterError([f"failed to load cluster config for '{directory}': expected an object"])
    tree = shaped(value, _Top)
    problems = list(_problems(tree, directory))
    if problems:
        raise ClusterError(problems)
    cluster = Cluster(
        tree["name"],
        [msgspec.convert(_read(entry, MetricConfig), type=MetricConfig) for entry in tree["metricConfig"]],
        [msgspec.convert(_read(entry, SubCluster), type=SubCluster) for entry in tree["subClusters"]],
    )
    derive(cluster)
    return cluster, list(_warnings(cluster, directory))


def _problems(top: dict[str, Any], directory: str) -> Iterator[str]:
    name = top.get("name", "")
    if not isinstance(name, str) or not name.strip():
        yield f"cluster name is empty in config for '{directory}'"
        name = directory
    metrics, subs = top.get("metricConfig") or [], top.get("subClusters") or []
    for key, entries, type_, text in (
        ("metricConfig", metrics, MetricConfig, f"cluster '{name}' has no metric configurations"),
        ("subClusters", subs, SubCluster, f"cluster '{name}' has no subclusters defined"),
    ):
        if not isinstance(entries, list):
            yield f"failed to load cluster config for '{directory}': {key}: expected an array"
            continue
        if not entries:
            yield text
        judge: Callable[[Any, str], Iterator[str]] = _metric_problems if type_ is MetricConfig else _sub_cluster_problems
        for at, entry in enumerate(entries):
            where = f"failed to load cluster config for '{directory}': {key}[{at}]"
            if not isinstance(entry, dict):
                yield f"{where}: expected an object"
                continue
            read = _read(entry, type_)
            yield from list(judge(read, str(name))) or _type_problem(read, type_, where)


class _Top(msgspec.Struct, rename="camel"):
    name: Any = ""
    metric_config: Any = None
    sub_clusters: Any = None


def _metric_problems(metric: dict[str, Any], cluster: str) -> Iterator[str]:
    name = metric.get("name", "")
    if name == "":
        yield f"cluster '{cluster}' has a metric config with empty name"
    timestep = metric.get("timestep", 0)
    if isinstance(timestep, int) and timestep < 1:
        yield f"metric '{name}' in cluster '{cluster}' has invalid timestep {timestep} (must be >= 1)"
    scope = metric.get("scope", "node")
    if isinstance(scope, str) and Scope.of(scope) is None:
        known = ", ".join(Scope)
        yield f"metric '{name}' in cluster '{cluster}' has invalid scope '{scope}' (must be one of {known})"


def _sub_cluster_problems(sub: dict[str, Any], cluster: str) -> Iterator[str]:
    if sub.get("name", "") == "":
        yield f"cluster '{cluster}' has a subcluster with empty name"
    nodes = sub.get("nodes", "")
    if isinstance(nodes, str):
        try:
            NodeList(nodes)
        except ValueError as e:
            yield f"subcluster '{sub.get('name', '')}' in {cluster}/cluster.json: {e}"


def _read(entry: Any, type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Keys of one metric or subcluster as we spell them; the lists that are derived on load are never read."""
    tree: dict[str, Any] = shaped(entry, type_)
    if type_ is SubCluster:
        for derived in ("metricConfig", "footprint", "energyFootprint"):
            tree.pop(derived, None)
        tree.setdefault("nodes", "")
    return tree


def _type_problem(tree: dict[str, Any], type_: type[msgspec.Struct], where: str) -> Iterator[str]:
    try:
        msgspec.convert(tree, type=type_)
    except msgspec.ValidationError as e:
        yield f"{where}: {e}"


def _warnings(cluster: Cluster, directory: str) -> Iterator[str]:
    if cluster.name != directory:
        yield f"cluster '{cluster.name}' is stored under '{directory}': name and place must be equal"
    seen: set[str] = set()
    for metric in cluster.metric_config:
        if metric.name in seen:
            yield f"cluster '{cluster.name}' defines the metric '{metric.name}' twice; the first counts"
        seen.add(metric.name)
        if metric.aggregation not in ("", "sum", "avg"):
            yield f"metric '{metric.name}' in cluster '{cluster.name}' has unknown aggregation '{metric.aggregation}'; it is never aggregated"
        unknown = {o.name for o in metric.sub_clusters} - {s.name for s in cluster.sub_clusters}
        for name in sorted(unknown):
            yield f"metric '{metric.name}' in cluster '{cluster.name}' has settings for the unknown subcluster '{name}'"
    names = [sub.name for sub in cluster.sub_clusters]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"cluster '{cluster.name}' has the subcluster '{name}' twice; the first counts"
    yield from HostMap(cluster).overlaps()


def derive(cluster: Cluster) -> None:
    """Fill the derived lists of every subcluster (backend-jobs-and-archive 2.8)."""
    for sub in cluster.sub_clusters:
        sub.metric_config = [m for metric in cluster.metric_config if (m := in_sub_cluster(metric, sub.name)) is not None]
        sub.footprint = [m.name for m in sub.metric_config if m.footprint]
        sub.energy_footprint = [m.name for m in sub.metric_config if m.energy]


def in_sub_cluster(metric: MetricConfig, sub_cluster: str) -> MetricConfig | None:
    """The metric as it counts in a subcluster; None: removed there."""
    override = metric.override(sub_cluster)
    if override is None:
        return msgspec.structs.replace(metric, sub_clusters=[], restrict=False)
    if override.remove:
        return None
    return msgspec.structs.replace(
        metric,
        sub_clusters=[],
        restrict=False,
        peak=override.peak,
        normal=override.normal,
        caution=override.caution,
        alert=override.alert,
        footprint=override.footprint,
        energy=override.energy,
        lower_is_better=override.lower_is_better,
    )


def encode_cluster(cluster: Cluster) -> bytes:
    """Bytes of a `cluster.json`, without the derived lists and without empty values."""
    subs = [msgspec.structs.replace(s, metric_config=[], footprint=[], energy_footprint=[]) for s in cluster.sub_clusters]
    return msgspec.json.encode(msgspec.structs.replace(cluster, sub_clusters=subs)) + b"\n"


class Availability(msgspec.Struct, rename="camel"):
    """Subclusters of a cluster in which a metric exists."""

    cluster: str
    sub_clusters: list[str]


class GlobalMetric(msgspec.Struct, rename="camel", omit_defaults=True):
    """One metric name over all clusters."""

    name: str
    unit: MetricUnit
    scope: Scope
    footprint: str = ""
    availability: list[Availability] = msgspec.field(default_factory=empty_list)


def global_metrics(clusters: Iterable[Cluster], *, restricted: bool = True) -> list[GlobalMetric]:
    """Metric list over all clusters, in order of first definition. restricted=False leaves out what users may not see:
    subclusters where the metric is restricted, and metrics without any that remains."""
    found: dict[str, GlobalMetric] = {}
    for cluster in clusters:
        for metric in cluster.metric_config:
            item = found.get(metric.name) or GlobalMetric(metric.name, metric.unit, metric.scope)
            subs = [
                sub.name
                for sub in cluster.sub_clusters
                if not ((o := metric.override(sub.name)) and o.remove) and (restricted or not metric.restricted(sub.name))
            ]
            if not subs and not restricted:
                continue
            item.footprint = _footprint(metric, cluster, item.footprint) if restricted else metric.footprint or item.footprint
            item.availability.append(Availability(cluster.name, subs))
            found[metric.name] = item
    return list(found.values())


def _footprint(metric: MetricConfig, cluster: Cluster, before: str) -> str:
    """Kind of the last subcluster that has one."""
    kinds = [m.footprint for sub in cluster.sub_clusters if (m := in_sub_cluster(metric, sub.name)) is not None and m.footprint]
    return kinds[-1] if kinds else before
