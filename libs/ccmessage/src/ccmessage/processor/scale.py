"""Conversion of a field's value by a unit prefix."""

from __future__ import annotations

from ..message import I64_MAX, I64_MIN, U64, U64_MAX, FieldValue


def scaled(value: FieldValue, factor: float) -> FieldValue:
    """value · factor. Integers stay integers of their kind where the result is whole and fits; texts and truth values stay."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        return value * factor
    if factor >= 1 and factor.is_integer():
        whole = int(value) * int(factor)
        if isinstance(value, U64) and whole <= U64_MAX:
            return U64(whole)
        if not isinstance(value, U64) and I64_MIN <= whole <= I64_MAX:
            return whole
    return int(value) * factor
