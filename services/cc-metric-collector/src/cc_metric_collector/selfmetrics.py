"""`/metrics` of the collector, only where `main.metrics_address` asks for it, only on loopback."""

from __future__ import annotations

import ipaddress

from aiohttp import web
from ccdaemon.app import Application, Part, parse_address
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Registry
from ccdaemon.log import Log
from ccdaemon.net.http_server import Listener

KEY = "main.metrics_address"


def metrics_part(app: Application, text: str, registry: Registry, log: Log) -> Part:
    """A listener on the address; OperatorError when it is not loopback or taken."""
    address = parse_address(text, KEY)
    if not is_loopback(address.host):
        raise OperatorError(f"{KEY}: {text} is not a loopback address", "use 127.0.0.1:PORT")
    pages = web.Application()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=registry.exposition(), content_type="text/plain", charset="utf-8")

    pages.router.add_get("/metrics", metrics)
    return Listener(app.bind([address])[0], pages, log=log)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
