"""One aiohttp session per peer: time limits, Bearer token, TLS verification on, jitter in `ccdaemon.retry`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import msgspec

from ..config.types import Secret
from ..errors import OperatorError, PeerError
from .body import BadBody, whole_body


class Answer(msgspec.Struct):
    """Status, headers (lower-case names) and whole body, capped."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after(self) -> float | None:
        """Seconds the peer asks to wait (`Retry-After` as number), at most an hour."""
        text = self.headers.get("retry-after", "")
        return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None


class HttpClient:
    """Made inside a running loop on first use; `request` raises PeerError for anything but an HTTP answer.

    `base` may carry a path and `user:password@` (basic authentication); redirects are answers, never followed: the token
    stays with the peer that it was made for. `timeout` covers a whole request, `limit` the unpacked body.
    """

    def __init__(
        self,
        base: str,
        *,
        token: Secret | None = None,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        idle_timeout: float = 120.0,
        limit: int = 64 << 20,
    ) -> None:
        try:
            parts = urlsplit(base)
            fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # brackets that do not close, a port that is none
            fits = False
        if not fits:
            raise OperatorError(f"{_safe(base)!r} is no URL of a server", 'write "http://host:port" or "https://host"')
        self.who = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._auth = aiohttp.BasicAuth(parts.username, parts.password or "") if parts.username else None
        self._token = token
        self._timeout = timeout
        self._tls = tls
        self._idle = idle_timeout
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """`path` begins with a slash. A body without Content-Type goes as JSON."""
        all_headers = {"Content-Type": "application/json"} if body is not None else {}
        all_headers |= dict(headers or {})
        seconds = timeout or self._timeout
        try:
            async with self._opened().request(
                method,
                self._base + path,
                params=query,
                data=body,
                headers=all_headers,
                auth=self._auth,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                content = await self._body(response)
                return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)
        except TimeoutError:
            raise PeerError(self.who, f"no answer within {seconds:g} s") from None
        except aiohttp.ClientError as error:
            raise PeerError(self.who, _reason(error)) from None

    async def close(self) -> None:
        """May be called twice; a request afterwards opens a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept-Encoding": "gzip"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token.reveal()}"
            connector = aiohttp.TCPConnector(limit=16, keepalive_timeout=self._idle, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await whole_body(response.content, response.headers.get("Content-Encoding", ""), self._limit)
        except BadBody as error:
            response.close()
            raise PeerError(self.who, f"its answer cannot be read: {error.text}") from None


def _safe(url: str) -> str:
    return url.rpartition("@")[2]


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection"
    return f"{type(error).__name__}: {error}"
