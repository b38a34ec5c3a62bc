"""`-server`: ports and keys as the user that was started, everything that makes files or threads after the privilege drop."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from ccdaemon.app import Address, Application, Phase, parse_address
from ccdaemon.errors import OperatorError
from ccdaemon.log import Log
from ccdaemon.tls import server_tls

from cc_backend.auth.keys import keys_of
from cc_backend.config import Config, not_in_this_version

STOP_DEADLINE: Final = 90.0
"""Seconds for a clean stop, below the unit's TimeoutStopSec=100."""


def run(config: Config, environ: Mapping[str, str], log: Log) -> int:
    """Serve until a signal; the exit code."""
    refuse_what_is_missing(config)
    main = config.main
    keys = keys_of(environ)
    for warning in keys.warnings:
        log.warning(warning)
    if main.disable_authentication:
        log.warning("main.disable-authentication: everybody who reaches this port is administrator")
    tls = server_tls(main.https_cert_file, main.https_key_file)
    app = Application("cc-backend", log=log, stop_deadline=STOP_DEADLINE)
    (sock,) = app.bind([parse_address(main.addr, "main.addr")])
    redirect = _redirect_socket(app, config, log)
    app.drop(main.user, main.group)
    from cc_backend.app import add_parts, open_core  # numpy starts threads when it is imported: not before the drop

    core = open_core(config, log)
    try:
        add_parts(app, config, core, sock, tls, keys, log)
    except BaseException:
        core.database.close()
        raise
    if redirect is not None:
        from ccdaemon.net.http_server import Listener

        app.add(Listener(redirect, _redirects(main.redirect_http_to), log=log), Phase.INTAKE)
    if tls is not None:

        async def renew() -> None:
            tls.reload()

        app.on_reload(renew)
    code = app.run()
    if code == 0:
        print("Graceful shutdown completed!")
    return code


def refuse_what_is_missing(config: Config) -> None:
    """OperatorError that names every configured feature this version does not have, with its key and the remedy."""
    missing = not_in_this_version(config)
    if missing:
        lines = [f"{key}: {what} is not in this version of cc-backend: {remedy}" for key, what, remedy in missing]
        raise OperatorError("\n".join(lines))


def _redirect_socket(app: Application, config: Config, log: Log) -> socket.socket | None:
    """Port 80, before the drop. That it is taken is no reason not to start."""
    if not config.main.redirect_http_to or config.main.addr.endswith(":80"):
        return None
    host = config.main.addr.rpartition(":")[0].strip("[]")
    try:
        return app.bind([Address(host, 80, "main.redirect-http-to")])[0]
    except OperatorError as e:
        log.error(str(e))
        return None


def _redirects(target: str) -> web.Application:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=301, headers={"Location": target})

    site = web.Application()
    site.router.add_route("*", "/{path:.*}", redirect)
    return site
