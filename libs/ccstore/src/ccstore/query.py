"""Selector → series → aggregate → statistics → resample → pad. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ccschema.api import ApiQuery, QueryRequest
from numpy.typing import NDArray

from .health import Health


class Stats(NamedTuple):
    """NaN ignored; all NaN without a value. From native data, scaled."""

    avg: float
    min: float
    max: float


class Row(NamedTuple):
    """One entry of a result. With error: from_, to, resolution 0 and no values. id: type-id (`type-id/subtype-id`) of a query that is not
    aggregated, else None; stats None: not asked for. values are float32, padded at the front if asked (from_ stays that of the data)."""

    id: str | None
    from_: int
    to: int
    resolution: int
    values: NDArray[np.float32]
    stats: Stats | None = None
    error: str | None = None


class Reader:
    """Valid inside `with engine.read() as reader`, in any one thread."""

    def expand(self, q: QueryRequest) -> list[ApiQuery]:
        """All queries in result order: the explicit ones, then one per (host of the cluster, for-all-nodes metric)."""

    def query(self, q: QueryRequest) -> list[list[Row]]:
        """One list per query of `expand`; selectors that match nothing are left out. Never raises on input."""

    def health(self, cluster: str, hosts: Sequence[str], metrics: Sequence[str]) -> dict[str, Health]:
        """Freshness of each host (metric-store 7), judged at the reader's `now`."""

    def hosts(self, cluster: str) -> list[str]: ...

    def describe(self, selector: Sequence[str]) -> Iterator[bytes]:
        """Debug dump in slices, valid JSON of metric-store 3.6. KeyError (the text of 1.10): nothing there."""
