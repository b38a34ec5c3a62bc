"""Regular expressions from configuration and users: RE2, so no pattern can take exponential time."""

from __future__ import annotations

from typing import Any, NamedTuple

import re2

MAX_PATTERN = 10_000  # bytes of a pattern
_MEMORY = 8 << 20  # bytes that one compiled pattern may take


class Pattern(NamedTuple):
    """A compiled pattern. `search` looks anywhere in the text, `fullmatch` at all of it; a match has group, groups, start, end."""

    text: str
    compiled: Any

    def search(self, text: str) -> Any | None:
        return self.compiled.search(_encodable(text))

    def fullmatch(self, text: str) -> Any | None:
        return self.compiled.fullmatch(_encodable(text))

    def matches(self, text: str) -> bool:
        """Unanchored search, as the operator `matches` of the expression language."""
        return self.compiled.search(_encodable(text)) is not None


def _encodable(text: str) -> str:
    """Lone surrogates cannot be UTF-8, which RE2 works on."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def compile_pattern(text: str, *, ignore_case: bool = False) -> Pattern:
    """ValueError with RE2's reason: wrong syntax, look-around or back-references, too long or too large."""
    if len(text) > MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.case_sensitive = not ignore_case
    try:
        return Pattern(text, re2.compile(_encodable(text), options))
    except re2.error as e:
        reason = e.args[0] if e.args else "invalid pattern"
        raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
