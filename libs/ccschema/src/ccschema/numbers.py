"""Numbers as the suite rounds and reads them."""

from __future__ import annotations

import math


def round2(x: float) -> float:
    """Two decimals, halves away from zero (`round` goes to even); NaN and infinities stay."""
    if not math.isfinite(x):
        return x
    scaled = abs(x) * 100.0
    if not math.isfinite(scaled):
        return x
    whole = math.floor(scaled)
    return math.copysign((whole + (scaled - whole >= 0.5)) / 100.0, x)


def nan_from_none(x: float | None) -> float:
    """null → NaN on reading."""
    return math.nan if x is None else x
