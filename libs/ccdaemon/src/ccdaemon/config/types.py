"""Types that configuration Structs use, and what the walker reports.

A configuration is a msgspec Struct (`rename="kebab"` for store and backend, `"camel"` for the adapter, none for the collector).
Fields may carry `Meta(description=…, ge=…, le=…, extra={…})` with these words in `extra`:

- `"aliases": ("old-key",)`: other spellings that are read without a word;
- `"removed": ("gone-key",)`: keys of older versions that this field replaces: a warning that names the field;
- `"strict": True`: an unknown key that looks like this one is an error (user, group, keys, allow-lists; `Secret` fields and
  strict Structs are so of themselves);
- `"example": "…"`: shown where the key is missing, and on the reference page.

A Struct may say:

- `strict: ClassVar[bool] = True`: unknown keys in it and below are errors;
- `removed_keys: ClassVar[Mapping[str, str]]`: keys of older versions without successor and what to do: a warning each;
- `check(self) -> Iterable[tuple[str, str, str]]`: (attribute, what is wrong, what to do) for rules between keys; all are fatal.
  A `ValueError` of `__post_init__` is one problem of the whole object.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import msgspec


class Position(NamedTuple):
    """A place in a file, lines and columns from 1."""

    file: Path
    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """`file:line:column: path.to.key: what is wrong, what to do`; a warning unless `fatal`."""

    path: str
    at: Position | None
    text: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        where = f"{self.at.file}:{self.at.line}:{self.at.column}: " if self.at else ""
        what = f"{self.path}: " if self.path else ""
        return f"{where}{what}{self.text}" + (f", {self.remedy}" if self.remedy else "")


_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_GROUP = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


class Duration(float):
    """Seconds, written in a file as a Go duration string (`"48h"`, `"1m30s"`)."""

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Go's `time.ParseDuration`: sign, then groups of decimal and unit, or a bare `0`; ValueError says what is wrong."""
        sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
        if rest == "0":
            return cls(0.0)
        total, end = 0, 0
        while end < len(rest):
            group = _GROUP.match(rest, end)
            if not group or not (group[1] or group[2]):
                raise ValueError(f"{text!r} is no duration")
            unit = _UNITS_NS[group[3]]
            fraction = group[2] or ""
            total += int(group[1] or "0") * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
            end = group.end()
        if not end:
            raise ValueError(f"{text!r} is no duration")
        if total > 2**63 - (sign > 0):
            raise ValueError(f"{text!r} is out of range")
        return cls(sign * total / 1e9)

    def __str__(self) -> str:
        """As Go renders it: `1h30m0s`, `1.5s`, `250ms`, `0s`."""
        ns = round(abs(self) * 1e9)
        sign = "-" if self < 0 and ns else ""
        if ns < 10**9:
            for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
                if ns >= size:
                    return f"{sign}{_decimal(ns, size)}{unit}"
            return "0s"
        minutes, rest = divmod(ns, 60 * 10**9)
        hours, minutes = divmod(minutes, 60)
        head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
        return f"{sign}{head}{_decimal(rest, 10**9)}s"


def _decimal(ns: int, size: int) -> str:
    whole, part = divmod(ns, size)
    digits = str(part).zfill(len(str(size)) - 1).rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)


class Secret(str):
    """A string that never shows itself: repr and str in logs are `***`; `.reveal()` gives it."""

    __slots__ = ()

    def reveal(self) -> str:
        """The text itself; only where it leaves for its peer."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return "'***'" if str.__len__(self) else "''"

    def __str__(self) -> str:
        return "***" if str.__len__(self) else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Port(int):
    """A TCP port 1…65535; a file may write it as number or as string."""

    @classmethod
    def parse(cls, value: str | int) -> Port:
        """ValueError for anything that is no port."""
        if isinstance(value, str) and not re.fullmatch(r"\d{1,5}", value, re.ASCII):
            raise ValueError(f"{value!r} is no port")
        if not 1 <= int(value) <= 65535:
            raise ValueError(f"{value} is no port")
        return cls(int(value))


_SIZES = {"": 1, "b": 1} | {p + s: 10 ** (3 * i) for i, p in enumerate("kmgt", 1) for s in ("", "b")}
_SIZES |= {p + "i" + s: 2 ** (10 * i) for i, p in enumerate("kmgt", 1) for s in ("", "b")}


class Bytes(int):
    """A size in bytes; a file may write a number or `"512MB"` (10^6), `"1GiB"` (2^30)."""

    @classmethod
    def parse(cls, value: str | int) -> Bytes:
        """ValueError for anything that is no size."""
        if isinstance(value, int):
            size = value
        else:
            found = re.fullmatch(r"(\d{1,18})(\.\d{1,9})?\s*([A-Za-z]*)", value.strip(), re.ASCII)
            if not found or found[3].lower() not in _SIZES:
                raise ValueError(f"{value!r} is no size")
            unit = _SIZES[found[3].lower()]
            size = int(found[1]) * unit + int(float(found[2] or "0") * unit)
        if not 0 <= size < 2**63:
            raise ValueError(f"{value!r} is no size")
        return cls(size)
