"""What the pages of a logged-in user ask for beside GraphQL: settings and an API token."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from cc_backend.access import Right, require
from cc_backend.auth.middleware import WHO
from cc_backend.auth.tokens import issue
from cc_backend.db import settings as setting_rows
from cc_backend.db import users as user_rows
from cc_backend.errors import NotFound

from .answers import error_answer
from .rooms import Rooms, identity
from .users import form_of


def routes(rooms: Rooms, private_key: object | None, token_age: float | None) -> list[web.RouteDef]:
    """/frontend/jwt/, /frontend/configuration/. `token_age` in seconds, None: tokens never expire."""

    async def token(request: web.Request) -> web.Response:
        name = request.query.get("username", "")
        require(request[WHO], Right.ISSUE_TOKEN, name)
        if private_key is None:
            return error_answer(503, "no tokens are issued here: JWT_PRIVATE_KEY is not set")
        user = await rooms.database.read(lambda conn: user_rows.find_user(conn, name))
        if user is None:
            raise NotFound(f"unknown user: {name}")
        return web.Response(text=issue(private_key, user, token_age, int(rooms.clock())), headers={"Cache-Control": "no-store"})

    async def configure(request: web.Request) -> web.Response:
        who = identity(request)
        form = await form_of(request)
        await rooms.database.write(lambda conn: setting_rows.set_setting(conn, who.username, form.get("key", ""), form.get("value", "")))
        return web.Response(text="success")

    return [
        *(web.get(path, _in_session(token)) for path in ("/frontend/jwt/", "/frontend/jwt")),
        *(web.post(path, _in_session(configure)) for path in ("/frontend/configuration/", "/frontend/configuration")),
    ]


def _in_session(handler: Handler) -> Handler:
    """401 without a session; a token does not open these."""

    async def ask(request: web.Request) -> web.StreamResponse:
        who = request[WHO]
        if who is None or not who.session:
            return error_answer(401, "unauthorized (please login first)")
        require(who, Right.OWN_SETTINGS)
        return await handler(request)

    return ask
