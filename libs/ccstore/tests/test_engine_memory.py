"""Freeing, retention, cap, epochs: metric-store 1.9 and 5, design T6."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ccschema.api import ApiQuery, QueryRequest
from ccstore.arena import Arena, Epochs, round_rows
from ccstore.engine import Engine
from ccstore.ingest import Reason
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.policy import Stock, cut_off, decide
from ccstore.registry import HostKey
from ccstore.tiles import NoMemoryForTile

Send = Callable[..., object]
H = HostKey("c", "h")


def put(engine: Engine, host: str, times: range, *, series: int = 1, metric: str = "fast") -> object:
    lines = b"".join(
        b"%s,cluster=c,hostname=%s,type=core,type-id=%d value=%d %d\n" % (metric.encode(), host.encode(), i, t % 97, t)
        for t in times
        for i in range(series)
    )
    return engine.ingest(lines, cluster="", now=times.stop)


# ---- arena and epochs


def test_arena_counts_exactly_and_joins_what_is_free() -> None:
    arena = Arena(1)
    assert arena.values.size == 16 << 20
    rows = arena.values.size // 64 // 4
    tiles = [arena.take(rows) for _ in range(4)]
    assert arena.used == arena.values.nbytes
    assert arena.take(16) is None
    for base in tiles:
        arena.give(base, rows)  # type: ignore[arg-type]
    assert arena.used == 0
    big, small = arena.take(3 * rows), arena.take(16)
    assert big is not None and small is not None
    assert np.isnan(arena.values[small : small + 16 * 64]).all()
    assert small >= big + 3 * rows * 64 or small + 16 * 64 <= big
    assert [round_rows(n) for n in (0, 1, 16, 17)] == [16, 16, 16, 32]


def test_epochs_hold_back_until_older_readers_are_gone() -> None:
    epochs, done = Epochs(), []
    epochs.retire(lambda: done.append(0), 10)
    assert (done, epochs.limbo) == ([0], 0)
    old = epochs.pin()
    epochs.retire(lambda: done.append(1), 10)
    new = epochs.pin()
    assert (done, epochs.limbo, epochs.held) == ([0], 10, 2)
    epochs.unpin(old)
    epochs.reap()
    assert (done, epochs.limbo) == ([0, 1], 0)
    epochs.retire(lambda: done.append(2))
    epochs.unpin(new)
    epochs.reap()
    assert done == [0, 1, 2]


def test_view_keeps_freed_data_until_it_is_closed(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    put(engine, "h", range(1000, 3000, 10))
    view = engine.view(H)
    before = [(number, tile.copy()) for number, tile in view.groups[0].tiles]
    used = engine.usage().bytes
    assert engine.free([()], 10**6) > 0
    assert engine.hosts() == []
    assert (engine.usage().tiles, engine.usage().limbo, engine.usage().epochs) == (0, used, 1)
    put(engine, "other", range(1000, 3000, 10))
    for (_, saved), (_, tile) in zip(before, view.groups[0].tiles, strict=True):
        np.testing.assert_array_equal(saved, tile)
    view.close()
    view.close()
    engine.fit(0)
    assert engine.usage().limbo == 0
    with pytest.raises(KeyError):
        engine.view(H)


# ---- 1.9


def test_free_of_unknown_paths_creates_nothing_pitfall(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    put(engine, "h", range(1000, 1100, 10))
    assert engine.free([("c", "no"), ("x",), ("c", "h", "no"), ("c", "h", "core0", "no")], 10**6) == 0
    assert engine.free([], 10**6) == 0
    assert engine.hosts() == [H]


def test_free_counts_series_in_freed_tiles_and_prunes_pitfall(make_engine: Callable[..., Engine]) -> None:
    """S9; vector 10.6 in tiles: what ends before goes, with the cut-off behind everything all goes, and then the host too."""
    engine = make_engine()
    put(engine, "h", range(0, 640 * 3, 10), series=2)  # bins 0..191 and -1: tiles 0, 1, 2 (phase 5: the first bin is tile -1's last)
    assert engine.free([("c", "h")], 640 + 10) in (2, 4)
    with engine.read() as reader:
        request = QueryRequest(
            cluster="c", from_=0, to=9999, with_padding=False, queries=[ApiQuery(metric="fast", host="h", type="core", type_ids=["1"])]
        )
        ((row,),) = reader.query(request)
        assert 640 <= row.from_ <= 650
        assert not np.isnan(row.values).any()
    assert engine.free([("c", "h")], 10**6) in (4, 6)
    assert engine.hosts() == []
    assert engine.usage().bytes == 0


def test_free_of_a_level_leaves_the_others(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    put(engine, "h", range(1000, 1500, 10), series=3)
    assert engine.free([("c", "h", "core1")], 10**6) >= 1
    with engine.read() as reader:
        dump = b"".join(reader.describe(("c", "h")))
    assert b"core1" not in dump
    assert b"core0" in dump and b"core2" in dump
    assert engine.usage().series == 2
    assert put(engine, "h", range(1500, 1600, 10), series=3).stored == 30
    assert engine.usage().series == 3


def test_a_host_that_comes_back_is_fed_again(make_engine: Callable[..., Engine], path: object) -> None:
    """Keys of a host that is gone do not lead anywhere else, also when its numbers are used again."""
    engine = make_engine()
    engine.use_kernel(path)  # type: ignore[arg-type]
    for base in (1000, 20_000, 40_000):
        for start in range(base, base + 300, 100):
            for host in ("a", "b"):
                assert put(engine, host, range(start, start + 100, 10), series=3).stored == 30
        engine.free([("c", "a")], 10**6)
        assert engine.hosts() == [HostKey("c", "b")]
        assert put(engine, "z", range(base, base + 100, 10), series=3).stored == 30
        engine.free([("c", "z")], 10**6)
    with engine.view(HostKey("c", "b")) as view:
        assert len(view.groups[0].keys) == 3


# ---- 5.1


def test_retention_and_protection(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(retention=2000)
    for host in ("busy", "idle"):
        put(engine, host, range(100_000, 100_500, 10))
    engine.protect({"c": frozenset({"busy"})}, 104_000)
    assert engine.retain(104_000) == [HostKey("c", "idle")]
    engine.protect(None, 104_000)
    assert engine.retain(104_000) == [], "could not ask: twice the retention"
    assert engine.retain(106_000) == [HostKey("c", "busy")]


def test_retention_without_a_provider_frees_all(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(retention=2000)
    put(engine, "h", range(100_000, 103_000, 10))
    assert engine.retain(103_000) == []
    oldest = engine.usage().oldest
    assert oldest is not None and oldest > 100_000


def test_cut_off() -> None:
    busy = {"c": frozenset({"h"})}
    assert cut_off(H, 100, 10, {}) == 90
    assert cut_off(H, 100, 10, busy) is None
    assert cut_off(H, 100, 10, None) == 80
    assert cut_off(H, 100, 0, {}) is None


# ---- 5.2


def test_decide_idle_hosts_first_then_the_oldest() -> None:
    stocks = [Stock(HostKey("c", h), g, 0, end, 10) for g, (h, end) in enumerate([("busy", 1), ("a", 3), ("b", 2), ("busy", 9)])]
    busy = {"c": frozenset({"busy"})}
    assert [s.group for s in decide(15, stocks, busy)] == [2, 1]
    assert [s.group for s in decide(30, stocks, busy)] == [2, 1, 0]
    assert [s.group for s in decide(99, stocks, busy)] == [2, 1, 0, 3]
    assert decide(0, stocks, busy) == []


def test_cap_is_never_exceeded_and_the_newest_is_kept(make_engine: Callable[..., Engine], path: object) -> None:
    cap = 40 * 4096
    engine = make_engine(memory_cap=cap)
    engine.use_kernel(path)  # type: ignore[arg-type]
    for start in range(100_000, 140_000, 500):
        for host in ("a", "b"):
            answer = put(engine, host, range(start, start + 500, 10))
            assert answer.stored == 50
            assert engine.usage().bytes <= cap
    oldest = engine.usage().oldest
    assert oldest is not None and 100_000 < oldest < 140_000 - 10_000
    assert len(engine.hosts()) == 2


def test_over_the_cap_idle_hosts_go_first(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(memory_cap=20 * 4096)
    engine.protect({"c": frozenset({"busy"})}, 0)
    put(engine, "busy", range(100_000, 106_400, 10))
    put(engine, "idle", range(104_000, 110_000, 10))
    put(engine, "busy", range(106_400, 110_000, 10))
    with engine.view(HostKey("c", "busy")) as view:
        assert view.groups[0].first[0] * 10 + view.groups[0].keys[0].phase <= 100_000


def test_nothing_to_free_refuses_and_leaves_no_phantom(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(memory_cap=2 * 4096)
    put(engine, "a", range(100_000, 100_100, 10))
    put(engine, "b", range(100_000, 100_100, 10))
    answer = put(engine, "late", range(100_000, 100_010, 10))
    assert (answer.stored, dict(answer.refused)) == (0, {Reason.MEMORY: 1})
    assert engine.hosts() == [HostKey("c", "a"), HostKey("c", "b")]
    ids = engine.restore_series(HostKey("c", "a"), [engine.series_keys(HostKey("c", "a"), [0])[0]])
    with pytest.raises(NoMemoryForTile):
        engine.restore_block(HostKey("c", "a"), ids, 0, np.ones((1, 64), np.float32))


# ---- recovery


def test_closed_hosts_wait(make_engine: Callable[..., Engine], path: object) -> None:
    engine = make_engine()
    engine.use_kernel(path)  # type: ignore[arg-type]
    engine.close_hosts([H])
    assert engine.closed_hosts() == {H}
    body = b"load,cluster=c,hostname=h value=1 1000\nload,cluster=c,hostname=i value=2 1000\nload,hostname=h value=3 1060"
    for _ in range(2):
        answer = engine.ingest(body, cluster="c", now=2000)
        assert (answer.stored, answer.closed) == (1, {H})
        assert answer.rest == b"load,cluster=c,hostname=h value=1 1000\nload,hostname=h value=3 1060\n"
    engine.host_opened(H)
    again = engine.ingest(answer.rest, cluster="c", now=2000)
    assert (again.stored, again.closed, again.rest) == (2, set(), b"")


def test_restored_phase_binds_and_the_list_does_not(make_engine: Callable[..., Engine], send: Send) -> None:
    """A series whose metric is not in the list is loaded and kept; one that is goes on with its old phase."""
    from ccstore.registry import SeriesKey

    engine = make_engine()
    keys = [SeriesKey((), "load", 60, 7), SeriesKey(("socket0",), "gone", 60, 0)]
    ids = engine.restore_series(H, keys)
    assert engine.restore_series(H, keys).tolist() == ids.tolist() == [0, 1]
    engine.restore_spans(H, ids, np.array([10, 10]), np.array([20, 20]))
    assert engine.restore_block(H, ids, 10, np.array([[1, np.nan] * 5 + [1], [2] * 11], np.float32)) == 17
    assert engine.restore_block(H, ids, 9, np.full((2, 12), 9, np.float32)) == 7, "only where nothing was"
    send(engine, "load", [(20 * 60 + 7 + 59, 5)])
    with engine.view(H) as view:
        tile = dict(view.groups[0].tiles)[0]
        assert tile[0, 9:21].tolist() == [9, 1, 9, 1, 9, 1, 9, 1, 9, 1, 9, 5]
        assert tile[1, 9:21].tolist() == [9, *[2] * 11]
        assert (view.groups[0].first.tolist(), view.groups[0].last.tolist()) == ([9, 9], [20, 20])
    for wrong in (SeriesKey((), "load", 60, 60), SeriesKey((), "load", 0, 0), SeriesKey(("",), "load", 60, 0), SeriesKey((), "", 60, 0)):
        with pytest.raises(ValueError, match="not a possible"):
            engine.restore_series(H, [wrong])


def test_replay_in_order_over_tiles_and_series(make_engine: Callable[..., Engine]) -> None:
    engine, copy = make_engine(), make_engine()
    rng = np.random.default_rng(1)
    records = []
    for _ in range(50):
        times = 100_000 + rng.integers(0, 5000, 20)
        lines = b"".join(b"fast,cluster=c,hostname=h,type=core,type-id=%d value=%d %d\n" % (i % 7, i, t) for i, t in enumerate(times))
        records += engine.ingest(lines, cluster="", now=106_000).records
    ids = np.concatenate([r.ids for r in records])
    keys = engine.series_keys(H, range(int(ids.max()) + 1))
    assert copy.restore_series(H, keys).tolist() == list(range(len(keys)))
    copy.replay(H, ids, np.concatenate([r.times for r in records]), np.concatenate([r.values for r in records]))
    with engine.view(H) as a, copy.view(H) as b:
        assert a.groups[0].first.tolist() == b.groups[0].first.tolist()
        assert a.groups[0].last.tolist() == b.groups[0].last.tolist()
        for (n, x), (m, y) in zip(a.groups[0].tiles, b.groups[0].tiles, strict=True):
            assert n == m
            np.testing.assert_array_equal(x, y)


def test_usage_of_a_known_layout(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    assert engine.usage() == (0, 0, 0, 0, 0, None, 0)
    engine.set_metrics({}, MetricTable({"fast": MetricSpec(10, "sum")}))
    put(engine, "h", range(640 * 100, 640 * 100 + 10, 10), series=17)
    assert engine.usage().bytes == 32 * 256
    assert (engine.usage().series, engine.usage().hosts, engine.usage().oldest) == (17, 1, 640 * 99)


def test_equal_keys_of_hosts_are_one_object_and_changing_names_do_not_fill_memory(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    put(engine, "a", range(1000, 1010, 10), series=3)
    put(engine, "b", range(1000, 1010, 10), series=3)
    a, b = (engine.series_keys(HostKey("c", host), range(3)) for host in "ab")
    assert all(x is y for x, y in zip(a, b, strict=True))
    monkeypatch.setattr("ccstore.registry.MAX_WORDS", 50)
    put(engine, "a", range(1000, 1010, 10), series=400)
    assert len(engine._registry._words) <= 50
    assert engine.usage().series == 403
