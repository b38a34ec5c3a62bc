"""The engine against dictionaries of lists: random phases, gaps, late data, several series, by every path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ccschema.api import ApiQuery, QueryRequest
from ccstore import kernels
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.registry import HostKey
from hypothesis import given, settings
from hypothesis import strategies as st

F = 10
NOW = 100_000


class Model:
    """One series as metric-store 1.3 and 1.4 say it, without drift."""

    def __init__(self) -> None:
        self.start: int | None = None
        self.bins: dict[int, float] = {}

    def write(self, time: int, value: float) -> bool:
        if self.start is None:
            self.start = time - F // 2
        if time < self.start + min(self.bins, default=0) * F or time > NOW + 3600:
            return False
        self.bins[(time - self.start) // F] = value
        return True

    def read(self, from_: int, to: int) -> tuple[int, int, list[float]]:
        assert self.start is not None
        begin, values = max(from_, self.start + min(self.bins) * F + F // 2), []
        t = begin
        while t < to and (t - self.start) // F <= max(self.bins):
            values.append(self.bins.get((t - self.start) // F, np.nan))
            t += F
        return begin, t, values


# Two of three samples lie in the middle half of a bin of a regular series, so that no phase is given up (design S1 has its own test).
sample = st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(-2, 2), st.integers(0, 99))
samples = st.lists(sample, min_size=1, max_size=60)
spans = st.tuples(st.integers(-50, 4200), st.integers(0, 4200))


def _check(
    kernel: kernels.Kernel | None, phases: list[int], writes: list[tuple[int, int, int, int]], ranges: list[tuple[int, int]]
) -> None:
    engine = Engine(default=MetricTable({"m": MetricSpec(F, "sum")}))
    engine.use_kernel(kernel)
    models = [Model() for _ in phases]
    for i in range(0, len(writes), 5):
        lines = []
        for series, tick, jitter, value in writes[i : i + 5]:
            time = NOW - 4000 + phases[series] + tick * F + (jitter if models[series].start is not None else 0)
            models[series].write(time, value)
            lines.append(f"m,type=hwthread,type-id={series},hostname=h value={value} {time}")
        engine.ingest("\n".join(lines).encode(), cluster="c", now=NOW)
    there = [i for i, m in enumerate(models) if m.start is not None]
    with engine.read() as reader:
        for offset, length in ranges:
            from_, to = NOW - 4000 + offset, NOW - 4000 + offset + length
            one = [ApiQuery(metric="m", host="h", type="hwthread", type_ids=[str(i) for i in range(4)])]
            request = QueryRequest(cluster="c", from_=from_, to=to, with_padding=False, queries=[*one, ApiQuery(metric="m", host="h")])
            rows, (total,) = reader.query(request)
            assert [row.id for row in rows] == [str(i) for i in there]
            for row, i in zip(rows, there, strict=True):
                begin, end, values = models[i].read(from_, to)
                assert (row.from_, row.to) == (begin, end)
                np.testing.assert_array_equal(row.values, np.array(values, np.float32))
            _check_total(total.from_, total.values, [models[i] for i in there], from_, to)


def _check_total(begin: int, values: np.ndarray, models: list[Model], from_: int, to: int) -> None:
    reads = [(m, *m.read(from_, to)) for m in models]
    counted = [(m, b, v) for m, b, _, v in reads if not np.isnan(v).all()]
    if len(models) == 1:
        counted = [(m, b, v) for m, b, _, v in reads]
    if not counted:
        assert np.isnan(values).all()
        return None
    first = min(b for _, b, _ in counted)
    times = range(first, to, F)
    parts = [[m.bins.get((t - m.start) // F, np.nan) for t in times] for m, _, _ in counted]  # type: ignore[operator]
    sums = np.array(parts).sum(axis=0)
    loud = [m for (m, _, _), part in zip(counted, parts, strict=True) if not np.isnan(part).all()]
    if np.isnan(sums).all() and 0 < len(loud) < len(counted):
        return _check_total(begin, values, loud, from_, to)
    assert begin == first
    np.testing.assert_array_equal(values, sums[: values.size].astype(np.float32))
    assert np.isnan(sums[values.size :]).all()
    return None


phase_lists = st.lists(st.integers(0, 9), min_size=4, max_size=4)


@settings(max_examples=150, deadline=None)
@given(phase_lists, samples, st.lists(spans, min_size=1, max_size=4))
def test_slow_path(phases: list[int], writes: list[tuple[int, int, int, int]], ranges: list[tuple[int, int]]) -> None:
    _check(None, phases, writes, ranges)


@settings(max_examples=150, deadline=None)
@given(phase_lists, samples, st.lists(spans, min_size=1, max_size=4))
def test_compiled(
    compiled: kernels.Kernel, phases: list[int], writes: list[tuple[int, int, int, int]], ranges: list[tuple[int, int]]
) -> None:
    _check(compiled, phases, writes, ranges)


@settings(max_examples=60, deadline=None)
@given(phase_lists, samples, st.integers(0, 59))
def test_records_and_views_restore_the_same(phases: list[int], writes: list[tuple[int, int, int, int]], cut: int) -> None:
    """A view taken in the midst, plus the records behind it, gives the engine again: snapshot and log."""
    table = MetricTable({"m": MetricSpec(F, "sum")})
    first, second = Engine(default=table), Engine()
    host = HostKey("c", "h")
    saved = None
    log: list[tuple[np.ndarray, np.ndarray, np.ndarray, list[object]]] = []
    for i, (series, tick, jitter, value) in enumerate(writes):
        if i == cut and first.hosts():
            with first.view(host) as view:
                saved = [(g.frequency, list(g.keys), g.first, g.last, [(n, t.copy()) for n, t in g.tiles]) for g in view.groups]
            log.clear()
        time = NOW - 4000 + phases[series] + tick * F + jitter
        answer = first.ingest(f"m,type=hwthread,type-id={series},hostname=h value={value} {time}".encode(), cluster="c", now=NOW)
        log += [(r.ids, r.times, r.values, list(first.series_keys(host, r.ids.tolist()))) for r in answer.records]
    for _, keys, starts, ends, tiles in saved or ():
        ids = second.restore_series(host, keys)
        second.restore_spans(host, ids, starts, ends)
        for number, tile in reversed(tiles):
            second.restore_block(host, ids[: tile.shape[0]], number * 64, tile)
    for _, times, values, keys in log:
        second.replay(host, second.restore_series(host, keys), times, values)
    _same(first, second)


def _same(first: Engine, second: Engine) -> None:
    def held(engine: Engine) -> Callable[..., object]:
        out: dict[object, object] = {}
        for host in engine.hosts():
            with engine.view(host) as view:
                for group in view.groups:
                    for row, key in enumerate(group.keys):
                        bins = {}
                        for number, tile in group.tiles:
                            for column in np.flatnonzero(~np.isnan(tile[row])) if row < tile.shape[0] else ():
                                bins[number * 64 + int(column)] = float(tile[row][column])
                        if bins:
                            out[host, key] = (int(group.first[row]), int(group.last[row]), bins)
        return out  # type: ignore[return-value]

    assert held(first) == held(second)
