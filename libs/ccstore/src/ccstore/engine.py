"""The time series engine: one writer (the thread that made it), many readers, everything in memory.

Ids of series are *local to a host*: 0, 1, 2 … in order of appearance, stable while the host lives, never reused meanwhile. They are what
`Record`, `HostView` and the log speak of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from ccschema.ids import natural_key
from numpy.typing import NDArray

from .arena import Arena, Epochs, physical_bytes
from .freeing import Freeing, Selector, tile_begin
from .ingest import Ingested, Intake, Limits
from .kernels import Kernel
from .metrics import Change, MetricTable, changes
from .policy import Marks, Usage
from .query import Reader
from .registry import Host, HostKey, HostView, Registry, SeriesKey, group_view, level_name, path_element
from .tiles import Tiles

MAX_LEVELS = 2


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        """retention: seconds, 0 = no lower bound but the series' first bin; memory_cap: bytes, 0 = off; max_series: 0 = no bound."""
        self._registry = Registry()
        self._epochs = Epochs()
        arena = Arena(memory_cap + memory_cap // 4 if memory_cap > 0 else physical_bytes())
        self._tiles = Tiles(self._registry, arena, self._epochs, max(memory_cap, 0))
        self._freeing = Freeing(self._registry, self._tiles)
        self._tiles.make_room = self._freeing.make_room
        self._limits = Limits(retention, max_series)
        self._intake = Intake(self._registry, self._tiles, self._limits)
        self._minimum_points = minimum_points
        self._clock = clock
        self._has_metrics = False
        if tables or default is not None:
            self.set_metrics(tables or {}, default)

    # ---- intake

    def ingest(self, body: bytes, *, cluster: str, now: int, first_line: int = 1) -> Ingested:
        """Applies line protocol; `cluster` is the default for lines without that tag ("" = none). Never raises on input."""
        answer = self._intake.ingest(body, cluster, now, first_line)
        self._freeing.settle()
        answer.gone = self._forget_removed()
        return answer

    def use_kernel(self, kernel: Kernel | None) -> None:
        """From now on batches go through what `kernels.load` gave; None = slow path only."""
        self._intake.kernel = kernel

    @property
    def has_metrics(self) -> bool:
        """Whether any metric list was ever set (design S2)."""
        return self._has_metrics

    def set_metrics(self, tables: Mapping[str, MetricTable], default: MetricTable | None = None) -> list[Change]:
        """Replaces the lists: by cluster, `default` for all others. A changed frequency begins a new generation at the next sample."""
        none = MetricTable({})
        old, old_default = self._intake.tables, self._intake.default or none
        self._intake.set_metrics(tables, default)
        self._has_metrics = True
        new_default = default or none
        found = changes("", old_default, new_default)
        for cluster in sorted({*old, *tables}):
            found += changes(cluster, old.get(cluster, old_default), tables.get(cluster, new_default))
        return found

    @property
    def unknown_metrics(self) -> Mapping[tuple[str, str], int]:
        """(metric, host) → lines that were not in the list; ("", "") counts what came after too many names."""
        return self._intake.unknown

    # ---- reading

    def read(self) -> AbstractContextManager[Reader]:
        """A view for queries, from any thread; pins an epoch until left."""
        return self._read()

    @contextmanager
    def _read(self) -> Iterator[Reader]:
        epoch = self._epochs.pin()
        try:
            yield Reader(
                self._registry,
                self._tiles.arena.values,
                self._intake.tables,
                self._intake.default,
                minimum_points=self._minimum_points,
                now=int(self._clock()),
            )
        finally:
            self._epochs.unpin(epoch)

    def view(self, host: HostKey) -> HostView:
        """References to all that memory holds of a host (no copies); pins an epoch until `close`. KeyError: unknown host."""
        found = self._host(host)
        epoch = self._epochs.pin()
        groups = [group_view(self._registry, group, self._tiles.matrix) for group in found.groups.values() if group.tiles]
        return HostView(host, groups, lambda: self._epochs.unpin(epoch))

    def hosts(self) -> list[HostKey]:
        """All hosts that hold series, naturally sorted."""
        return sorted((host.key for host in self._registry.hosts()), key=lambda k: (natural_key(k.cluster), natural_key(k.host)))

    def series_keys(self, host: HostKey, ids: Iterable[int]) -> list[SeriesKey]:
        """What the log must declare before samples of these ids. KeyError: unknown host."""
        slots = self._host(host).slots
        return [self._registry.shared(self._registry.key(slots[id_])) for id_ in ids]

    def usage(self) -> Usage:
        """Exact; walks the groups, not the tiles."""
        groups = [group for host in self._registry.hosts() for group in host.groups.values() if group.tiles]
        return Usage(
            tiles=self._tiles.bytes - self._epochs.limbo,
            limbo=self._epochs.limbo,
            sealed=0,
            series=self._registry.series,
            hosts=sum(len(hosts) for hosts in self._registry.clusters.values()),
            oldest=min((tile_begin(min(group.tiles), group.frequency) for group in groups), default=None),
            epochs=self._epochs.held,
        )

    def oldest(self, host: HostKey) -> int:
        """Begin of a host's oldest tile. KeyError: unknown host."""
        return min(tile_begin(min(g.tiles), g.frequency) for g in self._host(host).groups.values() if g.tiles)

    @property
    def bytes(self) -> int:
        """`usage().bytes`, at once."""
        return self._tiles.bytes

    @property
    def cap(self) -> int:
        """Bytes; 0: none."""
        return self._tiles.cap

    # ---- freeing

    def archive(self, marks: Marks | None) -> None:
        """From now on retention and cap take only what stands in the archive, and samples of a span that is closed are `old`."""
        self._freeing.marks = self._intake.marks = marks

    def spare(self) -> int:
        """Bytes of tiles that the cap may take; walks all tiles."""
        return sum(stock.bytes for stock in self._freeing.stocks())

    def free(self, selectors: Sequence[Selector], before: int) -> int:
        """Drops tiles (64 bins) that end at or before `before` below each selector; unknown paths count 0 and create nothing.

        Returns the number of (series, tile) pairs that held a value (design S9). Levels and hosts that hold nothing any more are gone."""
        count = self._freeing.free(selectors, before)
        self._forget_removed()
        return count

    def protect(self, busy: Mapping[str, frozenset[str]] | None, at: int) -> None:
        """cluster → hosts of running jobs as of `at`; None = could not ask (then `retain` falls back to twice the retention)."""
        self._freeing.busy = None if busy is None else dict(busy)

    def retain(self, now: int) -> list[HostKey]:
        """One retention round (metric-store 5.1). Returns hosts that hold nothing any more and are gone."""
        self._freeing.retain(now, self._limits.retention)
        return self._forget_removed()

    def fit(self, now: int) -> list[HostKey]:
        """Frees down to the memory cap (metric-store 5.2, design T6). Returns hosts that are gone."""
        self._freeing.fit()
        return self._forget_removed()

    def _forget_removed(self) -> list[HostKey]:
        self._epochs.reap()
        removed, self._freeing.removed = self._freeing.removed, []
        if removed:
            self._intake.keys.kill(np.concatenate([np.array(host.slots, np.int64) for host in removed]))
        return [host.key for host in removed]

    # ---- recovery: nothing here is judged by metric list, tolerance or age

    def close_hosts(self, hosts: Iterable[HostKey]) -> None:
        """Marks hosts as not loaded yet: `ingest` applies none of their lines, and returns them in `closed` and `rest`."""
        self._registry.closed.update(hosts)
        self._intake.keys.clear()

    def host_opened(self, host: HostKey) -> None:
        """The phases of the host's series are known: its lines are taken from now on."""
        self._registry.closed.discard(host)

    def closed_hosts(self) -> frozenset[HostKey]:
        return frozenset(self._registry.closed)

    def restore_series(self, host: HostKey, keys: Sequence[SeriesKey]) -> NDArray[np.int32]:
        """Declares series (several generations of one level and metric: older first) and gives their ids.

        A key that exists already gives its id. ValueError: a name that can be no path element, level or metric; frequency <= 0; phase
        outside; nothing is declared then."""
        if not path_element(host.cluster) or not path_element(host.host):
            raise ValueError(f"not a possible host: {host.cluster!r}, {host.host!r}")
        for key in keys:
            _check(key)
        if not keys:
            return np.empty(0, np.int32)
        found = self._registry.make_host(host)
        slots = [self._declared(found, key) for key in keys]
        return self._registry.slots["local"][slots].astype(np.int32)

    def _declared(self, host: Host, key: SeriesKey) -> int:
        slot = self._registry.slot_of(host, key)
        return self._registry.add_slot(host, key) if slot is None else slot

    def restore_spans(self, host: HostKey, ids: NDArray[np.int32], first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        """Widens first and last bin of each id by what the snapshot says, so that acceptance is as before the stop (last < first:
        nothing)."""
        slots = self._slots(host, ids)
        table, some = self._registry.slots, first <= last
        table["first"][slots[some]] = np.minimum(table["first"][slots[some]], first[some])
        table["last"][slots[some]] = np.maximum(table["last"][slots[some]], last[some])

    def restore_block(self, host: HostKey, ids: NDArray[np.int32], first_bin: int, values: NDArray[np.float32]) -> int:
        """Puts values (len(ids) × n bins from first_bin) where memory has NaN; ids of one frequency, each once.

        Returns bins filled; NaN fills nothing. `tiles.NoMemoryForTile`: the cap is reached, the rest is not there."""
        if not ids.size:
            return 0
        slots = self._slots(host, ids)
        group = self._registry.group_of[int(self._registry.slots["group"][slots[0]])]
        assert group is not None
        if (self._registry.slots["group"][slots] != group.index).any():
            raise ValueError("ids of several frequencies in one block")
        return self._tiles.fill(group, slots, first_bin, values)

    def replay(self, host: HostKey, ids: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float32]) -> int:
        """Applies samples of a log in order (the later of one bin wins), vectorised; returns their number.

        `tiles.NoMemoryForTile`: the cap is reached; samples of tiles that found room are there."""
        self._tiles.put_many(self._slots(host, ids), times, values)
        return int(ids.size)

    def _host(self, key: HostKey) -> Host:
        host = self._registry.host(key)
        if host is None:
            raise KeyError(key)
        return host

    def _slots(self, key: HostKey, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Slots of a host's ids; series that had left the tree are back in it."""
        host = self._host(key)
        if host.retired:
            for id_ in np.unique(ids).tolist():
                series = self._registry.key(host.slots[id_])
                self._registry.series_at(host, series.levels, series.metric)
        return np.array(host.slots, np.int64)[ids]


def _check(key: SeriesKey) -> None:
    if len(key.levels) > MAX_LEVELS or not all(level_name(name) for name in (*key.levels, key.metric)):
        raise ValueError(f"not a possible series: {key.levels!r} {key.metric!r}")
    if key.frequency <= 0 or not 0 <= key.phase < key.frequency:
        raise ValueError(f"not a possible bin: frequency {key.frequency}, phase {key.phase}")


__all__ = ["Engine", "HostKey", "HostView", "Ingested", "Reader", "SeriesKey", "Usage"]
