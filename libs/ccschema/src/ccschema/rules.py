"""Validation of archive documents and cluster configurations (`main.validate`; backend-jobs-and-archive 3, 4.11).

As the JSON schemas of archive version 3, but lenient where their own writer breaks them: null is absent, "> 0" accepts 0, gaps in
series are allowed, unknown unit bases are warnings, and of the recommended metrics only those are demanded that the cluster's
`cluster.json` defines for the job's subcluster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from .archive import DocumentError, JobMetric, Statistics, StatsSeries, samples
from .clusters import Cluster, MetricConfig, SubCluster, SubClusterConfig
from .jobs import SHARED, Job, JobState, JobStatistics
from .jsonin import first_value
from .scopes import Scope
from .units import MetricUnit

UNIT_BASES = frozenset(["B", "F", "B/s", "F/s", "CPI", "IPC", "Hz", "W", "J", "°C", "", "Flops", "Flops/s"])
UNIT_PREFIXES = frozenset(["", "K", "M", "G", "T", "P", "E"])
RECOMMENDED_STATISTICS = ("cpu_user", "cpu_load", "mem_used", "flops_any", "mem_bw")
RECOMMENDED_DATA = (*RECOMMENDED_STATISTICS, "net_bw")
PERCENTILES = frozenset(["10", "20", "25", "30", "40", "50", "60", "70", "75", "80", "90"])
ACCELERATOR_TYPES = ("Nvidia GPU", "AMD GPU", "Intel GPU")
FEWEST_OF_A_STATISTICS_SERIES = 3


class Finding(msgspec.Struct, frozen=True):
    """path: place in the document, `statistics.mem_bw.avg`. Not fatal: worth a line in the log, the document is used."""

    path: str
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"SCHEMA/VALIDATE > {self.path}: {self.text}"


# Metrics that the schema wants at one scope; a cluster may measure them elsewhere, so these are hints.
RECOMMENDED_SCOPES = dict.fromkeys(
    ("mem_used", "net_bw", "cpu_load", "eth_read_bw", "eth_write_bw", "ic_rcv_packets", "ic_send_packets", "ic_read_bw", "ic_write_bw"),
    Scope.NODE,
) | dict.fromkeys(("acc_utilization", "acc_mem_used", "acc_power"), Scope.ACCELERATOR)
_KEYS_OF_A_METRIC = ("name", "unit", "scope", "timestep", "peak", "normal", "caution", "alert")
_KEYS_OF_A_SUB_CLUSTER = (
    "name", "nodes", "topology", "processorType", "socketsPerNode", "coresPerSocket", "threadsPerCore", "flopRateScalar", "flopRateSimd",
    "memoryBandwidth",
)  # fmt: skip
_KEYS_OF_A_TOPOLOGY = ("node", "socket", "memoryDomain")
_KEYS_OF_AN_ACCELERATOR = ("id", "type", "model")
_METRIC_NAME = re.compile(r"[a-zA-Z0-9_]+", re.ASCII)


def fatal(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.fatal]


def job_findings(job: Job, sub_cluster: SubCluster | None = None) -> list[Finding]:
    """What is wrong with a `meta.json`. sub_cluster: where the job ran, for the metrics that it should have."""
    return [*_job_facts(job), *_job_lists(job), *_job_statistics(job.statistics or {}, sub_cluster)]


def _job_facts(job: Job) -> Iterator[Finding]:
    for key, text in (("user", job.user), ("project", job.project), ("cluster", job.cluster), ("subCluster", job.sub_cluster)):
        if not text:
            yield Finding(key, "is missing or empty")
    for key, count in (
        ("jobId", job.job_id),
        ("startTime", job.start_time),
        ("numNodes", job.num_nodes),
    ):
        if count <= 0:
            yield Finding(key, f"must be greater than 0, is {count}")
    for key, count in (
        ("numHwthreads", job.num_hwthreads),
        ("numAcc", job.num_acc),
        ("walltime", job.walltime),
        ("duration", job.duration),
        ("requestedMemory", job.requested_memory),
        ("smt", job.smt),
    ):
        if count < 0:
            yield Finding(key, f"must not be negative, is {count}")
    if job.shared not in SHARED:
        yield Finding("shared", f"must be one of {', '.join(SHARED)}, is {job.shared!r}")
    if JobState.of(job.job_state) is None:
        yield Finding("jobState", f"must be one of {', '.join(JobState)}, is {job.job_state!r}")


def _job_lists(job: Job) -> Iterator[Finding]:
    if not job.resources:
        yield Finding("resources", "is missing or empty")
    for at, resource in enumerate(job.resources):
        if not resource.hostname:
            yield Finding(f"resources[{at}].hostname", "is missing or empty")
    seen: set[tuple[str, str, str]] = set()
    for at, tag in enumerate(job.tags):
        if not tag.name or not tag.type:
            yield Finding(f"tags[{at}]", "name and type are needed")
        if (tag.type, tag.name, tag.scope) in seen:
            yield Finding(f"tags[{at}]", "stands in the list twice")
        seen.add((tag.type, tag.name, tag.scope))


def _job_statistics(statistics: Mapping[str, JobStatistics], sub_cluster: SubCluster | None) -> Iterator[Finding]:
    yield from _missing("statistics", RECOMMENDED_STATISTICS, statistics, sub_cluster)
    for metric, entry in statistics.items():
        path = f"statistics.{metric}"
        yield from _unit(f"{path}.unit", entry.unit)
        yield from _not_negative(path, (("avg", entry.avg), ("min", entry.min), ("max", entry.max)))


def _missing(path: str, wanted: Iterable[str], have: Collection[str], sub_cluster: SubCluster | None) -> Iterator[Finding]:
    for metric in wanted:
        if metric not in have and sub_cluster is not None and sub_cluster.metric(metric) is not None:
            yield Finding(path, f"the metric {metric} is missing, which cluster.json defines for the subcluster {sub_cluster.name}")


def _unit(path: str, unit: MetricUnit) -> Iterator[Finding]:
    if unit.base not in UNIT_BASES:
        yield Finding(f"{path}.base", f"unknown unit {unit.base!r}", fatal=False)
    if unit.prefix not in UNIT_PREFIXES:
        yield Finding(f"{path}.prefix", f"unknown prefix {unit.prefix!r}", fatal=False)


def _not_negative(path: str, values: Iterable[tuple[str, float]]) -> Iterator[Finding]:
    for key, value in values:
        if value < 0:
            yield Finding(f"{path}.{key}", f"must not be negative, is {value:g}")


def data_findings(data: Mapping[str, Mapping[Scope, JobMetric]], sub_cluster: SubCluster | None = None) -> list[Finding]:
    """What is wrong with a `data.json`."""
    found = list(_missing("data", RECOMMENDED_DATA, data, sub_cluster))
    for metric, by_scope in data.items():
        if (wanted := RECOMMENDED_SCOPES.get(metric)) is not None and wanted not in by_scope:
            found.append(Finding(metric, f"has no data at scope {wanted}, which is recommended for it", fatal=False))
        for scope, entry in by_scope.items():
            found.extend(_metric(f"{metric}.{scope}", entry))
    return found


def _metric(path: str, metric: JobMetric) -> Iterator[Finding]:
    yield from _unit(f"{path}.unit", metric.unit)
    if metric.timestep < 1:
        yield Finding(f"{path}.timestep", f"must be at least 1, is {metric.timestep}")
    for at, series in enumerate(metric.series):
        where = f"{path}.series[{at}]"
        if not series.hostname:
            yield Finding(f"{where}.hostname", "is missing or empty")
        yield from _statistics(where, series.statistics)
        try:
            values = samples(series)
        except DocumentError as e:
            yield Finding(f"{where}.data", str(e))
            continue
        if not any(value >= 0 for value in values):
            yield Finding(f"{where}.data", "needs at least one number that is not negative")
    if metric.statistics_series is not None:
        yield from _statistics_series(f"{path}.statisticsSeries", metric.statistics_series)


def _statistics(path: str, statistics: Statistics) -> Iterator[Finding]:
    numbers = (("avg", statistics.avg), ("min", statistics.min), ("max", statistics.max))
    yield from _not_negative(f"{path}.statistics", ((key, value) for key, value in numbers if not math.isnan(value)))


def _statistics_series(path: str, series: StatsSeries) -> Iterator[Finding]:
    lists = {"min": series.min, "max": series.max, "mean": series.mean, "median": series.median}
    lists |= {f"percentiles.{key}": values for key, values in series.percentiles.items()}
    for key in series.percentiles.keys() - PERCENTILES:
        yield Finding(f"{path}.percentiles.{key}", "is none of the percentiles of the format")
    for key, values in lists.items():
        if values is None:
            continue
        if len(values) < FEWEST_OF_A_STATISTICS_SERIES:
            yield Finding(f"{path}.{key}", f"needs at least {FEWEST_OF_A_STATISTICS_SERIES} values, has {len(values)}")
        if any(value is not None and value < 0 for value in values):
            yield Finding(f"{path}.{key}", "must not have negative values")


def cluster_findings(cluster: Cluster) -> list[Finding]:
    """What is wrong with a loaded `cluster.json` beyond what loading refuses anyway."""
    return [*_cluster_metrics(cluster), *_sub_clusters(cluster)]


def _cluster_metrics(cluster: Cluster) -> Iterator[Finding]:
    for metric in cluster.metric_config:
        path = f"metricConfig.{metric.name}"
        yield from _unit(f"{path}.unit", metric.unit)
        yield from _one_of(f"{path}.aggregation", metric.aggregation, ("sum", "avg"))
        yield from _kinds(path, metric)
        for override in metric.sub_clusters:
            yield from _kinds(f"{path}.subClusters.{override.name}", override)
        if not _METRIC_NAME.fullmatch(metric.name):
            yield Finding(
                path, "cannot be used in footprint filters and histograms: its name has more than letters, digits and _", fatal=False
            )


def _kinds(path: str, of: MetricConfig | SubClusterConfig) -> Iterator[Finding]:
    yield from _one_of(f"{path}.footprint", of.footprint, ("avg", "max", "min"))
    yield from _one_of(f"{path}.energy", of.energy, ("power", "energy"))


def _one_of(path: str, word: str, allowed: tuple[str, ...]) -> Iterator[Finding]:
    if word and word not in allowed:
        yield Finding(path, f"must be one of {', '.join(allowed)}, is {word!r}")


def _sub_clusters(cluster: Cluster) -> Iterator[Finding]:
    for sub in cluster.sub_clusters:
        path = f"subClusters.{sub.name}"
        if not sub.topology.node:
            yield Finding(f"{path}.topology.node", "is missing or empty", fatal=False)
        for key, count in (
            ("socketsPerNode", sub.sockets_per_node),
            ("coresPerSocket", sub.cores_per_socket),
            ("threadsPerCore", sub.threads_per_core),
        ):
            if count < 1:
                yield Finding(f"{path}.{key}", f"must be at least 1, is {count}", fatal=False)
        for at, accelerator in enumerate(sub.topology.accelerators):
            if accelerator.type not in ACCELERATOR_TYPES:
                yield Finding(f"{path}.topology.accelerators[{at}].type", f"unknown type {accelerator.type!r}", fatal=False)


def missing_cluster_keys(document: bytes) -> list[Finding]:
    """Keys that the schema requires and a `cluster.json` leaves out, or has as null: loading takes zero or empty for them.

    BodyError: the document is no JSON text.
    """
    top = first_value(document)
    found: list[Finding] = []
    for path, metric in _objects(top, "metricConfig"):
        found.extend(_absent(path, metric, _KEYS_OF_A_METRIC))
        for place, override in _objects(metric, "subClusters"):
            found.extend(_absent(f"{path}.{place}", override, ("name",)))
    for path, sub in _objects(top, "subClusters"):
        found.extend(_absent(path, sub, _KEYS_OF_A_SUB_CLUSTER))
        topology = _value(sub, "topology")
        if isinstance(topology, dict):
            found.extend(_absent(f"{path}.topology", topology, _KEYS_OF_A_TOPOLOGY))
        for place, accelerator in _objects(topology, "accelerators"):
            found.extend(_absent(f"{path}.topology.{place}", accelerator, _KEYS_OF_AN_ACCELERATOR))
    return found


def _value(of: object, key: str) -> object:
    """Keys match in any case, as on loading."""
    if not isinstance(of, dict):
        return None
    return of.get(key, next((value for name, value in of.items() if name.casefold() == key.casefold()), None))


def _objects(of: object, key: str) -> Iterator[tuple[str, dict[str, object]]]:
    entries = _value(of, key)
    for at, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield f"{key}[{at}]", entry


def _absent(path: str, of: dict[str, object], keys: Iterable[str]) -> Iterator[Finding]:
    return (Finding(f"{path}.{key}", "is missing") for key in keys if _value(of, key) is None)
