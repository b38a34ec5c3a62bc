"""The keys of API tokens, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from ccdaemon.errors import OperatorError
from ccdaemon.tokens import Verifier, belong_together, load_private_key, load_public_key

KNOWN_TO_ALL: Final = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="
"""The public key that older versions wrote into every installation; its private half is published."""


class Keys(msgspec.Struct, frozen=True):
    """None: tokens are neither accepted nor issued."""

    public: object | None
    private: object | None
    warnings: tuple[str, ...] = ()

    def verifier(self) -> Verifier | None:
        return Verifier((self.public,)) if self.public is not None else None


def keys_of(environ: Mapping[str, str]) -> Keys:
    """OperatorError for keys that cannot be read, or that do not belong together."""
    public, private = environ.get("JWT_PUBLIC_KEY", ""), environ.get("JWT_PRIVATE_KEY", "")
    warnings = []
    if not public or not private:
        warnings.append("JWT_PUBLIC_KEY or JWT_PRIVATE_KEY is not set: API tokens are neither accepted nor issued")
        return Keys(None, None, tuple(warnings))
    public_key, private_key = load_public_key(public), load_private_key(private)
    if not belong_together(private_key, public_key):
        raise OperatorError(
            "JWT_PUBLIC_KEY and JWT_PRIVATE_KEY do not belong together", "make a new pair with cc-backend -init in an empty directory"
        )
    if public.strip() == KNOWN_TO_ALL:
        warnings.append("JWT_PUBLIC_KEY is the published demo key: everybody can make administrator tokens, replace it")
    return Keys(public_key, private_key, tuple(warnings))
