"""Wiring of the daemon: configuration → store, routes, subscriptions, in the order in which they start and stop."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from aiohttp import web
from ccdaemon.app import Application, Phase
from ccdaemon.ledger import Registry
from ccdaemon.log import Log
from ccdaemon.net.http_server import Listener
from ccdaemon.net.nats import Nats
from ccdaemon.tls import ServerTls
from ccdaemon.tokens import TokenError, Verifier
from ccstore.metrics import MetricSpec, MetricTable, aggregation
from ccstore.server.routes import BODY_LIMIT, Action, Guard, store_routes
from ccstore.server.store import Store
from ccstore.server.subscribe import subscribe

from .backend import Backend
from .config import Config, Metric


def add_parts(app: Application, config: Config, sock: socket.socket, tls: ServerTls | None, verifier: Verifier | None, log: Log) -> None:
    """Everything that runs, behind a bound port and dropped privileges."""
    default = metric_table(config.metrics, log) if config.metrics is not None else None
    if default is None and not config.main.backend_url:
        log.warning('no section "metrics" and no main.backend-url: every line is counted and dropped until one of them is configured')
        default = MetricTable({})
    store = Store(config.store, tables={}, default=default, log=log, registry=app.registry)
    if config.nats is not None:
        nats = Nats(config.nats, client_name="cc-metric-store", log=log)
        subscribe(store, nats, config.store.nats_subscriptions, instance=f"{socket.gethostname()}-{sock.getsockname()[1]}")
        app.add(nats, Phase.INTAKE)
    elif config.store.nats_subscriptions:
        log.warning('NATS client not initialized: nats-subscriptions needs a section "nats"; the store runs without NATS')
    app.add(store, Phase.KEEP)
    if config.main.backend_url:
        app.add(Backend(config.main, store, wants_metrics=config.metrics is None, log=log), Phase.WORK)
    app.add(Listener(sock, web_app(store, app.registry, verifier), tls=tls.context if tls else None, log=log), Phase.INTAKE)


async def cleanup_once(config: Config, log: Log) -> tuple[int, int]:
    """(hosts, rows) of one cleanup run without serving anybody."""
    store = Store(config.store, tables={}, default=MetricTable({}), log=log, registry=Registry("cc-metric-store"))
    await store.start()
    try:
        return await store.cleanup_now()
    finally:
        await store.stop(60.0)


def metric_table(metrics: Mapping[str, Metric], log: Log) -> MetricTable:
    specs = {}
    for name, metric in metrics.items():
        strategy, warning = aggregation(metric.aggregation)
        if warning:
            log.warning(f"metrics.{name}.aggregation: {warning}, treated as none")
        specs[name] = MetricSpec(metric.frequency, strategy)
    return MetricTable(specs)


def web_app(store: Store, registry: Registry, verifier: Verifier | None) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[plain_errors])
    guard = token_guard(verifier)
    app.router.add_routes(store_routes(store, guard, post_health=True))

    async def metrics(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request) and (refusal := await guard(request, "debug")) is not None:
            return refusal
        return web.Response(body=registry.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/metrics", metrics)
    return app


def token_guard(verifier: Verifier | None) -> Guard:
    """Key, integrity and expiry only (design T4). None: everybody may (main.allow-unauthenticated)."""

    async def guard(request: web.Request, action: Action) -> web.StreamResponse | None:
        if verifier is None:
            return None
        header = request.headers.get("Authorization", "")
        token = header[7:] if header.startswith("Bearer ") else request.headers.get("X-Auth-Token", "")
        if not token:
            return web.Response(status=401, text="Use JWT Authentication\n", headers={"WWW-Authenticate": "Bearer"})
        try:
            verifier.verify(token.removeprefix("Bearer "))
        except TokenError:
            return web.Response(status=401, text="the token is not valid here\n", headers={"WWW-Authenticate": "Bearer"})
        return None

    return guard


def is_loopback(request: web.Request) -> bool:
    """Whether the connection itself comes from this machine and no proxy stands between (design R8)."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


@web.middleware
async def plain_errors(request: web.Request, handler: object) -> web.StreamResponse:
    """404 and 405 as the reference words them (metric-store 3.1)."""
    try:
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]
    except web.HTTPNotFound:
        return web.Response(status=404, text="404 page not found\n")
    except web.HTTPMethodNotAllowed as e:
        return web.Response(status=405, text="Method Not Allowed\n", headers={"Allow": e.headers["Allow"]})
    return response
