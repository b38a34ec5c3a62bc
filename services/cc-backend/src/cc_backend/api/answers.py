"""How an answer looks: JSON with its escapes, and the one table from exceptions to status codes."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from ccdaemon.errors import InputError, PeerError
from ccdaemon.log import Log
from ccschema.jsonin import BodyError

from cc_backend.access import Denied, Right
from cc_backend.errors import Conflict, NotFound

PREFIXES: Final = ("/api/", "/userapi/", "/frontend/", "/config/")
_GROUPS: Final = frozenset({Right.USE_API, Right.USE_USERAPI, Right.USE_STORE, Right.ADMINISTER})
"""Rights that a whole group of routes needs: without them the answer is 401, as if nobody were there."""


def json_bytes(value: object) -> bytes:
    """JSON as it may stand in a page: `<`, `>`, `&` escaped. They occur in strings only."""
    return msgspec.json.encode(value).replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def json_answer(value: object, status: int = 200) -> web.Response:
    return json_raw(json_bytes(value), status)


def json_raw(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body + b"\n", content_type="application/json")


def error_answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    response = json_answer({"status": http.HTTPStatus(status).phrase, "error": text}, status)
    response.headers.update(headers or {})
    return response


def status_of(error: Exception) -> tuple[int, str] | None:
    """(status, text for the sender) of what a handler raised; None: nobody expected it."""
    match error:
        case Denied():
            return (401 if error.anonymous or error.right in _GROUPS else 403), str(error)
        case NotFound():
            return 404, str(error)
        case Conflict():
            return 422, str(error)
        case BodyError():
            return 400, f"parsing request body failed: {error}"
        case InputError():
            return 400, str(error)
        case PeerError():
            return 503, str(error)
    return None


def answers(log: Log) -> Middleware:
    """Middleware for the paths of REST: exceptions become answers; details of what nobody expected go to the log only."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(PREFIXES):
            return await handler(request)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return json_answer({"error": "the requested endpoint does not exist", "status": "Resource not found"}, 404)
        except web.HTTPMethodNotAllowed as e:
            return web.Response(status=405, headers={"Allow": ", ".join(sorted(e.allowed_methods))})
        except web.HTTPRequestEntityTooLarge:
            return error_answer(413, "the request body is too large")
        except web.HTTPException:
            raise
        except Exception as e:
            known = status_of(e)
            if known is None:
                log.bug(f"BUG: {request.method} {request.path}", e)
                return error_answer(500, "internal error")
            return error_answer(*known)

    return middleware
