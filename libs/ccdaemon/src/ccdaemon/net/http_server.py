"""HTTP listener on a bound socket (aiohttp), with our limits and neutral error answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

from ..log import DEBUG, Log
from .body import BadBody

_KEEPALIVE = 75.0
_HEADER = 20.0
_WRITE = 60.0
_TAKEN = 256 << 10  # a line of 40 kbit/s does it in _WRITE
_MAX_HEADER = 16 << 10  # a token with many projects is long


class Listener:
    """A Part. Serves `app` on `sock`; stop closes intake first (new requests 503), then waits for running ones.

    Put into `app` as its outermost middleware: 503 while stopping, 500 without details for an error that nobody expected (its
    traceback goes to the log), one debug event per request (path without query: queries may carry tokens). The body limit is
    `client_max_size` of `app`. A connection whose request head is not complete `header_timeout` seconds after it opened (or after the
    keep-alive time) is closed; bodies may take as long as they need. A peer that leaves its answer unread for `write_timeout` seconds (takes
    less than 256 KiB of what waits for it) loses its connection. Handlers that want a body unpacked read it by `body.read_body`.
    """

    name: str

    def __init__(
        self,
        sock: socket.socket,
        app: web.Application,
        *,
        tls: ssl.SSLContext | None = None,
        log: Log,
        header_timeout: float = _HEADER,
        write_timeout: float = _WRITE,
    ) -> None:
        host, port, *_ = sock.getsockname()
        self.name = f"listener {host}:{port}"
        self.running = 0
        self._log = log
        self._closing = False
        self._idle = asyncio.Event()
        app.middlewares.insert(0, self._middleware())
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=_KEEPALIVE,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            shutdown_timeout=0.5,
            auto_decompress=False,
        )
        self._sock = sock
        self._tls = tls
        self._site: web.SockSite | None = None
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._busy: dict[object, int] = {}  # connection → requests in handlers
        self._quiet_since: dict[object, float] = {}
        self._unread: dict[object, tuple[float, int]] = {}  # connection → since when, what its peer had acknowledged then
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._runner.setup()
        self._site = web.SockSite(self._runner, self._sock, ssl_context=self._tls, backlog=1024)
        await self._site.start()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self._log.info("listening", address=self.name.removeprefix("listener "), tls=self._tls is not None)

    async def stop(self, deadline: float) -> None:
        """Running requests may end within `deadline`; then their connections are closed. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        if self._site is not None:
            await self._site.stop()  # closes the socket for new connections
        else:
            self._sock.close()
        self._idle.clear()
        if self.running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), max(0.0, deadline - 0.5))
        if self.running:
            self._log.warning("requests.cut", running=self.running)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._runner.cleanup()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._closing:
                return web.Response(status=503, text="shutting down\n", headers={"Connection": "close", "Retry-After": "5"})
            self.running += 1
            connection = request.protocol
            self._busy[connection] = self._busy.get(connection, 0) + 1
            began = time.monotonic()
            try:
                response = await self._answer(request, handler)
            finally:
                self.running -= 1
                self._busy[connection] = self._busy.get(connection, 1) - 1
                self._quiet_since[connection] = time.monotonic() + _KEEPALIVE
                if not self.running:
                    self._idle.set()
            if self._log.shows(DEBUG):
                took = round((time.monotonic() - began) * 1000, 1)
                self._log.debug(f"{request.method} {request.rel_url.raw_path}", status=response.status, ms=took)
            return response

        return outermost

    async def _sweep(self) -> None:
        """Close connections that send no complete request head or do not read: aiohttp waits for both without limit."""
        while True:
            await asyncio.sleep(min(self._header_timeout, self._write_timeout) / 4)
            now = time.monotonic()
            connections = self._runner.server.connections if self._runner.server else []
            self._drop_unread(connections, now)
            for gone in self._quiet_since.keys() - connections:
                del self._quiet_since[gone]
                self._busy.pop(gone, None)
            for connection in connections:
                since = self._quiet_since.setdefault(connection, now)
                if not self._busy.get(connection) and now - since > self._header_timeout:
                    transport = connection.transport
                    connection.force_close()
                    if transport is not None and transport.get_write_buffer_size():
                        transport.abort()  # a close would wait for a peer that does not read

    def _drop_unread(self, connections: Sequence[RequestHandler], now: float) -> None:
        for gone in self._unread.keys() - connections:
            del self._unread[gone]
        for connection in connections:
            transport = connection.transport
            waiting = transport.get_write_buffer_size() if transport is not None else 0
            if transport is None or not waiting:
                self._unread.pop(connection, None)
                continue
            acknowledged = _acknowledged(transport)
            since, before = self._unread.setdefault(connection, (now, acknowledged))
            if acknowledged - before >= _TAKEN:
                self._unread[connection] = now, acknowledged
            elif now - since > self._write_timeout:
                self._log.throttled(60, "client.does.not.read", peer=connection.peername, bytes=waiting)
                transport.abort()

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as answer:
            if answer.status >= 500:
                self._log.warning("request.failed", method=request.method, path=request.rel_url.raw_path, status=answer.status)
            raise
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except BadBody as error:
            return web.Response(status=error.status, text=f"{error}\n", headers={"Accept-Encoding": "gzip"})
        except Exception as error:
            self._log.bug(f"BUG: {request.method} {request.rel_url.raw_path}", error)
            return web.Response(status=500, text="internal error\n")


def _acknowledged(transport: asyncio.BaseTransport) -> int:
    """Bytes that the peer's kernel has confirmed (`tcpi_bytes_acked` of Linux's tcp_info, u64 at offset 120)."""
    sock = transport.get_extra_info("socket")
    return int(struct.unpack_from("=Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128), 120)[0])
