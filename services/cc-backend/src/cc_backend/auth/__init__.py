"""Who are you? Methods of logging in; what one may do then is `cc_backend.access`.

Methods are asked in a fixed order; the first that claims an attempt decides alone.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from ccdaemon.errors import InputError

from cc_backend.access import Identity
from cc_backend.db.users import User


class Attempt(msgspec.Struct, frozen=True):
    """What somebody sent to log in. Never logged."""

    username: str
    password: str


class LoginFailed(InputError):
    """One text, whatever was wrong: it tells nobody which accounts exist."""

    def __init__(self) -> None:
        super().__init__("Authentication failed")


class LoginMethod(Protocol):
    def claims(self, attempt: Attempt, user: User | None) -> bool:
        """Whether this method decides about the attempt; `user` is the account of that name."""

    async def verify(self, attempt: Attempt, user: User | None) -> Identity:
        """Who it is; LoginFailed."""
