"""Line protocol by HTTP POST, to cc-metric-store or cc-backend.

One request per batch, keep-alive. Any 2xx means accepted. 400 and 422 mean that the peer has judged the lines (our store keeps
the good ones): counted, logged with the first line of the answer, not sent again. 413: the batch is halved at a line end.
Everything else, 401, 403 and 404 included (an expired token must not cost data), is tried again until it is accepted, from the
spool on disk.

Credentials in the URL are taken as basic authentication.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit

from ccdaemon.config.types import Duration, Secret
from ccdaemon.errors import OperatorError, PeerError
from ccdaemon.log import Log
from ccdaemon.net.http_client import Answer, HttpClient
from ccmessage.encode import Batch
from msgspec import Meta

from ..base import Refused, Retry, Sink
from ..common_keys import PushConfig, both_or_none

PLAIN = "text/plain; charset=utf-8"


class Keys(PushConfig, kw_only=True):
    url: Annotated[str, Meta(description="Whole URL, with query: `http://host:8082/api/write?cluster=fritz`.")]
    jwt: Annotated[Secret, Meta(description="Bearer token.")] = Secret("")
    username: Annotated[str, Meta(description="Basic authentication, with `password`; overrides the token.")] = ""
    password: Annotated[Secret, Meta(description="Basic authentication, with `username`.")] = Secret("")
    timeout: Annotated[Duration, Meta(description="Limit of one whole request.")] = Duration(5.0)
    idle_connection_timeout: Annotated[Duration, Meta(description="Keep an idle connection this long; longer than the interval.")] = (
        Duration(120.0)
    )
    max_retries: Annotated[int, Meta(description="Accepted; what fails is tried until it is accepted, from the spool.")] = 3
    use_gzip: Annotated[
        bool | None, Meta(description="Compress bodies; absent: as soon as an answer of the peer says that it takes them.")
    ] = None

    def check(self) -> Iterator[tuple[str, str, str]]:
        try:
            split_url(self.url)
        except OperatorError as error:
            yield "url", error.text, error.remedy
        yield from both_or_none(self, "username", "password")


class HttpSink(Sink):
    Config = Keys

    def __init__(self, config: Keys, name: str, log: Log) -> None:
        self._config = config
        self._log = log
        self._gzip = bool(config.use_gzip)
        self._client: HttpClient | None = None

    async def open(self) -> None:
        base, self._path, self._query, login = split_url(self._config.url)
        user, password = login or (self._config.username, self._config.password.reveal())
        self._headers = {"Content-Type": PLAIN}
        if user:
            self._headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._client = HttpClient(
            base,
            token=None if user or not self._config.jwt else self._config.jwt,
            timeout=self._config.timeout,
            idle_timeout=self._config.idle_connection_timeout,
        )

    async def send(self, batch: Batch) -> None:
        answer = await self._post(batch.body)
        if answer.status == 413 and batch.lines > 1:
            for part in batch.split(max(1, len(batch.body) // 2)):
                await self.send(part)
            return
        judge(answer, batch.lines)

    async def _post(self, body: bytes) -> Answer:
        assert self._client is not None
        headers = self._headers
        if self._gzip:
            headers = {**headers, "Content-Encoding": "gzip"}
            body = gzip.compress(body, 1)
        try:
            answer = await self._client.request("POST", self._path, query=self._query, body=body, headers=headers)
        except PeerError as error:
            raise Retry(error.text, error.retry_after) from None
        if self._config.use_gzip is None:
            self._gzip = "gzip" in answer.headers.get("accept-encoding", "")
        return answer

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def split_url(url: str) -> tuple[str, str, dict[str, str], tuple[str, str] | None]:
    """(scheme and host, path, query, (user, password) or None); OperatorError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OperatorError("this is no http or https URL", "write it as http://host:8082/api/write?cluster=NAME")
    login = (unquote(parts.username), unquote(parts.password)) if parts.username and parts.password else None
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return base, parts.path or "/", dict(parse_qsl(parts.query, keep_blank_values=True)), login


def judge(answer: Answer, lines: int) -> None:
    """Accepted, or raise what the status means."""
    if 200 <= answer.status < 300:
        return
    text = answer.body[:300].decode("utf-8", "replace").strip().partition("\n")[0]
    reason = f"status {answer.status}" + (f": {text}" if text else "")
    if answer.status in (400, 413, 422):
        raise Refused(reason)
    raise Retry(reason, answer.retry_after())
