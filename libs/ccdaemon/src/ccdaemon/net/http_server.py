"""HTTP listener on a bound socket (aiohttp), with our limits and neutral error answers."""

from __future__ import annotations

import socket
import ssl

from aiohttp import web

from ..log import Log


class Listener:
    """A Part. Serves `app` on `sock`; stop closes intake first (new requests 503), then waits for running ones."""

    name: str

    def __init__(self, sock: socket.socket, app: web.Application, *, tls: ssl.SSLContext | None = None, log: Log) -> None: ...
    async def start(self) -> None: ...
    async def stop(self, deadline: float) -> None: ...
