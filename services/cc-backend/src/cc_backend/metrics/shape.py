"""Job data in memory: series as numpy arrays, and what is made of them. Pure.

Missing values are NaN and never count: not in statistics, not in a median. Nothing here is fast enough for an event loop when a job has thousands of
series: `dispatch` calls it in a thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import orjson
from ccschema import archive as documents
from ccschema.clusters import MetricConfig
from ccschema.numbers import round2
from ccschema.scopes import Scope
from ccschema.units import MetricUnit
from ccstore.resample import resample, step_of
from numpy.typing import NDArray

from . import SeriesQuery, SeriesResult, Stats

Values = NDArray[np.float32]

STATISTICS_FROM: Final = 8
"""Number of series from which on a metric gets a statistics series."""
NODE_SUMS: Final = ("flops_any", "mem_bw")
"""Metrics of the roofline: they get a node scope where only finer ones exist."""
NO_VALUES: Final[Values] = np.empty(0, np.float32)


class Series(NamedTuple):
    """One unit of one host. id: None at node scope. statistics: None where there was no value, else rounded to two decimals."""

    hostname: str
    id: str | None
    statistics: Stats | None
    data: Values


class StatsSeries(NamedTuple):
    """Over all series of a metric, per time step; old archives have a mean and no median. Empty = not there."""

    mean: Values
    median: Values
    min: Values
    max: Values


class JobMetric(NamedTuple):
    """timestep: seconds between values, the first of which is at the job's start."""

    unit: MetricUnit
    timestep: int
    series: list[Series]
    statistics_series: StatsSeries | None = None


JobData = dict[str, dict[Scope, JobMetric]]
"""metric → scope → series: metrics in the order asked for, scopes from coarse to fine."""


# ---- from a store


def job_data(
    queries: Sequence[SeriesQuery], results: Sequence[SeriesResult], metrics: Mapping[str, MetricConfig]
) -> tuple[JobData, list[str]]:
    """(what was found, what went wrong: one text per failed part). Metrics and scopes without series are absent."""
    found: dict[str, dict[Scope, list[tuple[int, Series]]]] = {}
    errors: list[str] = []
    for query, result in zip(queries, results, strict=True):
        errors += [f"failed to fetch '{query.metric}' from host '{query.host}': {text}" for text in result.errors]
        for one in result.found:
            if one.stats is None:  # a series without a value in the span is a missing one
                continue
            of_scope = found.setdefault(query.metric, {}).setdefault(query.scope, [])
            of_scope.append((one.timestep, Series(query.host, one.id, rounded(one.stats), one.values)))
    data = {
        name: {scope: _metric(metrics[name], scopes[scope]) for scope in sorted(scopes, key=lambda s: -s.rank)}
        for name, scopes in found.items()
    }
    return data, errors


def _metric(config: MetricConfig, found: Sequence[tuple[int, Series]]) -> JobMetric:
    """One time step for all: a host that came late has too few points to be resampled by the store, and is thinned here."""
    timestep = max((step for step, series in found if len(series.data)), default=config.timestep) or config.timestep
    return _one_timestep(config.unit, timestep, found)


