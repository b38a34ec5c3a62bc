"""Names ⇄ numbers: hosts, series, groups (host × frequency), and what a snapshot sees of a host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 64
"""Bins of one tile."""


class HostKey(NamedTuple):
    cluster: str
    host: str


class SeriesKey(NamedTuple):
    """One generation of one series of a host. levels: () host level, ("hwthread12",), ("socket0", "x1"); 0 <= phase < frequency."""

    levels: tuple[str, ...]
    metric: str
    frequency: int
    phase: int


class GroupView(NamedTuple):
    """All series of one frequency. Row r of every tile belongs to ids[r]; a tile may have fewer rows (newer series have nothing in it).

    tiles: (number, values[rows][64]) ascending; values are references into live memory: samples accepted after `view` may appear.
    Bin of column c in tile t = t * 64 + c; time of a bin = bin * frequency + phase + frequency // 2. first > last: series holds nothing."""

    frequency: int
    ids: NDArray[np.int32]
    keys: Sequence[SeriesKey]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    tiles: Sequence[tuple[int, NDArray[np.float32]]]


class HostView:
    """What a snapshot writes. Readable from any thread until `close` (idempotent; also a context manager)."""

    host: HostKey
    groups: Sequence[GroupView]

    def close(self) -> None: ...

    def __enter__(self) -> HostView: ...

    def __exit__(self, *_: object) -> None: ...
