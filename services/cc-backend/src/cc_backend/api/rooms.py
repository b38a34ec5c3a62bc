"""What the routes of REST share, and who may enter which group of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from ccdaemon.errors import InputError
from ccdaemon.executors import Pool
from ccdaemon.log import Log
from ccdaemon.net.clientip import Network, contains

from cc_backend.access import Identity, Right, may
from cc_backend.auth.middleware import WHO, Proxies
from cc_backend.clusters import Catalogue
from cc_backend.db.database import Database
from cc_backend.jobs.service import JobService
from cc_backend.metrics.dispatch import Dispatcher

from .answers import error_answer


class Rooms(msgspec.Struct, frozen=True):
    """`work`: pool for arithmetic and encoding of large answers; `archive`: pool of archive calls."""

    database: Database
    catalogue: Catalogue
    service: JobService
    dispatcher: Dispatcher
    read_meta: Callable[..., bytes]
    work: Pool
    archive: Pool
    log: Log
    clock: Callable[[], float]


class Gate:
    """The two doors of token routes. `allowed` None: from every address."""

    def __init__(self, proxies: Proxies, allowed: Sequence[Network] | None, *, disabled: bool = False) -> None:
        self._proxies = proxies
        self._allowed = allowed
        self._disabled = disabled  # authentication is disabled: everybody is the built-in administrator

    def refusal(self, request: web.Request, right: Right, *, check_address: bool = True) -> web.Response | None:
        """401 where the caller may not use the group, None where it may. A browser session is no token."""
        who = request[WHO]
        if check_address and self._allowed is not None and not contains(self._allowed, client := self._proxies.client(request)):
            return error_answer(401, f"unknown ip: {client}")
        if who is not None and who.session and not self._disabled:
            who = None
        if who is None:
            return error_answer(401, "no user for secured check", {"WWW-Authenticate": "Bearer"})
        return None if may(who, right) else error_answer(401, "unauthorized")

    def guarded(self, right: Right, handler: Handler, *, check_address: bool = True) -> Handler:
        async def ask(request: web.Request) -> web.StreamResponse:
            refusal = self.refusal(request, right, check_address=check_address)
            return refusal if refusal is not None else await handler(request)

        return ask


def identity(request: web.Request) -> Identity:
    """The caller behind a guard."""
    who = request[WHO]
    assert isinstance(who, Identity)
    return who


def path_id(request: web.Request) -> int:
    """The database id in the path; InputError where it is no number."""
    text = request.match_info["id"]
    try:
        return int(text) if text.isascii() else _no_number(text)
    except ValueError:
        return _no_number(text)


def _no_number(text: str) -> int:
    raise InputError(f"'{text[:50]}' is no number", "id")
