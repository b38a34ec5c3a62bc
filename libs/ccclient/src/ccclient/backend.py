"""cc-backend as its peers see it: start and stop of jobs, node states, lists; what each status means, once."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from enum import Enum

import msgspec
from ccdaemon.config.types import Secret
from ccdaemon.net.http_client import Answer, HttpClient
from ccschema.api import StartJob, StopJob
from ccschema.clusters import Cluster
from ccschema.nodes import NodeStates

from .answers import body_of, not_now, reason

_NO_ROUTE = "the requested endpoint does not exist"


class Outcome(Enum):
    """What became of a start, a stop or a report of node states. All are final: nothing is to be repeated."""

    DONE = "done"  # 200, 201
    KNOWN = "known"  # 422: started or stopped already, by whatever path
    NOT_FOUND = "not found"  # 404 on stop: the backend does not know the job
    REFUSED = "refused"  # 400, 413: it will never take this one
    NO_ROUTE = "no route"  # this backend takes jobs by NATS only (design T8): says nothing about the job


class Delivered(msgspec.Struct, frozen=True):
    """`text` is what the backend said."""

    outcome: Outcome
    status: int
    text: str


class RunningJob(msgspec.Struct, rename="camel", frozen=True):
    """A job as the adapter needs it from the list; times in seconds, `id` = database id."""

    cluster: str = ""
    job_id: int = 0
    job_state: str = ""
    start_time: int = 0
    id: int = 0


class Clusters(msgspec.Struct, frozen=True):
    """`body` is the answer as it came, `etag` what the backend (or a proxy) called it, or empty."""

    clusters: tuple[Cluster, ...]
    body: bytes
    etag: str


class _Jobs(msgspec.Struct):
    jobs: list[RunningJob] = []


class _Clusters(msgspec.Struct):
    clusters: list[Cluster] = []


class _UsedNodes(msgspec.Struct, rename="camel"):
    used_nodes: dict[str, list[str] | None] = {}


class BackendClient:
    """Every call raises PeerError for what may be better later: no answer, 401 and 403 (a token can be renewed), 429, 5xx."""

    def __init__(
        self,
        base: str,
        token: Secret | None = None,
        *,
        timeout: float = 10.0,
        idle_timeout: float = 120.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._http = HttpClient(base, timeout=timeout, idle_timeout=idle_timeout, tls=tls)
        self._token = token

    @property
    def who(self) -> str:
        return self._http.who

    async def close(self) -> None:
        await self._http.close()

    async def start_job(self, job: StartJob | bytes) -> Delivered:
        """`bytes`: the body as it was put down in an outbox."""
        return self._judge("start_job", await self._post("/api/jobs/start_job/", job), stop=False)

    async def stop_job(self, job: StopJob | bytes) -> Delivered:
        return self._judge("stop_job", await self._post("/api/jobs/stop_job/", job), stop=True)

    async def node_states(self, states: NodeStates | bytes) -> Delivered:
        return self._judge("nodestate", await self._post("/api/nodestate/", states), stop=False)

    async def running_jobs(self) -> list[RunningJob]:
        """All running jobs of all clusters. Without `with-metadata`: a reference backend takes any value of it for yes."""
        query = {"state": "running", "items-per-page": "9999999", "page": "1"}
        answer = await self._get("/api/jobs/", query)
        return body_of(self.who, "list of jobs", self._good("list of jobs", answer), _Jobs).jobs

    async def used_nodes(self, before: int) -> dict[str, frozenset[str]]:
        """Cluster → hosts of running jobs that started before this time (seconds)."""
        answer = self._good("used nodes", await self._get("/api/jobs/used_nodes", {"ts": str(before)}))
        nodes = body_of(self.who, "used nodes", answer, _UsedNodes).used_nodes
        return {cluster: frozenset(hosts or ()) for cluster, hosts in nodes.items()}

    async def clusters(self, name: str = "", etag: str = "") -> Clusters | None:
        """All clusters (or one) with their metric lists; None when nothing changed since the answer called `etag`."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = await self._get("/api/clusters/", {"cluster": name} if name else {}, headers)
        if answer.status == 304 and etag:
            return None
        self._good("clusters", answer)
        return Clusters(parse_clusters(answer.body, self.who, answer), answer.body, answer.headers.get("etag", ""))

    async def _post(self, path: str, body: msgspec.Struct | bytes) -> Answer:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self._http.request("POST", path, body=data, headers=self._headers({"Content-Type": "application/json"}))

    async def _get(self, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        return await self._http.request("GET", path, query=query, headers=self._headers(headers or {}))

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        token = {"X-Auth-Token": self._token.reveal()} if self._token else {}
        return {"Accept": "application/ld+json, application/json", **token, **more}

    def _good(self, what: str, answer: Answer) -> Answer:
        if answer.status != 200:
            raise not_now(self.who, what, answer)
        return answer

    def _judge(self, what: str, answer: Answer, *, stop: bool) -> Delivered:
        text = reason(answer)
        outcomes = {200: Outcome.DONE, 201: Outcome.DONE, 422: Outcome.KNOWN, 400: Outcome.REFUSED, 413: Outcome.REFUSED}
        outcomes[405] = Outcome.NO_ROUTE
        outcome = outcomes.get(answer.status)
        if answer.status == 404 and _NO_ROUTE in text:
            outcome = Outcome.NO_ROUTE
        elif answer.status == 404 and stop and "json" in answer.headers.get("content-type", ""):
            outcome = Outcome.NOT_FOUND  # a proxy's own 404 is a page
        if outcome is None:
            raise not_now(self.who, what, answer)
        return Delivered(outcome, answer.status, text)


def parse_clusters(body: bytes, who: str, answer: Answer | None = None) -> tuple[Cluster, ...]:
    """The clusters of an answer of `/api/clusters/`, also of one that was kept on disk. PeerError."""
    answer = answer or Answer(200, {}, body)
    return tuple(body_of(who, "clusters", answer, _Clusters).clusters)
