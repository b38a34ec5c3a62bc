"""Which source has a job's data, and what callers get of it.

Running jobs, and ended ones that wait for the archiver, are in a metric store; archived ones in the archive; a job that was never monitored, or
whose archiving failed, has no data. A host or metric that fails costs the others nothing: it is absent and named in the log.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from ccdaemon.cache import AsyncCache
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import Log
from ccschema import archive as documents
from ccschema.clusters import MetricConfig, SubCluster
from ccschema.jobs import Job, JobState, MonitoringStatus
from ccschema.scopes import Scope

from cc_backend.archive import ArchiveBackend, JobKey, Missing
from cc_backend.clusters import Catalogue
from cc_backend.errors import NotFound

from . import MetricSource, SeriesQuery, SeriesResult, Span, Stats, shape
from .scopes import HostShare, JobShape, plan
from .shape import JobData

CACHE_BYTES: Final = 128 << 20
RUNNING_TTL: Final = 120.0  # seconds, at most: never longer than the shortest time step of the metrics
ARCHIVED_TTL: Final = 5 * 3600.0
NAMED: Final = 5  # failed parts that an error text names


class Resampling(msgspec.Struct, frozen=True):
    """resolutions: configured time steps in seconds; series shorter than minimum_points stay native."""

    resolutions: tuple[int, ...] = ()
    minimum_points: int = 1000

    @property
    def default(self) -> int:
        """Resolution where the caller names none: the largest, 0 (native) without any."""
        return max(self.resolutions, default=0)


class Dispatcher:
    """For one event loop. Raises NotFound (no such cluster, subcluster, source, or archived document) and PeerError (nothing could be had)."""

    def __init__(
        self,
        catalogue: Catalogue,
        sources: Mapping[str, MetricSource],
        archive: ArchiveBackend,
        *,
        archive_pool: Pool,
        pool: Pool,
        log: Log,
        resampling: Resampling | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """sources: by scope, looked up as `<cluster>-<subcluster>`, `<cluster>`, `*`, "" (the built-in store). pool: for arithmetic."""
        self.resampling = resampling or Resampling()
        self._catalogue = catalogue
        self._sources = sources
        self._archive = archive
        self._archive_pool = archive_pool
        self._pool = pool
        self._log = log
        self._clock = clock
        self._cache: AsyncCache[tuple[object, ...], JobData] = AsyncCache(CACHE_BYTES)

    # ---- jobs

    async def job_data(self, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None, resolution: int = 0) -> JobData:
        """metrics None: all; scopes None: node from a store, all from the archive; resolution: seconds per value, 0 = native.

        Metrics that the cluster or subcluster does not have, and that nothing is known of, are absent."""
        key = (
            job.id, job.job_state, job.monitoring_status, None if metrics is None else tuple(metrics), None if scopes is None else tuple(scopes),
            resolution,
        )  # fmt: skip

        async def load() -> tuple[JobData, float, int]:
            data = await self._load(job, metrics, scopes, resolution)
            return data, self._ttl(job, data), shape.size(data)

        if not is_live(job) or job.job_state == JobState.RUNNING:
            data = await self._cache.get(key, load)
            assert data is not None
            return data
        # Late samples may still come, and the archiver wants them: nothing is kept between stop and archive.
        return (await load())[0]

    async def job_statistics(self, job: Job, metrics: Sequence[str] | None) -> dict[str, Stats]:
        """Job-level numbers per metric: mean over the hosts with data of their averages, extremes. Metrics without data are absent."""
        if is_live(job):
            data = await self._from_store(job, metrics, [Scope.NODE], 0, values=False)
            found = {name: shape.over_hosts(scopes[Scope.NODE]) for name, scopes in data.items() if Scope.NODE in scopes}
            return {name: stats for name, stats in found.items() if stats is not None}
        if not is_archived(job):
            return {}
        held = documents.decode_meta(await self._read(self._archive.read_meta, job)).statistics or {}
        return {name: Stats(one.avg, one.min, one.max) for name, one in held.items() if metrics is None or name in metrics}

    async def scoped_statistics(self, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None) -> JobData:
        """As `job_data`, with statistics and without values."""
        if is_live(job):
            return await self._from_store(job, metrics, scopes or [Scope.NODE], 0, values=False)
        return await self._from_archive(job, metrics, scopes, 0, values=False) if is_archived(job) else {}

    async def _load(self, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None, resolution: int) -> JobData:
        if is_live(job):
            asked = scopes if scopes is not None else [Scope.NODE]
            data = await self._from_store(job, metrics, asked, resolution, values=True)
            return await self._pool.run(shape.finished, data, asked)
        return await self._from_archive(job, metrics, scopes, resolution, values=True) if is_archived(job) else {}

    async def _from_store(
        self, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope], resolution: int, *, values: bool
    ) -> JobData:
        sub = self._catalogue.subcluster(job.cluster, job.sub_cluster)
        configs = _chosen(sub.metric_config, metrics)
        queries = [
            query._replace(resolution=shape.usable(resolution, configs[query.metric].timestep, self.resampling.resolutions))
            for query in plan(job_shape(job), list(configs.values()), scopes, sub.topology)
        ]
        span = Span(job.cluster, job.start_time, job.start_time + job.duration)
        results = await self._source(job.cluster, job.sub_cluster).fetch(queries, span, data=values)
        data, errors = await self._pool.run(shape.job_data, queries, results, configs)
        self._report(errors, bool(data), cluster=job.cluster, job=job.job_id)
        return data

    async def _from_archive(
        self, job: Job, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None, resolution: int, *, values: bool
    ) -> JobData:
        document = await self._read(self._archive.read_data, job)

        def make() -> JobData:
            held = shape.from_document(documents.decode_data(document, metrics), metrics, scopes, values=values)
            if not values:
                return held
            held = shape.resampled(held, resolution, self.resampling.resolutions, self.resampling.minimum_points)
            return shape.finished(held, scopes)

        return await self._pool.run(make)

    async def _read(self, read: Callable[[JobKey], bytes], job: Job) -> bytes:
        try:
            return await self._archive_pool.run(read, JobKey(job.cluster, job.job_id, job.start_time))
        except Missing as e:
            raise NotFound(str(e)) from e

    def _ttl(self, job: Job, data: JobData) -> float:
        if not is_live(job):
            return ARCHIVED_TTL
        steps = [metric.timestep for scopes in data.values() for metric in scopes.values()]
        return min(RUNNING_TTL, *steps) if steps else 0.0

    # ---- nodes

    async def hosts(self, cluster: str) -> list[str]:
        """The hosts that the cluster's store has, naturally sorted."""
        metrics = [metric.name for metric in self._catalogue.get(cluster).metric_config]
        return await self._source(cluster, "").hosts(cluster, metrics)

    async def node_data(
        self, cluster: str, nodes: Sequence[str] | None, metrics: Sequence[str] | None, scopes: Sequence[Scope] | None, from_: int, to: int,
        resolution: int = 0,
    ) -> dict[str, JobData]:  # fmt: skip
        """host → data, hosts in the order asked for (None: all that the store has), also those without any.

        scopes None: one series per metric, of the host as a whole. Hosts in no subcluster have the metrics of the cluster and node scope only."""
        config = self._catalogue.get(cluster)
        source = self._source(cluster, "")
        hosts = list(nodes) if nodes is not None else await self.hosts(cluster)
        queries = [
            query._replace(resolution=shape.usable(resolution, metric.timestep, self.resampling.resolutions))
            for query in self._node_queries(cluster, hosts, metrics, scopes)
            if (metric := config.metric(query.metric)) is not None
        ]
        results = await source.fetch(queries, Span(cluster, from_, to), data=True)
        configs = {metric.name: metric for metric in config.metric_config}
        data, errors = await self._pool.run(_by_host, hosts, queries, results, configs, scopes)
        self._report(errors, any(data.values()), cluster=cluster)
        return data

    def _node_queries(
        self, cluster: str, hosts: Sequence[str], metrics: Sequence[str] | None, scopes: Sequence[Scope] | None
    ) -> list[SeriesQuery]:
        subs: dict[str | None, list[str]] = defaultdict(list)
        for host in hosts:
            subs[self._catalogue.subcluster_of(cluster, host)].append(host)
        queries: list[SeriesQuery] = []
        for name, members in subs.items():
            sub = self._catalogue.subcluster(cluster, name) if name is not None else None
            configs = _chosen((sub or self._catalogue.get(cluster)).metric_config, metrics)
            if scopes is None or sub is None:
                queries += [SeriesQuery(metric, Scope.NODE, host) for host in members for metric in configs]
            else:
                queries += plan(_whole_nodes(members, sub), list(configs.values()), scopes, sub.topology)
        return queries

    # ---- shared

    def _source(self, cluster: str, sub_cluster: str) -> MetricSource:
        for scope in (f"{cluster}-{sub_cluster}", cluster, "*", ""):
            if scope in self._sources:
                return self._sources[scope]
        raise NotFound(f"no metric data repository configured '{cluster}-{sub_cluster}'")

    def _report(self, errors: Sequence[str], any_data: bool, **keys: object) -> None:
        if not errors:
            return
        text = "; ".join(errors[:NAMED]) + (f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else "")
        if not any_data:
            raise PeerError("metric store", text)
        self._log.throttled(60, "metrics.partial", failed=len(errors), error=text, **keys)


