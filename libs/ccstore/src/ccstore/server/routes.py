"""The store's HTTP routes (metric-store 3.1-3.9), the same for the daemon and for cc-backend's internal store.

Who may call is the caller's business: a `Guard` is asked before each of them.
"""

from __future__ import annotations

import asyncio
import http
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import orjson
from aiohttp import web
from ccdaemon.errors import PeerError
from ccschema.api import BodyError, decode_free, decode_health, decode_query, selector_candidates

from ..describe import NotFound
from .answers import health_answer, query_answer
from .store import Store, WriteAnswer

Action = Literal["write", "query", "free", "debug", "health"]
Guard = Callable[[web.Request, Action], Awaitable[web.StreamResponse | None]]
"""Returns the answer that refuses the request, or None."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT = 64 << 20
"""Bytes of a request body, after unpacking (metric-store 2.5)."""
QUERY_LIMIT = 8 << 20
INFLATE = 256 << 10
"""Bytes that are unpacked in one turn of the loop."""
STREAM_ABOVE = 256 << 10
"""Answers above this many bytes are sent as they are made."""


class TooLarge(Exception):
    """A body above the limit."""


class Incomplete(Exception):
    """A body that ended early or does not unpack."""


def store_routes(store: Store, guard: Guard, *, post_health: bool = False) -> list[web.RouteDef]:
    """/api/{write,query,free,debug,healthcheck}, with and without a trailing slash.

    post_health: POST /api/healthcheck is the health query too (daemon); in cc-backend that path belongs to the node states.
    """

    def guarded(action: Action, handler: Handler) -> Handler:
        async def ask(request: web.Request) -> web.StreamResponse:
            refusal = await guard(request, action)
            return refusal if refusal is not None else await handler(request)

        return ask

    write = guarded("write", lambda r: _write(store, r))
    query = guarded("query", lambda r: _query(store, r))
    free = guarded("free", lambda r: _free(store, r))
    debug = guarded("debug", lambda r: _debug(store, r))
    health = guarded("health", lambda r: _health(store, r))
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/api/write", write),
        ("GET", "/api/query", query),
        ("POST", "/api/query", query),
        ("POST", "/api/free", free),
        ("GET", "/api/debug", debug),
        ("POST", "/api/debug", debug),
        ("GET", "/api/healthcheck", health),
    ]
    if post_health:
        table.append(("POST", "/api/healthcheck", health))
    return [_route(method, path + tail, handler) for method, path, handler in table for tail in ("", "/", "/{rest:.+}")]


def _route(method: str, path: str, handler: Handler) -> web.RouteDef:
    return web.get(path, handler) if method == "GET" else web.post(path, handler)


def json_error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """`{"status":"Bad Request","error":"…"}` and a newline (metric-store 3.1)."""
    body = orjson.dumps({"status": http.HTTPStatus(status).phrase, "error": text}) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _write(store: Store, request: web.Request) -> web.StreamResponse:
    packing = {"Accept-Encoding": "gzip"}
    try:
        body = await read_body(request, BODY_LIMIT)
    except TooLarge:
        return json_error(413, f"body larger than {BODY_LIMIT} bytes", packing)
    except Incomplete as e:
        return json_error(400, f"incomplete body, nothing of it stored: {e}", packing)
    answer = await store.write(body, request.query.get("cluster", ""))
    if answer.status == 200:
        return web.Response(status=200, content_type="application/json", headers=packing)
    if answer.status in (429, 503):
        packing["Retry-After"] = "2"
    return json_error(answer.status, _write_error(answer), packing)


def _write_error(answer: WriteAnswer) -> str:
    return "\n".join(answer.errors) or http.HTTPStatus(answer.status).phrase


async def _query(store: Store, request: web.Request) -> web.StreamResponse:
    try:
        asked = decode_query(await read_body(request, QUERY_LIMIT))
    except TooLarge:
        return json_error(413, f"body larger than {QUERY_LIMIT} bytes")
    except (Incomplete, BodyError) as e:
        return json_error(400, str(e))
    loading = store.loading
    try:
        queries, rows = await store.answer(asked)
    except PeerError as e:
        return json_error(503, str(e), {"Retry-After": "2"})
    echoed = queries if asked.for_all_nodes is not None and len(queries) > len(asked.queries or ()) else None
    return await _send(request, query_answer(echoed, rows, asked, loading), "application/json")


async def _send(
    request: web.Request, pieces: AsyncIterator[bytes], content_type: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """One response where the answer is small, else a stream: an answer of any size costs no more than a slice of memory."""
    held: list[bytes] = []
    size = 0
    response: web.StreamResponse | None = None
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= STREAM_ABOVE:
            if response is None:
                response = web.StreamResponse(headers=headers)
                response.content_type = content_type
                await response.prepare(request)
            await response.write(b"".join(held))
            held, size = [], 0
    if response is None:
        return web.Response(body=b"".join(held), content_type=content_type, headers=headers)
    await response.write(b"".join(held))
    await response.write_eof()
    return response


async def _free(store: Store, request: web.Request) -> web.StreamResponse:
    to = request.query.get("to")
    if not to:
        return json_error(400, "'to' is a required query parameter")
    try:
        before = int(to)
    except ValueError:
        return json_error(400, f"'to' must be an integer (Unix seconds): parsing {orjson.dumps(to).decode()}: invalid syntax")
    try:
        selectors = decode_free(await read_body(request, QUERY_LIMIT))
    except TooLarge:
        return json_error(413, f"body larger than {QUERY_LIMIT} bytes")
    except (Incomplete, BodyError) as e:
        return web.Response(status=400, text=f"{e}\n")
    try:
        freed = await store.free(selectors, before)
    except PeerError as e:
        return json_error(503, str(e), {"Retry-After": "2"})
    return web.Response(text=f"buffers freed: {freed}\n")


async def _debug(store: Store, request: web.Request) -> web.StreamResponse:
    missing: NotFound | None = None
    for selector in selector_candidates(request.query.get("selector")):
        pieces = store.describe(selector)
        try:
            first = await anext(pieces, b"")
        except NotFound as e:
            missing = missing or e
            continue
        except PeerError as e:
            return json_error(503, str(e), {"Retry-After": "2"})
        return await _send(request, _with(first, pieces), "application/json")
    return json_error(400, str(missing))


async def _with(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


async def _health(store: Store, request: web.Request) -> web.StreamResponse:
    try:
        asked = decode_health(await read_body(request, QUERY_LIMIT))
    except TooLarge:
        return json_error(413, f"body larger than {QUERY_LIMIT} bytes")
    except (Incomplete, BodyError) as e:
        return json_error(400, f"parsing request body failed: {e}")
    headers = {"X-Loading": "true"} if store.loading else None
    try:
        found = await store.health(asked.cluster, asked.nodes, asked.metric_names)
    except PeerError as e:
        return json_error(503, str(e), {"Retry-After": "2"})
    return web.Response(body=health_answer(found), content_type="application/json", headers=headers)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, unpacked where it is gzip (the server must not do it: `auto_decompress=False`). Raises TooLarge, Incomplete: nothing of a cut-off body is ever applied."""
    packed = request.headers.get("Content-Encoding", "").strip().lower() == "gzip"
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > limit:
                raise TooLarge
            pieces.append(piece)
    except (web.RequestPayloadError, ConnectionError) as e:
        raise Incomplete(str(e)) from e
    body = b"".join(pieces)
    return await _unpack(body, limit) if packed else body


async def _unpack(body: bytes, limit: int) -> bytes:
    """All members of a gzip stream, in steps between which the loop does other work."""
    inflater = zlib.decompressobj(wbits=31)
    pieces: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(body), INFLATE):
            rest, piece = body[at : at + INFLATE], b""
            while rest or len(piece) == INFLATE:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=31)
                piece = inflater.decompress(rest, INFLATE)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise TooLarge
                if len(piece) == INFLATE:
                    await asyncio.sleep(0)
    except zlib.error as e:
        raise Incomplete(str(e)) from e
    if not inflater.eof:
        raise Incomplete("gzip stream ends early")
    return b"".join(pieces)
