"""Ed25519 (EdDSA) JSON Web Tokens: make, verify, cache. What roles mean is cc_backend.access's business."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import time
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .cache import Cache
from .errors import OperatorError

_MAX_TOKEN = 16 << 10
_UNCHECKED = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}


class TokenError(Exception):
    """Why a token is refused; the text is for the log, not for the sender."""


class Claims(msgspec.Struct, frozen=True):
    """`sub`, `roles`, `projects`, `exp` (0 = never) and whatever else stood in the token (`raw`)."""

    sub: str = ""
    roles: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    exp: int = 0
    raw: Mapping[str, object] = {}


def load_public_key(text: str) -> object:
    """Base64 of the 32 raw bytes (the tutorial's form); OperatorError."""
    raw = _decoded(text, "public key")
    if len(raw) != 32:
        raise OperatorError(f"the JWT public key has {len(raw)} bytes instead of 32", _REMEDY)
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise OperatorError("the JWT public key is no Ed25519 key", _REMEDY) from None


def load_private_key(text: str) -> object:
    """Base64 of the 64 (seed + public) or 32 raw bytes; OperatorError."""
    raw = _decoded(text, "private key")
    if len(raw) not in (32, 64):
        raise OperatorError(f"the JWT private key has {len(raw)} bytes instead of 64", _REMEDY)
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    if len(raw) == 64 and key.public_key().public_bytes_raw() != raw[32:]:
        raise OperatorError("the two halves of the JWT private key do not belong together", _REMEDY)
    return key


def belong_together(private_key: object, public_key: object) -> bool:
    """Whether tokens of the one are accepted by the other."""
    assert isinstance(private_key, Ed25519PrivateKey) and isinstance(public_key, Ed25519PublicKey)
    return private_key.public_key().public_bytes_raw() == public_key.public_bytes_raw()


_REMEDY = "make a new pair with gen-keypair"


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(getattr(text, "reveal", lambda: text)().strip(), validate=True)
    except (binascii.Error, ValueError):
        raise OperatorError(f"the JWT {what} is no base64 text", _REMEDY) from None


def new_key_pair() -> tuple[str, str]:
    """(public, private) in the forms above."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return base64.b64encode(public).decode(), base64.b64encode(key.private_bytes_raw() + public).decode()


def make_token(private_key: object, claims: Mapping[str, object]) -> str:
    """A signed token; `exp` and other times are the caller's business."""
    assert isinstance(private_key, Ed25519PrivateKey)
    return jwt.encode(dict(claims), private_key, algorithm="EdDSA")


class Verifier:
    """Verifies against one or more public keys; keeps a bounded cache of good tokens until they expire."""

    def __init__(self, keys: tuple[object, ...], *, strict: bool = False, cache_size: int = 4096) -> None:
        self._keys = keys
        self._strict = strict
        self._good: Cache[bytes, Claims] = Cache(cache_size)

    def verify(self, token: str, now: float | None = None) -> Claims:
        """Key, integrity, expiry only (design T4); with `strict` also nbf and iat. TokenError."""
        now = time.time() if now is None else now
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise TokenError("longer than 16 KiB or not ASCII")
        # The cache is asked by a digest: comparing the text itself would tell by its time how much of a guess was right.
        key = hashlib.sha256(token.encode()).digest()
        claims = self._good.get(key)
        if claims is None:
            claims = _claims(self._decode(token))
            self._judge(claims, now)
            self._good.put(key, claims, 1, math.inf)
        else:
            self._judge(claims, now)
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        """The same work whichever key fits."""
        payload: dict[str, Any] | None = None
        reason = "no key is configured"
        for key in self._keys:
            try:
                payload = jwt.decode(token, key, algorithms=["EdDSA"], options=_UNCHECKED)  # type: ignore[arg-type]
            except jwt.PyJWTError as error:
                reason = str(error)
            except (ValueError, TypeError, RecursionError) as error:  # what PyJWT does not expect of a forged token
                reason = f"malformed ({type(error).__name__})"
        if payload is None:
            raise TokenError(reason)
        return payload

    def _judge(self, claims: Claims, now: float) -> None:
        if claims.exp and now >= claims.exp:
            raise TokenError(f"expired {int(now - claims.exp)} s ago")
        if not self._strict:
            return
        for name in ("nbf", "iat"):
            if name in claims.raw and _number(claims.raw[name], name) > now:
                raise TokenError(f"{name} lies in the future")


def _claims(payload: Mapping[str, Any]) -> Claims:
    sub = payload.get("sub")
    exp = _number(payload.get("exp") or 0, "exp")
    return Claims(sub if isinstance(sub, str) else "", _texts(payload, "roles"), _texts(payload, "projects"), math.ceil(exp), payload)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenError(f"{name} is no number")
    return value


def _texts(payload: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = payload.get(name)
    return tuple(x for x in value if isinstance(x, str)) if isinstance(value, list) else ()
