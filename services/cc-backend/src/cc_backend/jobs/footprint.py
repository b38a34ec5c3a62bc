"""Statistics, footprint and energy of a job from its metric data: pure.

Rounding is `round2` (halves away from zero). Hosts without data do not count: an average is over the hosts that have some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from ccschema.clusters import Cluster, MetricConfig, SubCluster
from ccschema.jobs import Job, JobStatistics
from ccschema.numbers import round2
from ccschema.scopes import Scope

from cc_backend.metrics.shape import JobData, JobMetric, over_hosts

KINDS: Final = ("avg", "min", "max")
_PREFIXES: Final = {"": 1.0, "m": 1e-3, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
JOULES_PER_KWH: Final = 3.6e6


def job_statistics(data: JobData, cluster: Cluster) -> dict[str, JobStatistics]:
    """Per metric with node-scope data: average per node, smallest and largest value; units of the cluster's metric list."""
    out = {}
    for name, scopes in data.items():
        metric = cluster.metric(name)
        numbers = over_hosts(scopes[Scope.NODE]) if Scope.NODE in scopes else None
        if numbers is not None and metric is not None:
            out[name] = JobStatistics(unit=metric.unit, avg=numbers.avg, min=numbers.min, max=numbers.max)
    return out


def footprint(statistics: Mapping[str, JobStatistics], sub: SubCluster) -> dict[str, float]:
    """`<metric>_<kind>` for every footprint metric of the subcluster; the kind is always the subcluster's. 0 without data."""
    out = {}
    for metric in sub.metric_config:
        if metric.footprint in KINDS:
            found = statistics.get(metric.name)
            out[f"{metric.name}_{metric.footprint}"] = float(getattr(found, metric.footprint)) if found is not None else 0.0
    return out


def energy(job: Job, data: JobData, statistics: Mapping[str, JobStatistics], sub: SubCluster) -> tuple[dict[str, float], float]:
    """(kWh per energy metric, total). `power`: average per node × nodes × duration; `energy`: sum of all samples, in joules."""
    parts = {}
    for metric in sub.metric_config:
        if metric.energy == "power" and metric.name in statistics:
            watts = statistics[metric.name].avg * _factor(metric)
            parts[metric.name] = round2(watts * job.num_nodes * job.duration / 3600 / 1000)
        elif metric.energy == "energy" and Scope.NODE in data.get(metric.name, {}):
            parts[metric.name] = round2(_sum(data[metric.name][Scope.NODE]) * _factor(metric) / JOULES_PER_KWH)
    return parts, round2(sum(parts.values()))


def _factor(metric: MetricConfig) -> float:
    return _PREFIXES.get(metric.unit.prefix or "", 1.0)


def _sum(metric: JobMetric) -> float:
    return float(sum(np.nansum(np.asarray(series.data, dtype=np.float64)) for series in metric.series))
