"""The internal metric store's routes under /api, guarded by the backend's rights."""

from __future__ import annotations

from aiohttp import web
from ccstore.server.routes import Action, store_routes
from ccstore.server.store import Store

from cc_backend.access import Right

from .answers import error_answer
from .rooms import Gate


def routes(store: Store | None, gate: Gate) -> list[web.RouteDef]:
    """/api/write, /api/query, /api/free, /api/debug, GET /api/healthcheck; 503 without an internal store."""

    async def guard(request: web.Request, action: Action) -> web.StreamResponse | None:
        return gate.refusal(request, Right.USE_STORE)

    if store is not None:
        return store_routes(store, guard)

    async def missing(request: web.Request) -> web.StreamResponse:
        refusal = await guard(request, "query")
        return refusal or error_answer(503, "this cc-backend has no internal metric store")

    paths = [f"/api/{name}{slash}" for name in ("write", "query", "free", "debug") for slash in ("", "/")]
    return [web.route("*", path, missing) for path in paths]
