"""The calls to cc-backend that are not about one job: running jobs, topology, node states."""

from __future__ import annotations

import contextlib

import msgspec
from ccdaemon.config.types import Secret
from ccdaemon.errors import PeerError
from ccdaemon.net.http_client import HttpClient
from ccschema.hostlist import NodeList

from .core import JobKey

Topology = dict[str, list[tuple[NodeList, list[list[int]]]]]


class Backend:
    """Remembers the topology of cc-backend's clusters from the last answer."""

    def __init__(self, http: HttpClient, token: Secret) -> None:
        self._http = http
        self._token = token
        self._topology: Topology = {}

    def headers(self) -> dict[str, str]:
        """The plain token in X-Auth-Token, as the reference's adapter sends it."""
        return {"Accept": "application/ld+json", "Content-Type": "application/json", "X-Auth-Token": self._token.reveal()}

    async def running(self) -> list[tuple[str, JobKey]]:
        """(cluster, job) of all running jobs; reads the topology too. PeerError."""
        query = {"state": "running", "items-per-page": "9999999", "page": "1"}
        jobs = await self._http.request("GET", "/api/jobs/", query=query, headers=self.headers())
        clusters = await self._http.request("GET", "/api/clusters/", headers=self.headers())
        if jobs.status != 200:
            raise PeerError("cc-backend", f"GET /api/jobs/ answered {jobs.status}: {jobs.body[:200].decode('utf-8', 'replace')}")
        try:
            found = msgspec.json.decode(jobs.body, type=_RunningJobs).jobs
            if clusters.status == 200:
                self._topology = _topologies(clusters.body)
        except msgspec.DecodeError as e:
            raise PeerError("cc-backend", f"unreadable answer: {e}") from None
        return [(j.cluster, JobKey(j.job_id, j.start_time)) for j in found]

    async def send_nodes(self, body: bytes) -> None:
        """PeerError when it was not taken."""
        answer = await self._http.request("POST", "/api/nodestate/", body=body, headers=self.headers())
        if answer.status != 200:
            raise PeerError("cc-backend", f"POST /api/nodestate/ answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}")

    def cores(self, cluster: str, host: str) -> list[list[int]] | None:
        """Hardware threads of each core of the host, by the topology of its subcluster; None where it is not known."""
        return next((cores for nodes, cores in self._topology.get(cluster, ()) if host in nodes and cores), None)


class _RunningJob(msgspec.Struct, rename="camel"):
    cluster: str
    job_id: int
    start_time: int


class _RunningJobs(msgspec.Struct):
    jobs: list[_RunningJob]


class _Topology(msgspec.Struct, frozen=True):
    core: list[list[int]] = []


class _SubCluster(msgspec.Struct):
    nodes: str
    topology: _Topology = _Topology()


class _Cluster(msgspec.Struct, rename="camel"):
    name: str
    sub_clusters: list[_SubCluster] = []


def _topologies(body: bytes) -> Topology:
    """cluster → (nodes of the subcluster, threads of each core)."""
    found: Topology = {}
    for cluster in msgspec.json.decode(body, type=list[_Cluster]):
        for sub in cluster.sub_clusters:
            with contextlib.suppress(ValueError):  # its own cluster.json: cc-backend has told its administrator
                found.setdefault(cluster.name, []).append((NodeList(sub.nodes.strip()), sub.topology.core))
    return found
