"""Numbers as the suite rounds and writes them."""

from __future__ import annotations

import math
import struct

_F32 = struct.Struct("<f")


def round2(x: float) -> float:
    """Two decimals, halves away from zero (`round` goes to even); NaN and infinities stay."""
    if not math.isfinite(x):
        return x
    scaled = abs(x) * 100.0
    if not math.isfinite(scaled):
        return x
    whole = math.floor(scaled)
    return math.copysign((whole + (scaled - whole >= 0.5)) / 100.0, x)


def finite_or_none(x: float) -> float | None:
    """JSON has no NaN: NaN and ±Inf are written as null."""
    return x if math.isfinite(x) else None


def nan_from_none(x: float | None) -> float:
    """null → NaN on reading."""
    return math.nan if x is None else x


def fixed(x: float, decimals: int) -> str:
    """Fixed notation for JSON, exact ties to even as printf does; NaN and ±Inf → `null`."""
    return f"{x:.{decimals}f}" if math.isfinite(x) else "null"


def float32(x: float) -> float:
    """The value after storage as a 32-bit float; beyond its range ±Inf."""
    try:
        return float(_F32.unpack(_F32.pack(x))[0])
    except OverflowError:
        return math.copysign(math.inf, x)


def float32_text(x: float) -> str:
    """Shortest decimals that give the same 32-bit float again, without `.0`; NaN and ±Inf → `null`."""
    x = float32(x)
    if not math.isfinite(x):
        return "null"
    text = next(t for t in (f"{x:.{digits}g}" for digits in range(1, 10)) if float32(float(t)) == x)
    return shortest(float(text))


def shortest(x: float) -> str:
    """JSON text of a float as the suite writes it: shortest digits that round-trip, no `.0`, exponent form (`1e-7`, `1e+21`)
    only below 1e-6 and from 1e21 on. NaN and ±Inf → `null`."""
    if not math.isfinite(x):
        return "null"
    size = abs(x)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        return _exponent_form(x)
    text = repr(x)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = _shifted(mantissa, int(exponent))
    return text.removesuffix(".0")


def _exponent_form(x: float) -> str:
    text = repr(x)
    if "e" not in text:
        text = f"{x:.17e}" if float(f"{x:.16e}") != x else f"{x:.16e}"
    mantissa, _, exponent = text.partition("e")
    sign = "-" if exponent.startswith("-") else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').lstrip('0')}"


def _shifted(mantissa: str, exponent: int) -> str:
    """Digits of `mantissa · 10^exponent` written out."""
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    all_digits, point = whole + fraction, len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{all_digits}"
    if point >= len(all_digits):
        return sign + all_digits + "0" * (point - len(all_digits))
    return f"{sign}{all_digits[:point]}.{all_digits[point:]}"


def engineering_float(x: float) -> str:
    """Float text of the suite's encoders: shortest digits, exponent form when the decimal exponent is below −4 or at least 6
    (`100000`, `1e+06`, `1e-05`). The value must be finite."""
    text = repr(x)
    mantissa, _, written = text.partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    significant = (whole + fraction).lstrip("0")
    if not significant.strip("0"):
        return sign + "0"
    leading = len(whole) if whole != "0" else -(len(fraction) - len(fraction.lstrip("0")))
    exponent = leading - 1 + int(written or 0)
    if -4 <= exponent < 6:
        return shortest(x)
    significant = significant.rstrip("0")
    tail = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
