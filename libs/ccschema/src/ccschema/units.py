"""Units: how documents write them. (Parsing and conversion follow below.)"""

from __future__ import annotations

import msgspec


class MetricUnit(msgspec.Struct, omit_defaults=True, frozen=True):
    """`{"base": "B/s", "prefix": "G"}` of cluster.json and archive documents; any text is allowed."""

    base: str = msgspec.field(default_factory=str)
    prefix: str = ""

    def __str__(self) -> str:
        return self.prefix + self.base
