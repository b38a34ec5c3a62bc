"""Logging in and out. The pages around it are `cc_backend.pages`' business: `show` draws the login page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web
from ccdaemon.log import Log

from cc_backend.auth import Attempt, LoginFailed, LoginMethod
from cc_backend.auth.limits import LoginLimit
from cc_backend.auth.middleware import WHO, Proxies
from cc_backend.auth.sessions import COOKIE, Sessions
from cc_backend.db import users as user_rows
from cc_backend.db.database import Database

from .users import form_of

Show = Callable[[int, str, str, str], web.StreamResponse]
"""(status, kind "info" | "warning" | "danger", text, where to go after the login) → the login page."""

_LOCAL_TARGET: Final = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")
_MAX_FORM: Final = 16 << 10


def routes(
    database: Database, sessions: Sessions, methods: Sequence[LoginMethod], limit: LoginLimit, proxies: Proxies, show: Show, log: Log
) -> list[web.RouteDef]:
    """POST /login, POST /logout"""

    async def login(request: web.Request) -> web.StreamResponse:
        form = await form_of(request, _MAX_FORM)
        target = local_target(form.get("redirect", ""))
        attempt = Attempt(username=form.get("username", ""), password=form.get("password", ""))
        client = proxies.client(request)
        if not limit.allows(client, attempt.username):
            return show(401, "warning", "too many login attempts, try again in a few minutes", target)
        # Counted before it is judged, so that many attempts at once are many; a success takes nothing away from others.
        limit.failed(client, attempt.username)
        user = await database.read(lambda conn: user_rows.find_user(conn, attempt.username))
        try:
            method = next((m for m in methods if m.claims(attempt, user)), None)
            if method is None:
                raise LoginFailed
            who = await method.verify(attempt, user)
        except LoginFailed as e:
            log.warning("login.failed", client=client, user=attempt.username[:100])
            return show(401, "warning", str(e), target)
        limit.succeeded(client, attempt.username)
        if old := request.cookies.get(COOKIE):
            await sessions.end(old)
        log.info("login", user=who.username, client=client)
        answer = web.Response(status=302, headers={"Location": target})
        secure = proxies.secure(request)
        if not secure:
            log.throttled(3600, "login.without_tls", client=client)
        answer.set_cookie(
            COOKIE, await sessions.begin(who), path="/", httponly=True, samesite="Lax", secure=secure, max_age=sessions.max_age
        )
        return answer

    async def logout(request: web.Request) -> web.StreamResponse:
        if value := request.cookies.get(COOKIE):
            await sessions.end(value)
        request[WHO] = None
        answer = show(200, "info", "Logout successful", "/")
        # The same attributes as at login, or the browser keeps the cookie.
        answer.set_cookie(COOKIE, "", path="/", httponly=True, samesite="Lax", secure=proxies.secure(request), max_age=0)
        return answer

    return [web.post("/login", login), web.post("/logout", logout)]


def local_target(text: str) -> str:
    """Where to go after the login: a path of this site, else `/`. `//host` and `/\\host` are other sites to a browser."""
    return text if _LOCAL_TARGET.fullmatch(text) else "/"
