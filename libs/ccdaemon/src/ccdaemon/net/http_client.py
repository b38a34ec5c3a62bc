"""One aiohttp session per peer: time limits, Bearer token, TLS verification on, jitter in `ccdaemon.retry`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import msgspec

from ..config.types import Secret


class Answer(msgspec.Struct):
    """Status, headers (lower-case names) and whole body, capped."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Made inside a running loop on first use; `request` raises PeerError for anything but an HTTP answer."""

    def __init__(
        self,
        base: str,
        *,
        token: Secret | None = None,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        idle_timeout: float = 120.0,
        limit: int = 64 << 20,
    ) -> None: ...
    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer: ...
    async def close(self) -> None: ...
