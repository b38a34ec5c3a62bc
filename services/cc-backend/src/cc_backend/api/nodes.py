"""Node states as the adapter reports them, by REST and NATS: state, and whether the node's metrics are fresh."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from aiohttp import web
from ccdaemon.errors import InputError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.decode import LineError, decode
from ccschema.nodes import NodePayload, NodeState, NodeStates, decode_node_states, reduce_states
from ccstore.health import Health
from ccstore.server.store import Store

from cc_backend.access import Right
from cc_backend.clusters import Catalogue
from cc_backend.db.database import Database
from cc_backend.db.nodes import StateRow, add_states

from .rooms import Gate

_LARGEST: Final = 2**31 - 1


class NodeReports:
    """`take` stores one report; unknown clusters are an InputError, hosts in no node list are left out and named in the log."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        store: Store | None,
        ledger: Ledger,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._store = store
        self._ledger = ledger
        self._log = log
        self._clock = clock

    async def take(self, report: NodeStates) -> None:
        if self._catalogue.find(report.cluster) is None:
            raise InputError(f"unknown cluster: {report.cluster}", "cluster")
        # The last report of a host counts, should it stand there twice.
        nodes = {node.hostname: node for node in report.nodes if node.hostname}
        subclusters = {host: sub for host in nodes if (sub := self._catalogue.subcluster_of(report.cluster, host)) is not None}
        down = {host for host in subclusters if reduce_states(nodes[host].states) is NodeState.DOWN}
        health = await self._health(report.cluster, {host: sub for host, sub in subclusters.items() if host not in down})
        rows = [
            _row(nodes[host], sub, health.get(host, Health("full" if host in down else "failed", ""))) for host, sub in subclusters.items()
        ]
        now = int(self._clock())
        await self._database.write(lambda conn: add_states(conn, report.cluster, rows, now))

    async def _health(self, cluster: str, hosts: dict[str, str]) -> dict[str, Health]:
        """Per host, against the metrics of its subcluster; without a store nobody knows."""
        by_sub: dict[str, list[str]] = defaultdict(list)
        for host, sub in hosts.items():
            by_sub[sub].append(host)
        found: dict[str, Health] = {}
        for sub, names in by_sub.items():
            metrics = [metric.name for metric in self._catalogue.subcluster(cluster, sub).metric_config]
            if self._store is not None:
                found |= await self._store.health(cluster, names, metrics)
        return found

    async def handle(self, subject: str, data: bytes) -> None:
        """One NATS message: lines of measurement `nodestate` with the report in the string field `event`; never raises."""
        for line in decode(data, precision="ns", default_ns=None):
            self._ledger.took(1)
            try:
                if isinstance(line, LineError):
                    raise InputError(str(line))
                event = line.fields.get("event")
                if line.head.name != "nodestate" or not isinstance(event, str):
                    raise InputError(f"no node state event: measurement '{line.head.name}'")
                await self.take(decode_node_states(event.encode()))
            except (InputError, ValueError) as e:
                self._ledger.refused("refused", 1)
                self._log.error("nats.refused", subject=subject, reason=str(e)[:500])
            except Exception as e:
                self._ledger.refused("error", 1)
                self._log.bug("BUG: nats node state", e, subject=subject)
            else:
                self._ledger.gave(1)


def _row(node: NodePayload, subcluster: str, health: Health) -> StateRow:
    return StateRow(
        hostname=node.hostname,
        subcluster=subcluster,
        node_state=reduce_states(node.states).value,
        health_state=health.state,
        health_metrics=health.details,
        jobs_running=_bounded(node.jobs_running),
        cpus_allocated=_bounded(node.cpus_allocated),
        memory_allocated=node.memory_allocated,
        gpus_allocated=_bounded(node.gpus_allocated),
    )


def _bounded(number: int) -> int:
    return max(-_LARGEST, min(_LARGEST, number))


def routes(reports: NodeReports, gate: Gate) -> list[web.RouteDef]:
    """/api/nodestate/, and POST /api/healthcheck, which older adapters use for the same."""

    async def take(request: web.Request) -> web.Response:
        await reports.take(decode_node_states(await request.read()))
        return web.Response()

    paths = [("POST", "/api/nodestate"), ("PUT", "/api/nodestate"), ("POST", "/api/healthcheck")]
    return [web.route(method, f"{path}{slash}", gate.guarded(Right.USE_API, take)) for method, path in paths for slash in ("/", "")]
