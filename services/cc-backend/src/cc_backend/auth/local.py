"""Accounts with a password of our own."""

from __future__ import annotations

from typing import Final

import bcrypt
from ccdaemon.errors import InputError
from ccdaemon.executors import Pool

from cc_backend.access import AuthSource, Identity, roles_of
from cc_backend.db.users import User

from . import Attempt, LoginFailed

COST: Final = 10
MAX_BYTES: Final = 72
"""bcrypt takes no more."""


def hash_password(password: str, cost: int = COST) -> str:
    """bcrypt hash; InputError for an empty or too long password."""
    raw = password.encode()
    if not raw:
        raise InputError("the password is empty")
    if len(raw) > MAX_BYTES:
        raise InputError(f"the password has {len(raw)} bytes; at most {MAX_BYTES} are possible")
    return bcrypt.hashpw(raw, bcrypt.gensalt(cost)).decode()


class LocalLogin:
    """Last in the order: it also claims names without an account, so that an answer takes as long as for a wrong password."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._dummy = hash_password("nobody has this password")

    def claims(self, attempt: Attempt, user: User | None) -> bool:
        return True

    async def verify(self, attempt: Attempt, user: User | None) -> Identity:
        stored = user.password if user is not None and user.source is AuthSource.LOCAL else None
        fits = await self._pool.run(_check, attempt.password, stored or self._dummy)
        if user is None or stored is None or not fits:
            raise LoginFailed
        return identity_of(user)


def _check(password: str, stored: str) -> bool:
    raw = password.encode("utf-8", "surrogatepass")
    try:
        return bcrypt.checkpw(raw[:MAX_BYTES], stored.encode()) and len(raw) <= MAX_BYTES
    except ValueError:  # not a hash: somebody wrote into the table by hand
        return False


def identity_of(user: User, *, session: bool = True) -> Identity:
    """An account as a caller."""
    return Identity(
        username=user.username,
        roles=roles_of(user.roles),
        projects=frozenset(user.projects),
        source=user.source,
        session=session,
        name=user.name,
        email=user.email,
    )
