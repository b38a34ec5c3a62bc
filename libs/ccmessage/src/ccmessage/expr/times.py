"""Points in time and spans of it: what `now()`, `date()`, `duration()` and `msg.Time()` give, exact to the nanosecond.

Texts of durations are those of the suite (messages-and-lib 1.2): `1h30m`, `-1.5s`, `250ms`. Calendar parts of a time are in UTC.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..jsonform import parse_timestamp, timestamp
from .errors import EvalError

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)
_DURATION = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)", re.ASCII)
_PART = re.compile(r"(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class Time(msgspec.Struct, frozen=True):
    """ns: nanoseconds since the epoch."""

    ns: int

    def __str__(self) -> str:
        return timestamp(self.ns)

    def method(self, name: str) -> object:
        """KeyError: there is none of this name."""
        call = TIME_METHODS[name].call
        return lambda *args: call(self, *args)


class Duration(msgspec.Struct, frozen=True):
    """ns: nanoseconds, of either sign."""

    ns: int

    def __str__(self) -> str:
        """`1h30m0s`, `1.5s`, `250ms`, `0s`."""
        sign, rest = "-" if self.ns < 0 else "", abs(self.ns)
        for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
            if 0 < rest < min(size * 1000, 10**9):
                return f"{sign}{_decimal(rest, size)}{unit}"
        minutes, rest = divmod(rest, 60 * 10**9)
        hours, minutes = divmod(minutes, 60)
        return f"{sign}{f'{hours}h' if hours else ''}{f'{minutes}m' if hours or minutes else ''}{_decimal(rest, 10**9)}s"

    def method(self, name: str) -> object:
        """KeyError: there is none of this name."""
        call = DURATION_METHODS[name].call
        return lambda *args: call(self, *args)


def _decimal(ns: int, unit: int) -> str:
    whole, rest = divmod(ns, unit)
    return f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else str(whole)


T = TypeVar("T", Time, Duration)


class Method(NamedTuple):
    """result: kind of what it gives."""

    call: Callable[..., Any]
    result: str


def _at(t: Time) -> datetime:
    try:
        return datetime.fromtimestamp(t.ns // 10**9, UTC)
    except (OverflowError, ValueError, OSError):
        raise EvalError("the time is outside of the years 1 to 9999") from None


TIME_METHODS: Mapping[str, Method] = {
    "Unix": Method(lambda t: t.ns // 10**9, "int"),
    "UnixMilli": Method(lambda t: t.ns // 10**6, "int"),
    "UnixMicro": Method(lambda t: t.ns // 10**3, "int"),
    "UnixNano": Method(lambda t: t.ns, "int"),
    "Year": Method(lambda t: _at(t).year, "int"),
    "Month": Method(lambda t: _at(t).month, "int"),
    "Day": Method(lambda t: _at(t).day, "int"),
    "YearDay": Method(lambda t: _at(t).timetuple().tm_yday, "int"),
    "Weekday": Method(lambda t: _at(t).isoweekday() % 7, "int"),  # Sunday is 0
    "Hour": Method(lambda t: _at(t).hour, "int"),
    "Minute": Method(lambda t: _at(t).minute, "int"),
    "Second": Method(lambda t: _at(t).second, "int"),
    "Nanosecond": Method(lambda t: t.ns % 10**9, "int"),
    "Before": Method(lambda t, other: t.ns < _of(Time, other).ns, "bool"),
    "After": Method(lambda t, other: t.ns > _of(Time, other).ns, "bool"),
    "Equal": Method(lambda t, other: t.ns == _of(Time, other).ns, "bool"),
    "Add": Method(lambda t, span: arithmetic("+", t, _of(Duration, span)), "time"),
    "Sub": Method(lambda t, other: arithmetic("-", t, _of(Time, other)), "duration"),
    "String": Method(str, "string"),
}
DURATION_METHODS: Mapping[str, Method] = {
    "Hours": Method(lambda d: d.ns / 3600e9, "float"),
    "Minutes": Method(lambda d: d.ns / 60e9, "float"),
    "Seconds": Method(lambda d: d.ns / 1e9, "float"),
    "Milliseconds": Method(lambda d: int(d.ns / 10**6), "int"),
    "Microseconds": Method(lambda d: int(d.ns / 10**3), "int"),
    "Nanoseconds": Method(lambda d: d.ns, "int"),
    "String": Method(str, "string"),
}
METHODS: Mapping[str, Mapping[str, Method]] = {"time": TIME_METHODS, "duration": DURATION_METHODS}
"""Kind of a value → its methods."""


def _of(type_: type[T], x: object) -> T:
    if not isinstance(x, type_):
        raise EvalError(f"a {type_.__name__.lower()} is needed")
    return x


def now() -> Time:
    return Time(time.time_ns())


def date(x: object) -> Time:
    """`2025-01-02`, `2025-01-02 03:04:05`, or RFC 3339; in UTC where no offset is given."""
    found = _DATE.fullmatch(x) if isinstance(x, str) else None
    if found is None:
        raise EvalError(f"{str(x)[:60]!r} is no date of a form like 2025-01-02, 2025-01-02 03:04:05 or 2025-01-02T03:04:05+01:00")
    day, clock, offset = found.groups()
    return _bounded(Time, parse_timestamp(f"{day}T{clock or '00:00:00'}{offset or 'Z'}"))


def duration(x: object) -> Duration:
    """`1h30m`, `-1.5s`, `250ms`, `0`."""
    found = _DURATION.fullmatch(x) if isinstance(x, str) and len(x) <= 100 else None
    if found is None:
        raise EvalError(f"{str(x)[:60]!r} is no duration of a form like 90s, 1h30m or 250ms")
    total = sum(_nanoseconds(*part) for part in _PART.findall(found[2]))
    return _bounded(Duration, -total if found[1] == "-" else total)


def _nanoseconds(whole: str, fraction: str, unit: str) -> int:
    size = _UNITS[unit]
    return int(whole or "0") * size + int(int(fraction or "0") * size // 10 ** len(fraction))


def _bounded(type_: type[T], ns: int) -> T:
    if not -(2**63) <= ns < 2**63:
        raise EvalError(f"the {type_.__name__.lower()} does not fit 64 bits of nanoseconds")
    return type_(ns)


def arithmetic(op: str, a: object, b: object) -> Time | Duration:
    """time - time, time ± duration, duration ± duration, duration * number. EvalError for all others."""
    kinds = tuple("number" if isinstance(x, int | float) and not isinstance(x, bool) else type(x).__name__.lower() for x in (a, b))
    result = kind_of(op, *kinds)
    if result is None:
        raise EvalError(f"operator {op!r} does not fit {kinds[0]} and {kinds[1]}")
    x, y = (value.ns if isinstance(value, Time | Duration) else value for value in (a, b))
    assert isinstance(x, int | float) and isinstance(y, int | float)
    exact = x + y if op == "+" else x - y if op == "-" else x * y
    if exact - exact != 0:
        raise EvalError("a duration cannot be infinite")
    return _bounded(Time, int(exact)) if result == "time" else _bounded(Duration, int(exact))


def kind_of(op: str, left: str, right: str) -> str | None:
    """Kind of the result of an operator where a time or a duration takes part; None: they do not fit."""
    return _RESULTS.get((op, left, right))


_RESULTS: Mapping[tuple[str, str, str], str] = {
    ("-", "time", "time"): "duration",
    ("-", "time", "duration"): "time",
    ("+", "time", "duration"): "time",
    ("+", "duration", "time"): "time",
    ("+", "duration", "duration"): "duration",
    ("-", "duration", "duration"): "duration",
    ("*", "duration", "number"): "duration",
    ("*", "number", "duration"): "duration",
}
