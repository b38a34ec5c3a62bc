"""Browser sessions: a random cookie, its hash in a table. They end when they expire, at logout, and with the account."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Final

from cc_backend.access import AuthSource, Identity, roles_of
from cc_backend.db import sessions as rows
from cc_backend.db import users as user_rows
from cc_backend.db.database import Database

from .local import identity_of

COOKIE: Final = "session"
FOR_EVER: Final = 30 * 86_400
"""Seconds that a session lasts where `session-max-age` is 0."""


class Sessions:
    def __init__(self, database: Database, max_age: float, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.max_age = int(max_age) if max_age > 0 else FOR_EVER
        self._clock = clock

    async def begin(self, who: Identity) -> str:
        """The value of the cookie."""
        value, now = secrets.token_urlsafe(32), int(self._clock())
        claims = {"roles": sorted(who.roles), "projects": sorted(who.projects), "name": who.name, "email": who.email}
        await self._database.write(
            lambda conn: rows.add_session(conn, _hash(value), who.username, int(who.source), claims, now, now + self.max_age)
        )
        return value

    async def find(self, value: str) -> Identity | None:
        """Who the cookie belongs to, with the roles of now; None for one that is unknown, expired, or whose account has gone."""
        now = int(self._clock())
        found = await self._database.read(
            lambda conn: (row, user_rows.find_user(conn, row.username)) if (row := rows.find_session(conn, _hash(value), now)) else None
        )
        if found is None:
            return None
        row, user = found
        source = AuthSource(row.auth_source)
        if user is not None and user.source is source:
            who = identity_of(user)
        elif user is None and source in (AuthSource.TOKEN, AuthSource.OIDC):  # logged in by a portal, without an account here
            claims = json.loads(row.claims)
            who = Identity(
                username=row.username,
                roles=roles_of(claims["roles"]),
                projects=frozenset(claims["projects"]),
                source=source,
                session=True,
                name=claims["name"],
                email=claims["email"],
            )
        else:
            return None
        return who if who.roles else None

    async def end(self, value: str) -> None:
        await self._database.write(lambda conn: rows.delete_session(conn, _hash(value)))


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
