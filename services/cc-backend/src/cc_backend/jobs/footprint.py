"""Statistics, footprint and energy of a job from its metric data: pure.

Rounding is `round2` (halves away from zero). Hosts without data do not count: an average is over the hosts that have some.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from ccschema.clusters import Cluster, MetricConfig, SubCluster
from ccschema.jobs import Job, JobStatistics
from ccschema.numbers import round2
from ccschema.scopes import Scope

KINDS: Final = ("avg", "min", "max")
_PREFIXES: Final = {"": 1.0, "m": 1e-3, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
JOULES_PER_KWH: Final = 3.6e6


class Numbers:
    """avg, min, max of one series."""

    __slots__ = ("avg", "max", "min")

    def __init__(self, avg: float, min_: float, max_: float) -> None:
        self.avg, self.min, self.max = avg, min_, max_


def job_statistics(data: Mapping[str, Mapping[Scope, Any]], cluster: Cluster) -> dict[str, JobStatistics]:
    """Per metric with node-scope data: average per node, smallest and largest value; units of the cluster's metric list."""
    units = {metric.name: metric.unit for metric in cluster.metric_config}
    out = {}
    for name, scopes in data.items():
        metric = scopes.get(Scope.NODE)
        numbers = over_hosts(series.statistics for series in metric.series) if metric is not None else None
        if numbers is not None and name in units:
            out[name] = JobStatistics(unit=units[name], avg=numbers.avg, min=numbers.min, max=numbers.max)
    return out


def over_hosts(series: Iterable[Any]) -> Numbers | None:
    """One job's numbers from those of its hosts (objects with avg, min, max; None or NaN = no data); None without any."""
    known = [s for s in series if s is not None and not any(math.isnan(x) for x in (s.avg, s.min, s.max))]
    if not known:
        return None
    return Numbers(
        round2(sum(round2(s.avg) for s in known) / len(known)),
        min(round2(s.min) for s in known),
        max(round2(s.max) for s in known),
    )


def footprint(statistics: Mapping[str, Any], sub: SubCluster) -> dict[str, float]:
    """`<metric>_<kind>` for every footprint metric of the subcluster; the kind is always the subcluster's. 0 without data."""
    out = {}
    for metric in sub.metric_config:
        if metric.footprint in KINDS:
            found = statistics.get(metric.name)
            out[f"{metric.name}_{metric.footprint}"] = float(getattr(found, metric.footprint)) if found is not None else 0.0
    return out


def energy(job: Job, data: Mapping[str, Mapping[Scope, Any]], statistics: Mapping[str, Any], sub: SubCluster) -> tuple[dict[str, float], float]:
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


def _sum(metric: Any) -> float:
    return float(sum(np.nansum(np.asarray(series.data, dtype=np.float64)) for series in metric.series))
