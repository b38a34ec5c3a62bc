"""What happens to every request before its handler: headers, CORS, cross-site check, and who it is (`request[WHO]`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from ccdaemon.log import Log
from ccdaemon.net.clientip import Network, client_address, contains
from ccdaemon.tokens import TokenError

from cc_backend.access import Identity, Role

from .sessions import COOKIE, Sessions
from .tokens import TokenLogin, token_of

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; base-uri 'self'",  # pages set a stricter one
}
HSTS: Final = "max-age=31536000; includeSubDomains"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
CORS_METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS")
CORS_HEADERS: Final = "X-Requested-With, Content-Type, Authorization, Origin"
OPEN: Final = ("/login", "/logout", "/static/", "/img/", "/metrics")
"""Paths where a bad token or an old cookie is no reason to refuse."""

WHO: Final[web.RequestKey[Identity | None]] = web.RequestKey("who", Identity)
"""Who sent the request; None: nobody that we know. Set for every request by `authentication`."""

ANONYMOUS: Final = Identity(username="anonymous", roles=frozenset({Role.ADMIN, Role.API}), session=True)
"""Everybody, where authentication is disabled."""


class Proxies:
    """What the proxies that we trust say about a request."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def client(self, request: web.Request) -> str:
        """Address of the client: behind a trusted proxy from X-Forwarded-For or X-Real-Ip, else the peer."""
        peer = request.remote or ""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        if not forwarded and "X-Real-Ip" in request.headers:
            forwarded = request.headers.getall("X-Real-Ip")
        return client_address(peer, forwarded, self._trusted)

    def secure(self, request: web.Request) -> bool:
        """Whether the client came by HTTPS."""
        if request.transport is not None and request.transport.get_extra_info("ssl_object") is not None:
            return True
        return contains(self._trusted, request.remote or "") and request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def security_headers(proxies: Proxies) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """For `app.on_response_prepare`: every answer gets them, streamed ones and errors too."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        if proxies.secure(request):
            response.headers.setdefault("Strict-Transport-Security", HSTS)
        response.headers["Server"] = "cc-backend"  # versions are nobody's business
        response.headers.add("Vary", "Origin")
        if "Origin" in request.headers:  # without credentials: cookies never count across origins
            response.headers["Access-Control-Allow-Origin"] = "*"

    return add


def preflight() -> Middleware:
    """Answers a browser's question before a request across origins, without authentication."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return _preflight(request)
        return await handler(request)

    return middleware


def _preflight(request: web.Request) -> web.Response:
    if request.headers["Access-Control-Request-Method"] not in CORS_METHODS:
        return web.Response(status=200)
    return web.Response(
        status=200, headers={"Access-Control-Allow-Methods": ", ".join(CORS_METHODS), "Access-Control-Allow-Headers": CORS_HEADERS}
    )


def cross_site_check() -> Middleware:
    """Refuses what another site's page makes a browser send: by Sec-Fetch-Site, and by Origin of old browsers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in SAFE and _cross_site(request):
            return web.Response(status=403, text="cross-site request blocked\n")
        return await handler(request)

    return middleware


def _cross_site(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        # Nor another host of our domain: Lax cookies travel there, and nobody shall be logged in as somebody else.
        return site == "cross-site" or (site == "same-site" and (COOKIE in request.cookies or request.path == "/login"))
    origin = request.headers.get("Origin")
    if origin is None or COOKIE not in request.cookies:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.host.lower()
    except ValueError:  # nothing that a browser sends
        return True


def authentication(tokens: TokenLogin, sessions: Sessions, log: Log, *, disabled: bool = False) -> Middleware:
    """Sets `request[WHO]` to an Identity or None. A token that is no good is 401 at once, and so is an old cookie nothing."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[WHO] = ANONYMOUS if disabled else None
        if disabled:
            return await handler(request)
        token = token_of(request.headers)
        if token is not None:
            try:
                request[WHO] = await tokens.identify(token)
            except TokenError as e:
                log.throttled(10, "token.refused", path=request.path, reason=str(e))
                if not request.path.startswith(OPEN):
                    return _unauthorized(request)
        elif cookie := request.cookies.get(COOKIE):
            request[WHO] = await sessions.find(cookie)
        return await handler(request)

    return middleware


def _unauthorized(request: web.Request) -> web.Response:
    headers = {hdrs.WWW_AUTHENTICATE: "Bearer"}
    if request.path.startswith(("/api/", "/userapi/", "/frontend/", "/config/", "/query")):
        body = b'{"status":"Unauthorized","error":"unauthorized"}\n'
        return web.Response(status=401, body=body, content_type="application/json", headers=headers)
    return web.Response(status=401, text="unauthorized\n", headers=headers)
