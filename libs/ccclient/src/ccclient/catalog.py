"""The one metric list: fetched from cc-backend, kept on disk, so that a node or a store starts with it while the backend is away."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.files import write_atomic
from ccdaemon.log import Log
from ccschema.clusters import Cluster, MetricConfig

from .backend import BackendClient, parse_clusters

_FORMAT = 1


class _Kept(msgspec.Struct):
    """The file (docs/formats/metric-list.md)."""

    format: int
    source: str
    cluster: str
    etag: str
    body: msgspec.Raw


class ListedMetric(msgspec.Struct, frozen=True):
    """What a cluster says about a metric. `unit` as written (`GB/s`), `timestep` in s, `aggregation`: `sum`, `avg` or empty."""

    name: str
    unit: str
    timestep: int
    aggregation: str
    scope: str


class Catalog:
    """`clusters` is empty until the first list was read or fetched; `refresh` when the owner thinks it is time."""

    def __init__(self, client: BackendClient, file: Path | None, *, pool: Pool, log: Log, cluster: str = "") -> None:
        self.clusters: tuple[Cluster, ...] = ()
        self._client = client
        self._file = file
        self._pool = pool
        self._log = log
        self._cluster = cluster
        self._etag = ""
        self._digest = b""

    async def load(self) -> bool:
        """Take the list that lies on disk; False where there is none of this backend and cluster. Never raises for its content."""
        if self._file is None:
            return False
        try:
            content = await self._pool.run(self._file.read_bytes)
            kept = msgspec.json.decode(content, type=_Kept)
            if (kept.format, kept.source, kept.cluster) != (_FORMAT, self._client.who, self._cluster):
                return False
            self.clusters = parse_clusters(bytes(kept.body), str(self._file))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError, PeerError) as error:  # ValueError: no UTF-8
            self._log.warning("metric.list.unreadable", file=self._file, error=error)
            return False
        self._etag, self._digest = kept.etag, _digest(bytes(kept.body))
        return True

    async def refresh(self) -> bool:
        """Ask the backend; True when the list is another than before. PeerError: what was known stays in force."""
        found = await self._client.clusters(self._cluster, self._etag if self.clusters else "")
        if found is None:
            return False
        self._etag = found.etag
        digest = _digest(found.body)
        if digest == self._digest:  # a backend without ETag
            return False
        self.clusters, self._digest = found.clusters, digest
        if self._file is not None:
            kept = _Kept(_FORMAT, self._client.who, self._cluster, found.etag, msgspec.Raw(found.body))
            try:
                await self._pool.run(write_atomic, self._file, msgspec.json.encode(kept))
            except OSError as error:
                self._log.throttled(3600, "metric.list.not.kept", file=self._file, error=error)
        return True

    def metrics(self, cluster: str) -> dict[str, ListedMetric]:
        """All metrics of a cluster and its subclusters by name; empty for an unknown one."""
        return next((metric_list(c) for c in self.clusters if c.name == cluster), {})


def metric_list(cluster: Cluster) -> dict[str, ListedMetric]:
    """Of several entries of one name the largest timestep counts, and the first other words (spec metric-store 1.2)."""
    found: dict[str, ListedMetric] = {}
    for metric in _all_metrics(cluster):
        known = found.get(metric.name)
        if known is None:
            unit = str(metric.unit)
            found[metric.name] = ListedMetric(metric.name, unit, metric.timestep, metric.aggregation, str(metric.scope))
        elif metric.timestep > known.timestep:
            found[metric.name] = msgspec.structs.replace(known, timestep=metric.timestep)
    return found


def _all_metrics(cluster: Cluster) -> Iterable[MetricConfig]:
    yield from cluster.metric_config
    for sub_cluster in cluster.sub_clusters:
        yield from sub_cluster.metric_config


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