def is_live(job: Job) -> bool:
    """Whether a metric store has the data: the job runs, or is not archived yet."""
    return job.job_state == JobState.RUNNING or job.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING


def is_archived(job: Job) -> bool:
    return job.monitoring_status == MonitoringStatus.ARCHIVING_SUCCESSFUL


def job_shape(job: Job) -> JobShape:
    hosts = tuple(HostShare(r.hostname, tuple(r.hwthreads), tuple(r.accelerators)) for r in job.resources)
    return JobShape(hosts, accelerators=job.num_acc > 0)


def _whole_nodes(hosts: Sequence[str], sub: SubCluster) -> JobShape:
    devices = tuple(sub.topology.accelerator_ids())
    return JobShape(tuple(HostShare(host, (), devices) for host in hosts), accelerators=True)


def _chosen(configs: Sequence[MetricConfig], metrics: Sequence[str] | None) -> dict[str, MetricConfig]:
    """The asked metrics that exist, in the order asked for; None: all, by name."""
    held = {config.name: config for config in configs}
    return {name: held[name] for name in (sorted(held) if metrics is None else metrics) if name in held}


def _by_host(
    hosts: Sequence[str],
    queries: Sequence[SeriesQuery],
    results: Sequence[SeriesResult],
    configs: Mapping[str, MetricConfig],
    scopes: Sequence[Scope] | None,
) -> tuple[dict[str, JobData], list[str]]:
    parts: dict[str, tuple[list[SeriesQuery], list[SeriesResult]]] = {host: ([], []) for host in hosts}
    for query, result in zip(queries, results, strict=True):
        parts[query.host][0].append(query)
        parts[query.host][1].append(result)
    out: dict[str, JobData] = {}
    errors: list[str] = []
    for host, (asked, got) in parts.items():
        data, wrong = shape.job_data(asked, got, configs)
        out[host] = shape.finished(data, scopes) if scopes is not None else data
        errors += wrong
    return out, errors
