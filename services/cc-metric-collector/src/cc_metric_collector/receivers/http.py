"""Line protocol by HTTP POST, for collectors behind a proxy collector and for other agents.

200 with an empty body: all lines taken into memory; with `durable: true` only after every sink that has a peer has sent them or
written them to its spool. 400: some lines were bad; the
answer names the first ones, the good ones were taken. 401: wrong or missing credentials. 405: not POST. 404: another path.
413: more than 16 MiB. 503: no sink has room, or the collector stops, or (durable) it was not safe within 30 s; send it
again.

With `jwt_public_key` a Bearer token signed with that Ed25519 key is enough, judged by key, integrity and expiry; with `username`
and `password` basic authentication is; with both, either. Without any, everybody who reaches the port may send.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from aiohttp import web
from ccdaemon.config.types import Duration, Secret
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccdaemon.net.body import read_body
from ccdaemon.net.http_server import Listener
from msgspec import Meta

from ..base import Deliver, Receiver
from ..common_keys import ReceiverConfig, both_or_none
from .lines import Lines, settled_in_time

BODY_LIMIT = 16 << 20


class Keys(ReceiverConfig, kw_only=True):
    address: Annotated[str, Meta(description="Address to listen on; empty: all.")] = ""
    port: Annotated[str | int, Meta(description="Port to listen on.")] = "8080"
    path: Annotated[str, Meta(description="Path of the endpoint; one that ends in `/` takes everything below, too.")] = "/"
    idle_timeout: Annotated[Duration, Meta(description="Accepted; idle connections are closed after a minute or so.")] = Duration(120.0)
    keep_alives_enabled: Annotated[bool, Meta(description="Keep connections open between requests.")] = True
    username: Annotated[str, Meta(description="Basic authentication, with `password`.")] = ""
    password: Annotated[Secret, Meta(description="Basic authentication, with `username`.")] = Secret("")
    precision: Annotated[
        Literal["s", "ms", "us", "ns"], Meta(description="Unit of the timestamps; `ns` recognises the others by magnitude.")
    ] = "ns"
    jwt_public_key: Annotated[str, Meta(description="Base64 of the raw Ed25519 key that signs tokens.", extra={"strict": True})] = ""
    durable: Annotated[bool, Meta(description="Answer only when all lines are sent or on disk.")] = False
    tls_cert_file: Annotated[str, Meta(description="Certificate, with its key: the receiver serves HTTPS.")] = ""
    tls_key_file: Annotated[str, Meta(description="Key of the certificate.")] = ""

    def check(self) -> Iterator[tuple[str, str, str]]:
        yield from both_or_none(self, "username", "password")
        yield from both_or_none(self, "tls_cert_file", "tls_key_file")


class HttpReceiver(Receiver):
    Config = Keys

    def __init__(self, config: Keys, name: str, log: Log, ledger: Ledger) -> None:
        self._config = config
        self._path = "/" + config.path.lstrip("/")
        self._log = log
        self._lines = Lines(config, f"HttpReceiver({name})", config.precision, ledger)
        self._allowed = make_guard(config)
        self.port = 0  # where it listens, once it does

    async def run(self, deliver: Deliver) -> None:
        app = web.Application(client_max_size=BODY_LIMIT)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, deliver)

        app.router.add_route("*", "/{tail:.*}", handle)
        sock = bind(self._config.address, int(self._config.port))
        self.port = sock.getsockname()[1]
        listener = Listener(sock, app, tls=make_tls(self._config), log=self._log)
        await listener.start()
        try:
            await asyncio.Event().wait()
        finally:
            await listener.stop(2.0)

    async def _handle(self, request: web.Request, deliver: Deliver) -> web.StreamResponse:
        if not self._path_fits(request.path):
            return web.Response(status=404, text="Not Found")
        if not self._allowed(request.headers.get("Authorization", "")):
            return web.Response(status=401, text="Unauthorized", headers={"WWW-Authenticate": 'Basic realm="cc-metric-collector"'})
        if request.method != "POST":
            return web.Response(status=405, text="Method Not Allowed", headers={"Allow": "POST"})
        taken = self._lines.take(await read_body(request, BODY_LIMIT), deliver)
        if not taken.delivered or (self._config.durable and not await settled_in_time(deliver)):
            return web.Response(status=503, text="no room, try again", headers={"Retry-After": "5"})
        answer = web.Response()
        if taken.bad:
            self._log.throttled(60, "receiver.bad_lines", count=taken.bad, first=taken.errors[0], peer=request.remote)
            text = "\n".join(f"ServerHttp: Failed to decode message: {error}" for error in taken.errors)
            answer = web.Response(status=400, text=f"{text}\n{taken.bad} of {taken.bad + taken.messages} lines not taken\n")
        if not self._config.keep_alives_enabled:
            answer.force_close()
        return answer

    def _path_fits(self, path: str) -> bool:
        return path == self._path or (self._path.endswith("/") and path.startswith(self._path))


def make_guard(config: Keys) -> Callable[[str], bool]:
    """Judges the header Authorization; OperatorError for a bad key."""
    checks: list[Callable[[str], bool]] = []
    if config.username:
        wanted = f"{config.username}:{config.password.reveal()}".encode()
        checks.append(lambda header: hmac.compare_digest(basic(header), wanted))
    if config.jwt_public_key:
        from ccdaemon.tokens import TokenError, Verifier, load_public_key  # loads cryptography: only where it is needed

        verifier = Verifier((load_public_key(config.jwt_public_key),))

        def bearer(header: str) -> bool:
            scheme, _, token = header.partition(" ")
            try:
                return scheme.lower() == "bearer" and verifier.verify(token.strip()) is not None
            except TokenError:
                return False

        checks.append(bearer)
    return lambda header: not checks or any(check(header) for check in checks)


def basic(header: str) -> bytes:
    """`user:password` of a Basic header; empty where it is none."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def make_tls(config: Keys) -> ssl.SSLContext | None:
    if not config.tls_cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise OperatorError(f"tls_cert_file: {error}", "give a PEM certificate and its key, readable for the collector") from None
    return context


def bind(address: str, port: int) -> socket.socket:
    """Listening socket; all addresses of both families where `address` is empty. OperatorError."""
    try:
        if not address and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise OperatorError(f"cannot listen on {address or '*'}:{port}: {error}", "choose another address or port") from None
