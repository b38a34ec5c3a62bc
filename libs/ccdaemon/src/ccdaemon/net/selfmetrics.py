"""`/metrics` of a daemon that has no port of its own (collector, adapter): only where its configuration asks, only on loopback."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from ..app import Application, Part, parse_address
from ..errors import OperatorError
from ..ledger import Registry
from ..log import Log
from .http_server import Listener


def metrics_part(app: Application, text: str, key: str, registry: Registry, log: Log) -> Part:
    """A listener on `text` (`host:port`, configuration key `key`); OperatorError when it is not loopback or taken."""
    address = parse_address(text, key)
    if not is_loopback(address.host):
        raise OperatorError(f"{key}: {text} is not a loopback address", "use 127.0.0.1:PORT")
    pages = web.Application()
    pages.router.add_get("/metrics", lambda _request: _exposition(registry))
    return Listener(app.bind([address])[0], pages, log=log)


async def _exposition(registry: Registry) -> web.Response:
    return web.Response(body=registry.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
