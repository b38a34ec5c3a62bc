"""What the daemon asks cc-backend (main.backend-url): hosts of running jobs, and the metric list where the file has none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from ccdaemon.errors import PeerError
from ccdaemon.log import Log
from ccdaemon.net.http_client import HttpClient
from ccstore.metrics import MetricSpec, MetricTable, aggregation
from ccstore.server.store import Store

from .config import Main

EVERY = 60.0
SOON = 5.0
"""Seconds between two tries until the first metric list is there."""


class Backend:
    """A Part (phase WORK). A backend that is away is asked again; what it said last stays in force."""

    name = "backend"

    def __init__(self, main: Main, store: Store, *, wants_metrics: bool, log: Log) -> None:
        self._client = HttpClient(main.backend_url.rstrip("/"), token=main.backend_token or None, timeout=10.0)
        self._store = store
        self._wants_metrics = wants_metrics
        self._log = log
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="backend")

    async def stop(self, deadline: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    async def _run(self) -> None:
        while True:
            await self.ask_once(int(time.time()))
            await asyncio.sleep(EVERY if self._store.engine.has_metrics else SOON)

    async def ask_once(self, now: int) -> None:
        before = now - int(self._store.config.retention_in_memory)
        try:
            self._store.protect(busy_hosts(await self._get("/api/jobs/used_nodes", {"ts": str(before)})), now)
        except (PeerError, ValueError) as e:
            self._store.protect(None, now)
            self._log.throttled(600.0, "backend.busy-hosts", error=str(e))
        if self._wants_metrics:
            try:
                self._store.set_metrics(metric_tables(await self._get("/api/clusters/", {})))
            except (PeerError, ValueError) as e:
                self._log.throttled(600.0, "backend.metric-list", error=str(e))

    async def _get(self, path: str, query: dict[str, str]) -> Any:
        answer = await self._client.request("GET", path, query=query)
        if answer.status != 200:
            raise PeerError("cc-backend", f"{path}: HTTP status {answer.status}")
        return msgspec.json.decode(answer.body)


def busy_hosts(body: Any) -> dict[str, frozenset[str]]:
    """`{"usedNodes":{"alex":["a0603"]}}`, or the inner object at top level (metric-store 5.1). ValueError."""
    inner = body.get("usedNodes", body) if isinstance(body, dict) else None
    if not isinstance(inner, dict) or not all(isinstance(hosts, list | None) for hosts in inner.values()):
        raise ValueError("used_nodes: not a map of cluster to hosts")
    return {str(cluster): frozenset(map(str, hosts or ())) for cluster, hosts in inner.items()}


def metric_tables(body: Any) -> dict[str, MetricTable]:
    """By cluster, every metric of the cluster and of its subclusters; the largest timestep of a name counts (metric-store 1.2)."""
    clusters = body.get("clusters", body) if isinstance(body, dict) else body
    tables: dict[str, MetricTable] = {}
    for cluster in clusters or ():
        specs: dict[str, MetricSpec] = {}
        for metric in cluster.get("metricConfig") or ():
            strategy, _ = aggregation(metric.get("aggregation"))
            steps = [int(metric["timestep"])]
            specs[metric["name"]] = MetricSpec(max(steps), strategy)
        tables[cluster["name"]] = MetricTable(specs)
    return tables
