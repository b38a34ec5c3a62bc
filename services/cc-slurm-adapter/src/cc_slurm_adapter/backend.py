"""What the adapter asks cc-backend besides starts and stops: running jobs and the topology of hosts."""

from __future__ import annotations

import contextlib

from ccclient.backend import BackendClient
from ccschema.hostlist import NodeList

from .core import JobKey


class Backend:
    """Remembers the topology of cc-backend's clusters from the last answer."""

    def __init__(self, client: BackendClient) -> None:
        self._client = client
        self._topology: dict[str, list[tuple[NodeList, list[list[int]]]]] = {}  # cluster → (nodes of a subcluster, threads of each core)

    async def running(self) -> list[tuple[str, JobKey]]:
        """(cluster, job) of all running jobs; reads the topology too. PeerError."""
        jobs = await self._client.running_jobs()
        answer = await self._client.clusters()
        if answer is not None:
            self._topology = {}
            for cluster in answer.clusters:
                for sub in cluster.sub_clusters:
                    with contextlib.suppress(ValueError):  # its own cluster.json: cc-backend has told its administrator
                        cores = [list(threads) for threads in sub.topology.core or ()]
                        self._topology.setdefault(cluster.name, []).append((NodeList(sub.nodes.strip()), cores))
        return [(j.cluster, JobKey(j.job_id, j.start_time)) for j in jobs]

    def cores(self, cluster: str, host: str) -> list[list[int]] | None:
        """Hardware threads of each core of the host, by the topology of its subcluster; None where it is not known."""
        return next((cores for nodes, cores in self._topology.get(cluster, ()) if host in nodes and cores), None)
