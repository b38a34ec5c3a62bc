"""Selector → series → aggregate → statistics → resample → scale → pad (metric-store 1.4 to 1.8, 3.3). Reads only, numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from ccschema.api import ApiQuery, QueryRequest
from ccschema.ids import natural_key
from numpy.typing import NDArray

from .describe import describe
from .health import Health, judge
from .metrics import Aggregation, MetricTable
from .reading import Memory, Span, aggregated, held, read_one
from .registry import Host, HostKey, Registry, Series
from .resample import lttb, step_of

MAX_PADDING = 1 << 20
"""Values of padding in one row; a range that asks for more begins with its data, as `from` says."""
_NOTHING = np.empty(0, np.float32)


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


class Selection(NamedTuple):
    """One entry to be: its id, and the levels of which what is found is aggregated."""

    id: str | None
    levels: tuple[tuple[str, ...], ...]


class Reader:
    """Valid inside `with engine.read() as reader`, in any one thread."""

    def __init__(
        self,
        registry: Registry,
        values: NDArray[np.float32],
        tables: Mapping[str, MetricTable],
        default: MetricTable | None,
        *,
        minimum_points: int,
        now: int,
    ) -> None:
        self._registry = registry
        self._memory = Memory(registry.slots, registry.group_of, values)
        self._tables = tables
        self._default = default
        self._minimum_points = minimum_points
        self._now = now

    def hosts(self, cluster: str) -> list[str]:
        """Naturally sorted."""
        return sorted(self._registry.clusters.get(cluster, ()), key=natural_key)

    def expand(self, q: QueryRequest) -> list[ApiQuery]:
        """All queries in result order: the explicit ones, then one per (host of the cluster, for-all-nodes metric)."""
        generated = product(self.hosts(q.cluster), q.for_all_nodes) if q.for_all_nodes else ()
        return [*(q.queries or ()), *(ApiQuery(metric=metric, host=host) for host, metric in generated)]

    def query(self, q: QueryRequest) -> list[list[Row]]:
        """One list per query of `expand`; selectors that match nothing are left out. Never raises on input."""
        pending = _Thinning()
        results = [[row for s in selections(one) if (row := self._row(q, one, s, pending)) is not None] for one in self.expand(q)]
        thinned = pending.done()
        return [[_finished(q, row, thinned) for row in rows] for rows in results]

    def health(self, cluster: str, hosts: Sequence[str], metrics: Sequence[str]) -> dict[str, Health]:
        """Freshness of each host (metric-store 7), judged at the reader's `now`."""
        known = self._table(cluster)
        find = self._registry.host
        return {name: judge(find(HostKey(cluster, name)), self._memory.slots, known, metrics, self._now) for name in hosts}

    def describe(self, selector: Sequence[str]) -> Iterator[bytes]:
        """Debug dump in slices, valid JSON of metric-store 3.6. NotFound (the text of 1.10): nothing there."""
        return describe(self._registry, self._memory.slots, selector)

    def _table(self, cluster: str) -> Mapping[str, Any]:
        return self._tables.get(cluster, self._default) or {}

    def _row(self, q: QueryRequest, one: ApiQuery, selection: Selection, pending: _Thinning) -> _Unfinished | Row | None:
        if q.from_ > q.to:
            return _error(selection, "[METRICSTORE]> invalid time range")
        spec = self._table(q.cluster).get(one.metric)
        if spec is None:
            return _error(selection, f"[METRICSTORE]> unknown metric: {one.metric}")
        host = self._registry.host(HostKey(q.cluster, one.host))
        found = [series for levels in selection.levels for series in select(host, levels, one.metric)] if host else []
        span = self._read(found, spec.aggregation, q.from_, q.to)
        if span is None or isinstance(span, str):
            return _error(selection, span) if span else None
        try:
            step = step_of(span.values.size, span.frequency, one.resolution, self._minimum_points)
        except ValueError as error:
            return _error(selection, str(error))
        return _Unfinished(selection.id, span, one, step, pending.add(span.values, step) if step and q.with_data else None)

    def _read(self, found: list[Series], aggregation: Aggregation | None, from_: int, to: int) -> Span | str | None:
        """What was read, an error text, or None: nothing there."""
        there = held(self._memory, found)
        if not there.series:
            return None
        if there.series == 1:
            return read_one(self._memory, there.entries, from_, to)
        if aggregation is None:
            return "[METRICSTORE]> invalid aggregation"
        return aggregated(self._memory, there, from_, to, mean=aggregation == "avg")


