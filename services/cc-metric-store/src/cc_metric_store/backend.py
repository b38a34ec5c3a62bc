"""What the daemon asks cc-backend (main.backend-url): hosts of running jobs, and the metric list where the file has none."""

from __future__ import annotations

import asyncio
import time

from ccclient.backend import BackendClient
from ccclient.catalog import Catalog, metric_list
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import Log
from ccschema.clusters import Cluster
from ccstore.metrics import MetricSpec, MetricTable, aggregation
from ccstore.server.store import Store

from .config import Main

EVERY = 60.0
SOON = 5.0
"""Seconds between two tries until the first metric list is there."""
LIST = ".metric-list.json"


class Backend:
    """A Part (phase WORK). A backend that is away is asked again; the metric list that it gave last is kept on disk and stays in force."""

    name = "backend"

    def __init__(self, main: Main, store: Store, *, wants_metrics: bool, log: Log) -> None:
        self._client = BackendClient(main.backend_url, main.backend_token or None)
        self._pool = Pool("metric-list", 1)
        self._catalog = Catalog(self._client, store.config.directory / LIST, pool=self._pool, log=log)
        self._store = store
        self._wants_metrics = wants_metrics
        self._log = log
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._wants_metrics and await self._catalog.load():
            self._store.set_metrics(metric_tables(self._catalog.clusters))
        self._task = asyncio.create_task(self._run(), name="backend")

    async def stop(self, deadline: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()
        await self._pool.stop(min(deadline, 1.0))

    async def _run(self) -> None:
        while True:
            await self.ask_once(int(time.time()))
            await asyncio.sleep(EVERY if self._store.engine.has_metrics else SOON)

    async def ask_once(self, now: int) -> None:
        try:
            self._store.protect(await self._client.used_nodes(now - int(self._store.config.retention_in_memory)), now)
        except PeerError as e:
            self._store.protect(None, now)
            self._log.throttled(600.0, "backend.busy-hosts", error=str(e))
        if self._wants_metrics:
            try:
                if await self._catalog.refresh():
                    self._store.set_metrics(metric_tables(self._catalog.clusters))
            except PeerError as e:
                self._log.throttled(600.0, "backend.metric-list", error=str(e))


def metric_tables(clusters: tuple[Cluster, ...]) -> dict[str, MetricTable]:
    """By cluster, every metric of the cluster and of its subclusters (metric-store 1.2)."""
    return {
        cluster.name: MetricTable({m.name: MetricSpec(m.timestep, aggregation(m.aggregation)[0]) for m in metric_list(cluster).values()})
        for cluster in clusters
    }
