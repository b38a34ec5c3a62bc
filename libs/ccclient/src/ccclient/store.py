"""cc-metric-store (or the store inside cc-backend) as its peers see it: write, query, health, free."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import msgspec
from ccdaemon.config.types import Secret
from ccdaemon.errors import PeerError
from ccdaemon.net.http_client import Answer, HttpClient
from ccschema.api import HealthRequest, NodeHealth, QueryRequest, QueryResponse, Selector

from .answers import body_of, not_now, reason


class Written(msgspec.Struct, frozen=True):
    """`complete` False: lines were refused, `text` says which; the good ones are stored (a reference store: those before the bad one)."""

    complete: bool
    text: str = ""


class TooLarge(Exception):
    """413: the store takes no body of this size; split it."""


class StoreClient:
    """Every call raises PeerError for what may be better later: no answer, 401, 403, 429, 5xx (with `retry_after` where given)."""

    def __init__(
        self, base: str, token: Secret | None = None, *, timeout: float = 10.0, tls: ssl.SSLContext | None = None, limit: int = 256 << 20
    ) -> None:
        self._http = HttpClient(base, token=token, timeout=timeout, tls=tls, limit=limit)

    @property
    def who(self) -> str:
        return self._http.who

    async def close(self) -> None:
        await self._http.close()

    async def write(self, lines: bytes, cluster: str = "") -> Written:
        """Line protocol with times in seconds; `cluster` for lines without that tag. TooLarge."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        query = {"cluster": cluster} if cluster else None
        answer = await self._http.request("POST", "/api/write", query=query, body=lines, headers=headers)
        if answer.status in (200, 204):
            return Written(True)
        if answer.status == 400:
            return Written(False, reason(answer))
        if answer.status == 413:
            raise TooLarge(reason(answer))
        raise not_now(self.who, "write", answer)

    async def query(self, request: QueryRequest, *, timeout: float | None = None) -> QueryResponse:
        """GET with a body: what a reference store understands. PeerError when the answer has not one result for each query."""
        body = msgspec.json.encode(request)
        answer = self._good("query", await self._http.request("GET", "/api/query", query={"version": "v2"}, body=body, timeout=timeout))
        response = body_of(self.who, "query", answer, QueryResponse)
        if not request.for_all_nodes and len(response.results) != len(request.queries or ()):
            raise PeerError(self.who, f"{len(response.results)} results for {len(request.queries or ())} queries")
        return response

    async def health(self, cluster: str, nodes: Sequence[str], metrics: Sequence[str]) -> dict[str, NodeHealth]:
        """Host → state of its monitoring."""
        body = msgspec.json.encode(HealthRequest(cluster=cluster, nodes=list(nodes), metric_names=list(metrics)))
        answer = self._good("health check", await self._http.request("GET", "/api/healthcheck", body=body))
        return body_of(self.who, "health check", answer, dict[str, NodeHealth])

    async def free(self, selectors: Sequence[Selector], before: int) -> str:
        """Drop data older than `before` (seconds); the store's words (`buffers freed: N`)."""
        body = msgspec.json.encode(selectors)
        answer = self._good("free", await self._http.request("POST", "/api/free", query={"to": str(before)}, body=body))
        return reason(answer)

    def _good(self, what: str, answer: Answer) -> Answer:
        if answer.status != 200:
            raise not_now(self.who, what, answer)
        return answer