# ---- selecting


def selections(q: ApiQuery) -> list[Selection]:
    """The entries a query asks for (metric-store 3.3); type without ids asks for none, subtype is looked at only with type."""
    if q.type is None:
        return [Selection(None, ((),))]
    outer = [(id_, q.type + id_) for id_ in q.type_ids or ()]
    inner = [(id_, q.subtype + id_) for id_ in q.subtype_ids or ()] if q.subtype is not None else None
    paths: list[tuple[str, tuple[str, ...]]]
    if inner is None:
        paths = [(id_, (name,)) for id_, name in outer]
    else:
        paths = [(f"{id_}/{sub_id}", (name, sub)) for (id_, name), (sub_id, sub) in product(outer, inner)]
    if q.aggreg:
        return [Selection(None, tuple(levels for _, levels in paths))] if paths else []
    return [Selection(id_, (levels,)) for id_, levels in paths]


def select(host: Host, levels: tuple[str, ...], metric: str) -> list[Series]:
    """The series at a level, or else those nearest below it on each branch (metric-store 1.5)."""
    everywhere = host.by_metric.get(metric)
    if everywhere is None:
        return []
    below = [series for series in list(everywhere) if series.levels[: len(levels)] == levels]
    if len(below) < 2 or len({len(series.levels) for series in below}) == 1:
        return below
    taken = {series.levels for series in below}
    return [s for s in below if not any(s.levels[:k] in taken for k in range(len(levels), len(s.levels)))]


# ---- from what was read to a row


class _Unfinished(NamedTuple):
    id: str | None
    span: Span
    query: ApiQuery
    step: int
    thinned: tuple[int, int, int] | None


class _Thinning:
    """Collects series of equal length and step: they are resampled together."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], list[NDArray[np.float32]]] = {}

    def add(self, values: NDArray[np.float32], step: int) -> tuple[int, int, int]:
        waiting = self._waiting.setdefault((values.size, step), [])
        waiting.append(values)
        return values.size, step, len(waiting) - 1

    def done(self) -> dict[tuple[int, int], NDArray[np.float32]]:
        return {(size, step): lttb(np.stack(rows), step) for (size, step), rows in self._waiting.items()}


def _error(selection: Selection, text: str) -> Row:
    return Row(selection.id, 0, 0, 0, _NOTHING, error=text)


def _finished(q: QueryRequest, row: _Unfinished | Row, thinned: Mapping[tuple[int, int], NDArray[np.float32]]) -> Row:
    if isinstance(row, Row):
        return row
    span, query = row.span, row.query
    factor = 1.0 if query.scale_by == 0 else np.nan if query.scale_by is None else query.scale_by
    resolution = query.resolution if row.step else span.frequency
    stats = _statistics(span.values, factor) if q.with_stats else None
    if not q.with_data:
        return Row(row.id, span.from_, span.to, resolution, _NOTHING, stats)
    values = thinned[row.thinned[:2]][row.thinned[2]] if row.thinned else span.values
    if factor != 1.0:
        values = (values * np.float64(factor)).astype(np.float32)
    if q.with_padding:
        values = _padded(values, q.from_, q.to, span.from_, resolution)
    return Row(row.id, span.from_, span.to, resolution, values, stats)


def _statistics(values: NDArray[np.float32], factor: float) -> Stats:
    there = values[~np.isnan(values)].astype(np.float64)
    if not there.size:
        return Stats(np.nan, np.nan, np.nan)
    return Stats(float(there.mean() * factor), float(there.min() * factor), float(there.max() * factor))


def _padded(values: NDArray[np.float32], from_: int, to: int, begin: int, resolution: int) -> NDArray[np.float32]:
    """NaN in front for the time between `from_` and the data's begin, so that there are never more values than the range has room for."""
    room = -(-(to - from_) // resolution) - values.size
    count = min(begin // resolution - from_ // resolution, room)
    if not 0 < count <= MAX_PADDING:
        return values
    return np.concatenate([np.full(count, np.nan, np.float32), values])