def _one_timestep(unit: MetricUnit, timestep: int, found: Sequence[tuple[int, Series]]) -> JobMetric:
    series = [
        one._replace(data=thinned(one.data, timestep // step)) if step and step < timestep and timestep % step == 0 else one
        for step, one in found
    ]
    return JobMetric(unit, timestep, series)


def rounded(stats: Stats | None) -> Stats | None:
    return None if stats is None else Stats(round2(stats.avg), round2(stats.min), round2(stats.max))


def finished(data: JobData, scopes: Sequence[Scope] | None) -> JobData:
    """The two additions of every job's data: node scope of the roofline's metrics, statistics series of wide metrics."""
    if scopes is None or Scope.NODE in scopes:
        for name in NODE_SUMS:
            if name in data and Scope.NODE not in data[name]:
                coarsest = max(data[name], key=lambda scope: scope.rank)
                data[name] = {Scope.NODE: node_sums(data[name][coarsest]), **data[name]}
    return {name: {scope: with_statistics(metric) for scope, metric in by_scope.items()} for name, by_scope in data.items()}


def with_statistics(metric: JobMetric) -> JobMetric:
    if metric.statistics_series is not None or len(metric.series) < STATISTICS_FROM:
        return metric
    return metric._replace(statistics_series=statistics_series([one.data for one in metric.series]))


# ---- arithmetic


def statistics_series(rows: Sequence[Values]) -> StatsSeries:
    """Minimum, median and maximum per time step over the values that are there; NaN where fewer than three are, and beyond the shortest row."""
    longest, shortest = max(map(len, rows)), min(map(len, rows))
    # Sorted, NaN come last: the k-th smallest of what is there is row k.
    table = np.sort(np.stack([row[:shortest] for row in rows]), axis=0)
    there = np.count_nonzero(~np.isnan(table), axis=0)
    few = there < 3

    def row_at(index: NDArray[np.intp]) -> Values:
        picked = np.take_along_axis(table, np.maximum(index, 0)[np.newaxis], axis=0)[0]
        picked[few] = np.nan
        return _padded(picked, longest)

    low, high = row_at((there - 1) // 2), row_at(there // 2)
    return StatsSeries(NO_VALUES, (low + high) / np.float32(2), row_at(np.zeros_like(there)), row_at(there - 1))


def _padded(values: Values, length: int) -> Values:
    out = np.full(length, np.nan, np.float32)
    out[: len(values)] = values
    return out


def node_sums(metric: JobMetric) -> JobMetric:
    """Sum over each host's units up to the shortest; NaN where one of them has no value. Statistics are those of the sums."""
    by_host: dict[str, list[Values]] = defaultdict(list)
    for one in metric.series:
        by_host[one.hostname].append(one.data)
    return JobMetric(metric.unit, metric.timestep, [_summed(host, rows) for host, rows in by_host.items()])


def _summed(host: str, rows: Sequence[Values]) -> Series:
    length = min(map(len, rows))
    total = np.stack([row[:length] for row in rows]).sum(axis=0, dtype=np.float64)
    assert isinstance(total, np.ndarray)
    return Series(host, None, rounded(statistics_of(total)), total.astype(np.float32))


def statistics_of(values: NDArray[np.float64]) -> Stats | None:
    there = values[~np.isnan(values)]
    return Stats(float(there.mean()), float(there.min()), float(there.max())) if len(there) else None


def thinned(values: Values, factor: int) -> Values:
    """Mean of what is there in each run of `factor` values; the last run may be shorter."""
    if factor <= 1 or not len(values):
        return values
    runs = -(-len(values) // factor)
    table = _padded(values, runs * factor).reshape(runs, factor)
    there = ~np.isnan(table)
    count = there.sum(axis=1)
    total = np.where(there, table, 0).sum(axis=1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def resampled(data: JobData, resolution: int, configured: Sequence[int], minimum_points: int) -> JobData:
    """Series with one value per `usable` resolution by largest triangle, three buckets, where they are long enough."""
    return {
        name: {
            scope: _resampled(metric, usable(resolution, metric.timestep, configured), minimum_points) for scope, metric in scopes.items()
        }
        for name, scopes in data.items()
    }


def usable(resolution: int, timestep: int, configured: Sequence[int]) -> int:
    """What a metric of this time step can be resampled to: `resolution`, else the next smaller configured one that is a multiple, else 0 (native)."""
    candidates = (resolution, *sorted((r for r in configured if r < resolution), reverse=True))
    return next((r for r in candidates if timestep > 0 and r > timestep and r % timestep == 0), 0)


def _resampled(metric: JobMetric, resolution: int, minimum_points: int) -> JobMetric:
    longest = max((len(one.data) for one in metric.series), default=0)
    if not step_of(longest, metric.timestep, resolution, minimum_points):
        return metric
    steps = []
    for one in metric.series:
        data, step = resample(one.data, metric.timestep, resolution, minimum_points=minimum_points)
        steps.append((step, one._replace(data=data)))
    # A statistics series of the file does not fit any more; finished() makes one of the new values.
    return _one_timestep(metric.unit, resolution, steps)


def sparks(data: JobData, points: int) -> JobData:
    """At most `points` values a series, thinned by whole steps; no statistics series."""
    return {name: {scope: _spark(metric, points) for scope, metric in scopes.items()} for name, scopes in data.items()}


def _spark(metric: JobMetric, points: int) -> JobMetric:
    factor = max(1, -(-max((len(one.data) for one in metric.series), default=0) // points))
    series = [one._replace(data=thinned(one.data, factor)) for one in metric.series]
    return JobMetric(metric.unit, metric.timestep * factor, series)


def size(data: JobData) -> int:
    """Bytes, about: what a cache counts."""
    return sum(200 + sum(300 + one.data.nbytes for one in metric.series) for scopes in data.values() for metric in scopes.values())


def over_hosts(metric: JobMetric) -> Stats | None:
    """One job's numbers from those of its series: mean of the averages, extremes. Series without a value do not count; None without any."""
    known = [one.statistics for one in metric.series if one.statistics is not None]
    if not known:
        return None
    return Stats(round2(sum(s.avg for s in known) / len(known)), min(s.min for s in known), max(s.max for s in known))


# ---- archive documents


def to_document(data: JobData) -> documents.JobData:
    """For `data.json`. Samples are the shortest decimals that give the same float32; a series without a value has zeros as statistics."""
    return {name: {scope: _to_metric(metric) for scope, metric in scopes.items() if metric.series} for name, scopes in data.items()}


def _to_metric(metric: JobMetric) -> documents.JobMetric:
    series = [
        documents.Series(
            hostname=one.hostname,
            id=one.id,
            statistics=documents.Statistics(one.statistics.min, one.statistics.avg, one.statistics.max)
            if one.statistics
            else documents.Statistics(),
            data=msgspec.Raw(json_values(one.data)),
        )
        for one in metric.series
    ]
    stats = metric.statistics_series
    written = (
        None if stats is None else documents.StatsSeries(median=_optional(stats.median), min=_optional(stats.min), max=_optional(stats.max))
    )
    return documents.JobMetric(statistics_series=written, unit=metric.unit, series=series, timestep=metric.timestep)


def json_values(values: Values) -> bytes:
    """JSON list; NaN and infinities are null."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def _optional(values: Values) -> list[float | None]:
    decoded: list[float | None] = orjson.loads(json_values(values))
    return decoded


def from_document(
    data: documents.JobData, metrics: Iterable[str] | None, scopes: Sequence[Scope] | None, *, values: bool = True
) -> JobData:
    """What of an archived document is delivered: the metrics that it has (None: all, by name); where it has several scopes only the asked ones,
    and all of them if it has none of those. values False: statistics only."""
    out: JobData = {}
    for name in sorted(data) if metrics is None else metrics:
        if held := data.get(name):
            asked = [scope for scope in held if scopes is None or scope in scopes] if len(held) > 1 else list(held)
            kept = sorted(asked or held, key=lambda scope: -scope.rank)
            out[name] = {scope: _from_metric(held[scope], values) for scope in kept}
    return out


def _from_metric(metric: documents.JobMetric, values: bool) -> JobMetric:
    series = [Series(one.hostname, one.id, _stats(one.statistics), array(one.data) if values else NO_VALUES) for one in metric.series]
    if not values:
        return JobMetric(metric.unit, metric.timestep, series)
    stats = metric.statistics_series
    read = (
        None
        if stats is None
        else StatsSeries(*(np.array(row or (), np.float32) for row in (stats.mean, stats.median, stats.min, stats.max)))
    )
    return JobMetric(metric.unit, metric.timestep, series, read)


def _stats(stats: documents.Statistics) -> Stats | None:
    if any(np.isnan(x) for x in (stats.avg, stats.min, stats.max)):
        return None
    return rounded(Stats(stats.avg, stats.min, stats.max))


def array(data: msgspec.Raw) -> Values:
    values = orjson.loads(bytes(data))
    return np.array(values, np.float32) if values else NO_VALUES
