"""Decides what goes when memory is short. Pure: no clock, no engine."""

from __future__ import annotations

from typing import NamedTuple


class Usage(NamedTuple):
    """Exact bytes of the metric buffers. limbo: freed, but a reader may still look at them (counts)."""

    tiles: int
    limbo: int
    sealed: int
    series: int
    hosts: int
    oldest: int | None
    epochs: int

    @property
    def bytes(self) -> int:
        return self.tiles + self.limbo + self.sealed
