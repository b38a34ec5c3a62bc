"""REST of what is configured and what is used: clusters, hosts of running jobs."""

from __future__ import annotations

import hashlib

from aiohttp import web
from ccdaemon.errors import InputError

from cc_backend.access import Right, require
from cc_backend.db import jobs as rows

from .answers import json_answer, json_bytes, json_raw
from .rooms import Gate, Rooms, identity


def routes(rooms: Rooms, gate: Gate) -> list[web.RouteDef]:
    """/api/clusters/, /api/jobs/used_nodes"""

    async def clusters(request: web.Request) -> web.Response:
        require(identity(request), Right.READ_CLUSTERS)
        name = request.query.get("cluster")
        if name is None:
            return tagged(request, {"clusters": rooms.catalogue.all()})
        found = rooms.catalogue.find(name)
        if found is None:
            raise InputError(f"unknown cluster: {name}")
        return tagged(request, {"clusters": [found]})

    async def used_nodes(request: web.Request) -> web.Response:
        text = request.query.get("ts", "")
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise InputError("must be seconds since the epoch", "ts")
        before = int(text)
        return json_answer({"usedNodes": await rooms.database.read(lambda conn: rows.used_nodes(conn, before))})

    return [
        *(web.get(path, gate.guarded(Right.USE_API, clusters)) for path in ("/api/clusters/", "/api/clusters")),
        *(web.get(path, gate.guarded(Right.USE_API, used_nodes)) for path in ("/api/jobs/used_nodes", "/api/jobs/used_nodes/")),
    ]


def tagged(request: web.Request, value: object) -> web.Response:
    """The answer under a strong ETag of its content; 304 where the asker has it: collectors and stores ask for the list every few minutes."""
    body = json_bytes(value)
    etag = hashlib.sha256(body).hexdigest()[:32]
    known = request.if_none_match or ()
    answer = web.Response(status=304) if any(tag.value in (etag, "*") for tag in known) else json_raw(body)
    answer.etag = etag
    return answer
