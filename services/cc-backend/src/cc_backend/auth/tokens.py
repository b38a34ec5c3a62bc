"""API tokens: who sent one, and new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from ccdaemon.cache import AsyncCache
from ccdaemon.tokens import TokenError, Verifier, make_token

from cc_backend.access import AuthSource, Identity, roles_of
from cc_backend.db import users as user_rows
from cc_backend.db.database import Database
from cc_backend.db.users import User

from .local import identity_of

ACCOUNT_TTL: Final = 5.0
"""Seconds for which the account behind a token is remembered: collectors send one with every batch."""


class TokenLogin:
    """Tokens by our key. With `validate_user` the account must exist, and its roles and projects count."""

    def __init__(
        self, verifier: Verifier | None, database: Database, *, validate_user: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._verifier = verifier
        self._database = database
        self._validate_user = validate_user
        self._clock = clock
        self._accounts: AsyncCache[str, tuple[User | None]] = AsyncCache(4096)

    async def identify(self, token: str) -> Identity:
        """Whose token it is; TokenError."""
        if self._verifier is None:
            raise TokenError("no key is configured (JWT_PUBLIC_KEY)")
        claims = self._verifier.verify(token, self._clock())
        if not claims.sub:
            raise TokenError("the token has no subject")
        not_before = claims.raw.get("nbf")
        if isinstance(not_before, int | float) and not_before > self._clock():
            raise TokenError("the token is not valid yet")
        user = await self._account(claims.sub)
        if user is None and self._validate_user:
            raise TokenError("unknown user")
        issued = claims.raw.get("iat")
        if user is not None and user.tokens_valid_from and not (isinstance(issued, int | float) and issued >= user.tokens_valid_from):
            raise TokenError("the token was revoked")
        if user is not None and self._validate_user:
            return identity_of(user, session=False)
        # Without validate-user the token says everything, and it says nothing of projects.
        return Identity(username=claims.sub, roles=roles_of(claims.roles), source=AuthSource.TOKEN)

    async def _account(self, username: str) -> User | None:
        async def load() -> tuple[tuple[User | None], float, int]:
            return (await self._database.read(lambda conn: user_rows.find_user(conn, username)),), ACCOUNT_TTL, 1

        found = await self._accounts.get(username, load)
        return found[0] if found else None


def issue(private_key: object, user: User, max_age: float | None, now: int) -> str:
    """A token for an account: sub, roles, iat, and exp where tokens have an age."""
    claims: Mapping[str, object] = {"sub": user.username, "roles": list(user.roles), "iat": now}
    if max_age is not None:
        claims = {**claims, "exp": now + int(max_age)}
    return make_token(private_key, claims)


def token_of(headers: Mapping[str, str]) -> str | None:
    """The token of a request: `X-Auth-Token` first, then `Authorization` with or without `Bearer `.

    Other kinds of `Authorization` (Basic, of a proxy in front) are none of ours.
    """
    if token := headers.get("X-Auth-Token"):
        return token.removeprefix("Bearer ").strip()
    value = headers.get("Authorization", "").strip()
    if value.startswith("Bearer "):
        return value.removeprefix("Bearer ").strip()
    return value if value.count(".") == 2 and " " not in value else None
