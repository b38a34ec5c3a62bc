"""Resolvers of metric data and statistics of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from ariadne import ObjectType
from ccdaemon.errors import InputError, PeerError
from ccschema.jobs import Job
from ccschema.scopes import Scope

from cc_backend.metrics import shape
from cc_backend.metrics.shape import JobData

from .context import Context, Info, whole_number
from .limits import MAX_IDS

AT_ONCE: Final = 8
"""Jobs of one `jobsMetrics` that are loaded side by side."""
MAX_POINTS: Final = 4000


async def resolve_job_metrics(
    _: object,
    info: Info,
    id: int | str,
    metrics: list[str] | None = None,
    scopes: list[Scope] | None = None,
    resolution: int | None = None,
) -> list[dict[str, object]]:
    context = info.context
    job = await context.job(id)
    return named(await _load(context, job, metrics, scopes, _resolution(context, resolution)))


async def resolve_jobs_metrics(
    _: object,
    info: Info,
    ids: list[int | str],
    metrics: list[str] | None = None,
    scopes: list[Scope] | None = None,
    resolution: int | None = None,
    points: int | None = None,
) -> list[dict[str, object]]:
    context = info.context
    if len(ids) > MAX_IDS:
        raise InputError(f"{len(ids)} jobs asked for; at most {MAX_IDS} at once", "ids")
    if points is not None and not 1 <= points <= MAX_POINTS:
        raise InputError(f"{points} is not between 1 and {MAX_POINTS}", "points")
    found = await asyncio.gather(*(context.jobs.get(whole_number(id, "ids")) for id in dict.fromkeys(ids)))
    step = 0 if points is not None else _resolution(context, resolution)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(job: Job) -> dict[str, object]:
        async with gate:
            try:
                data = await _load(context, job, metrics, scopes, step) if scopes is not None else await _row(context, job, metrics, step)
            except (InputError, PeerError) as e:
                return {"id": job.id, "metrics": [], "error": e.text}
        return {"id": job.id, "metrics": named(data if points is None else _drawn(data, points)), "error": None}

    return list(await asyncio.gather(*(one(job) for job in found if job is not None)))


async def _row(context: Context, job: Job, metrics: Sequence[str] | None, resolution: int) -> JobData:
    """What a row of a job list draws: nodes; of a job with one node its cores, and the accelerators of metrics that are measured there."""
    if job.num_nodes != 1 or not job.num_acc:
        return await _load(context, job, metrics, [Scope.NODE if job.num_nodes != 1 else Scope.CORE], resolution)
    config = context.rooms.catalogue.subcluster(job.cluster, job.sub_cluster).metric_config
    names = sorted(metric.name for metric in config) if metrics is None else metrics
    devices = {metric.name for metric in config if metric.scope is Scope.ACCELERATOR}
    # Apart: a metric of threads that is asked for accelerators comes for every thread.
    data = await _load(context, job, [name for name in names if name not in devices], [Scope.CORE], resolution)
    data |= await _load(context, job, [name for name in names if name in devices], [Scope.ACCELERATOR], resolution)
    return {name: data[name] for name in names if name in data}


def _drawn(data: JobData, points: int) -> JobData:
    """At most `points` values a line. A metric with a statistics series is drawn by that alone: its series keep their statistics, not their data."""
    return {name: {scope: _line(name, scope, metric, points) for scope, metric in scopes.items()} for name, scopes in data.items()}


def _line(name: str, scope: Scope, metric: shape.JobMetric, points: int) -> shape.JobMetric:
    band = metric.statistics_series
    if band is None:
        return shape.sparks({name: {scope: metric}}, points)[name][scope]
    factor = max(1, -(-max(map(len, band)) // points))
    # The band stays a band: a mean of minima could hide the one that matters.
    drawn = shape.StatsSeries(
        shape.thinned(band.mean, factor),
        shape.thinned(band.median, factor),
        _runs(np.fmin, band.min, factor),
        _runs(np.fmax, band.max, factor),
    )
    series = [one._replace(data=shape.NO_VALUES) for one in metric.series]
    return shape.JobMetric(metric.unit, metric.timestep * factor, series, drawn)


def _runs(extreme: np.ufunc, values: shape.Values, factor: int) -> shape.Values:
    """The extreme of what is there in each run of `factor` values; the last run may be shorter. NaN where nothing is."""
    table = np.full(-(-len(values) // factor) * factor, np.nan, np.float32)
    table[: len(values)] = values
    out: shape.Values = extreme.reduce(table.reshape(-1, factor), axis=1)
    return out


async def resolve_job_stats(_: object, info: Info, id: int | str, metrics: list[str] | None = None) -> list[dict[str, object]]:
    context = info.context
    job = await context.job(id)
    wanted = _open(context, job, metrics or [])
    found = await context.rooms.dispatcher.job_statistics(job, wanted)
    return [{"name": name, "data": found[name]} for name in wanted or () if name in found]


async def resolve_scoped_job_stats(
    _: object, info: Info, id: int | str, metrics: list[str] | None = None, scopes: list[Scope] | None = None
) -> list[dict[str, object]]:
    context = info.context
    job = await context.job(id)
    if metrics is None or scopes is None:
        return []
    data = await context.rooms.dispatcher.scoped_statistics(job, _open(context, job, metrics), scopes)
    return [
        {"name": name, "scope": scope, "stats": [_scoped(one) for one in metric.series if one.statistics is not None]}
        for name, by_scope in data.items()
        for scope, metric in by_scope.items()
    ]


def _scoped(one: shape.Series) -> dict[str, object]:
    return {"hostname": one.hostname, "id": one.id, "data": one.statistics}


async def _load(context: Context, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None, resolution: int) -> JobData:
    data = await context.rooms.dispatcher.job_data(job, _open(context, job, metrics), scopes, resolution)
    hidden = context.hidden(job.cluster, job.sub_cluster)
    return {name: by_scope for name, by_scope in data.items() if name not in hidden}


def _open(context: Context, job: Job, metrics: Sequence[str] | None) -> list[str] | None:
    hidden = context.hidden(job.cluster, job.sub_cluster)
    return None if metrics is None else [name for name in dict.fromkeys(metrics) if name not in hidden]


def _resolution(context: Context, given: int | None) -> int:
    if given is not None and given < 0:
        raise InputError(f"{given} is no number of seconds", "resolution")
    return context.rooms.dispatcher.resampling.default if given is None else given


def named(data: JobData) -> list[dict[str, object]]:
    """JobMetricWithName of everything, in the order of the metrics, coarse to fine."""
    return [{"name": name, "scope": scope, "metric": metric} for name, by_scope in data.items() for scope, metric in by_scope.items()]


def bindables() -> list[ObjectType]:
    query = ObjectType("Query")
    query.set_field("jobMetrics", resolve_job_metrics)
    query.set_field("jobsMetrics", resolve_jobs_metrics)
    query.set_field("jobStats", resolve_job_stats)
    query.set_field("scopedJobStats", resolve_scoped_job_stats)
    return [query]
