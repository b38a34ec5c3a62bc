"""Ed25519 (EdDSA) JSON Web Tokens: make, verify, cache. What roles mean is cc_backend.access's business."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class TokenError(Exception):
    """Why a token is refused; the text is for the log, not for the sender."""


class Claims(msgspec.Struct, frozen=True):
    """`sub`, `roles`, `projects`, `exp` (0 = never) and whatever else stood in the token (`raw`)."""

    sub: str = ""
    roles: tuple[str, ...] = ()
    exp: int = 0
    raw: Mapping[str, object] = {}


def load_public_key(text: str) -> object:
    """Base64 of the 32 raw bytes (the tutorial's form); OperatorError."""


def load_private_key(text: str) -> object:
    """Base64 of the 64 (seed + public) or 32 raw bytes; OperatorError."""


def new_key_pair() -> tuple[str, str]:
    """(public, private) in the forms above."""


def make_token(private_key: object, claims: Mapping[str, object]) -> str: ...


class Verifier:
    """Verifies against one or more public keys; keeps a bounded cache of good tokens until they expire."""

    def __init__(self, keys: tuple[object, ...], *, strict: bool = False, cache_size: int = 4096) -> None: ...
    def verify(self, token: str, now: float | None = None) -> Claims:
        """Key, integrity, expiry only (design T4); with `strict` also nbf and iat. TokenError."""
