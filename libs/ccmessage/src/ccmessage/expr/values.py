"""What values are and how operators treat them: equality across kinds, order, arithmetic in 64 bits. EvalError otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeGuard, runtime_checkable

from . import times
from .errors import EvalError
from .times import Duration, Time

MAX_ELEMENTS = 1_000_000


@runtime_checkable
class Methods(Protocol):
    """An object whose methods expressions may call."""

    def method(self, name: str) -> object:
        """The callable of this name; KeyError: there is none."""


class Budget:
    """Elements that one evaluation may still make or visit."""

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise EvalError(f"the expression makes or visits more than {MAX_ELEMENTS} elements")


def is_number(x: object) -> TypeGuard[int | float]:
    return isinstance(x, int | float) and not isinstance(x, bool)


def is_integer(x: object) -> TypeGuard[int]:
    return isinstance(x, int) and not isinstance(x, bool)


def is_list(x: object) -> TypeGuard[Sequence[object]]:
    return isinstance(x, list | tuple | range)


def kind(x: object) -> str:
    """Name of a value's kind, as the function `type` and messages say it."""
    if x is None:
        return "nil"
    if isinstance(x, bool):
        return "bool"
    if isinstance(x, int):
        return "uint" if type(x).__name__ == "U64" else "int"
    if isinstance(x, float):
        return "float"
    if isinstance(x, str):
        return "string"
    if is_list(x):
        return "array"
    return "map" if isinstance(x, Mapping) else type(x).__name__.lower()


def equal(a: object, b: object) -> bool:
    """Numbers by value across kinds, other kinds only among themselves, nil only nil."""
    if is_number(a) and is_number(b):
        return a == b
    if is_list(a) and is_list(b):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return kind(a) == kind(b) and a == b


def contains(needle: object, hay: object) -> bool:
    """`needle in hay`."""
    if hay is None:
        return False
    if isinstance(hay, range):
        return is_number(needle) and needle == math.floor(needle) and int(needle) in hay if _finite(needle) else False
    if is_list(hay):
        return any(equal(needle, item) for item in hay)
    if isinstance(hay, Mapping):
        return needle in hay if isinstance(needle, str) else False
    raise EvalError(f"operator 'in' needs an array or a map, not {kind(hay)}")


def _finite(x: object) -> bool:
    return is_number(x) and math.isfinite(x)


def compare(op: str, a: object, b: object) -> bool:
    if (isinstance(a, Time) and isinstance(b, Time)) or (isinstance(a, Duration) and isinstance(b, Duration)):
        a, b = a.ns, b.ns
    if not ((is_number(a) and is_number(b)) or (isinstance(a, str) and isinstance(b, str))):
        raise EvalError(f"operator {op!r} cannot compare {kind(a)} with {kind(b)}")
    if op == "<":
        return a < b  # type: ignore[operator]
    if op == "<=":
        return a <= b  # type: ignore[operator]
    if op == ">":
        return a > b  # type: ignore[operator]
    return a >= b  # type: ignore[operator]


def wrapped(x: int) -> int:
    """Integers are signed with 64 bits."""
    return x if -(2**63) <= x < 2**63 else (x + 2**63) % 2**64 - 2**63


def arithmetic(op: str, a: object, b: object) -> object:
    if op == "+" and isinstance(a, str) and isinstance(b, str):
        return a + b
    if isinstance(a, Time | Duration) or isinstance(b, Time | Duration):
        return times.arithmetic(op, a, b)
    if not (is_number(a) and is_number(b)):
        raise EvalError(f"operator {op!r} needs two numbers{' or two strings' if op == '+' else ''}, not {kind(a)} and {kind(b)}")
    if op == "/":
        return divided(a, b)
    if op == "**":
        return power(a, b)
    if op == "%":
        return remainder(a, b)
    if is_integer(a) and is_integer(b):
        return wrapped(int(a) + int(b) if op == "+" else int(a) - int(b) if op == "-" else int(a) * int(b))
    x, y = float(a), float(b)
    return x + y if op == "+" else x - y if op == "-" else x * y


def divided(a: float, b: float) -> float:
    """Always a float; by zero ±Inf or NaN."""
    if b != 0:
        return float(a) / float(b)
    if a == 0 or a != a:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def power(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.inf if a == 0 else math.nan


def remainder(a: object, b: object) -> int:
    """Integers only, with the sign of the dividend."""
    if not (is_integer(a) and is_integer(b)):
        raise EvalError(f"operator '%' needs two integers, not {kind(a)} and {kind(b)}")
    if b == 0:
        raise EvalError("integer division by zero")
    return int(math.copysign(1, a)) * (abs(int(a)) % abs(int(b)))


def truth(x: object, op: str) -> bool:
    if x is True or x is False:
        return x
    raise EvalError(f"operator {op!r} needs a truth value, not {kind(x)}")
