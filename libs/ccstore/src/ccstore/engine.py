"""The time series engine: one writer (the thread that made it), many readers, everything in memory.

Ids of series are *local to a host*: 0, 1, 2 … in order of appearance, stable while the host lives, never reused meanwhile. They are what
`Record`, `HostView` and the log speak of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from .ingest import Ingested
from .metrics import Change, MetricTable
from .policy import Usage
from .query import Reader
from .registry import HostKey, HostView, SeriesKey

Selector = Sequence[str]
"""cluster, host, level 3, level 4; shorter = all below; () = the whole store."""


class Engine:
    """The façade. Everything but `read` (and what a `Reader` or `HostView` does) runs on the thread that made the engine."""

    def __init__(
        self,
        *,
        tables: Mapping[str, MetricTable] | None = None,
        default: MetricTable | None = None,
        retention: int = 0,
        memory_cap: int = 0,
        max_series: int = 0,
        minimum_points: int = 1000,
    ) -> None:
        """retention: seconds, 0 = no lower bound but the series' first bin; memory_cap: bytes, 0 = off; max_series: 0 = no bound."""

    # ---- intake

    def ingest(self, body: bytes, *, cluster: str, now: int, first_line: int = 1) -> Ingested:
        """Applies line protocol; `cluster` is the default for lines without that tag ("" = none). Never raises on input."""

    @property
    def has_metrics(self) -> bool:
        """Whether any metric list was ever set (design S2)."""

    def set_metrics(self, tables: Mapping[str, MetricTable], default: MetricTable | None = None) -> list[Change]:
        """Replaces the lists: by cluster, `default` for all others. A changed frequency begins a new generation at the next sample."""

    # ---- reading

    def read(self) -> AbstractContextManager[Reader]:
        """A consistent-enough view for queries, from any thread; pins an epoch until left."""

    def view(self, host: HostKey) -> HostView:
        """References to all that memory holds of a host (no copies); pins an epoch until `close`. KeyError: unknown host."""

    def hosts(self) -> list[HostKey]:
        """All hosts that hold series, naturally sorted."""

    def series_keys(self, host: HostKey, ids: Iterable[int]) -> list[SeriesKey]:
        """What the log must declare before samples of these ids. KeyError: unknown host."""

    def usage(self) -> Usage: ...

    # ---- freeing

    def free(self, selectors: Sequence[Selector], before: int) -> int:
        """Drops tiles (64 bins) that end at or before `before` below each selector; unknown paths count 0 and create nothing.

        Returns the number of (series, tile) pairs that held a value (design S9). Levels and hosts that hold nothing any more are gone."""

    def protect(self, busy: Mapping[str, frozenset[str]] | None, at: int) -> None:
        """cluster → hosts of running jobs as of `at`; None = could not ask (then `retain` falls back to twice the retention)."""

    def retain(self, now: int) -> list[HostKey]:
        """One retention round (metric-store 5.1). Returns hosts that hold nothing any more and are gone."""

    def fit(self, now: int) -> list[HostKey]:
        """Frees down to the memory cap (metric-store 5.2, design T6). Returns hosts that are gone."""

    # ---- recovery: nothing here is judged by metric list, tolerance or age

    def close_hosts(self, hosts: Iterable[HostKey]) -> None:
        """Marks hosts as not loaded yet: `ingest` applies none of their lines, and returns them in `closed` and `rest`."""

    def host_opened(self, host: HostKey) -> None:
        """The phases of the host's series are known: its lines are taken from now on."""

    def closed_hosts(self) -> frozenset[HostKey]: ...

    def restore_series(self, host: HostKey, keys: Sequence[SeriesKey]) -> NDArray[np.int32]:
        """Declares series (several generations of one level and metric: older first) and gives their ids.

        A key that exists already gives its id. ValueError: a name that can be no path element, level or metric; frequency <= 0; phase outside."""

    def restore_spans(self, host: HostKey, ids: NDArray[np.int32], first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        """Widens first and last bin of each id by what the snapshot says, so that acceptance is as before the stop (last < first: nothing)."""

    def restore_block(self, host: HostKey, ids: NDArray[np.int32], first_bin: int, values: NDArray[np.float32]) -> int:
        """Puts values (len(ids) × n bins from first_bin) where memory has NaN; ids of one frequency. Returns bins filled; NaN fills nothing."""

    def replay(self, host: HostKey, ids: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float32]) -> int:
        """Applies samples of a log in order (the later of one bin wins), vectorised; returns their number."""
