"""Requests as metric-store 3.3 has them: selection, order, statistics, resampling, scale, padding, for-all-nodes, health, dump."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import numpy as np
import pytest
from ccschema.api import ApiQuery, QueryRequest
from ccstore.describe import NotFound
from ccstore.engine import Engine
from ccstore.health import Health
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.query import Row

N = float("nan")
Send = Callable[..., object]
Ask = Callable[..., list[Row]]


def same(values: np.ndarray, expected: list[float]) -> bool:
    return np.array_equal(values, np.array(expected, np.float32), equal_nan=True)


@pytest.fixture
def threads(make_engine: Callable[..., Engine], send: Send) -> Engine:
    """Ten hwthreads, each with its number as value, and two sub-levels below socket0."""
    engine = make_engine()
    for i in range(10):
        send(engine, "power", [(1000, i), (1060, i)], tags=f"type=hwthread,type-id={i}")
    for i in range(2):
        send(engine, "power", [(1000, 100 + i)], tags=f"type=socket,type-id=0,stype=x,stype-id={i}")
    return engine


def test_one_entry_per_id_in_their_order_with_its_id(threads: Engine, ask: Ask) -> None:
    """PITFALL 3.3: a missing id moves the others up; the id says which is which."""
    rows = ask(threads, "power", 0, 2000, type="hwthread", type_ids=["7", "99", "2"])
    assert [(row.id, row.values[0]) for row in rows] == [("7", 7), ("2", 2)]


def test_pairs_of_type_and_subtype(threads: Engine, ask: Ask) -> None:
    rows = ask(threads, "power", 0, 2000, type="socket", type_ids=["0", "1"], subtype="x", subtype_ids=["1", "0"])
    assert [(row.id, row.values[0]) for row in rows] == [("0/1", 101), ("0/0", 100)]
    (total,) = ask(threads, "power", 0, 2000, type="socket", type_ids=["0"], subtype="x", subtype_ids=["1", "0"], aggreg=True)
    assert (total.id, total.values[0]) == (None, 201)


@pytest.mark.parametrize("aggreg", [False, True])
def test_type_without_ids_asks_for_nothing(threads: Engine, ask: Ask, aggreg: bool) -> None:
    assert ask(threads, "power", 0, 2000, type="hwthread", aggreg=aggreg) == []
    assert ask(threads, "power", 0, 2000, type="hwthread", type_ids=[], aggreg=aggreg) == []


def test_subtype_counts_only_with_type_and_star_is_no_wildcard(threads: Engine, ask: Ask) -> None:
    assert ask(threads, "power", 0, 1050, subtype="x", subtype_ids=["0"])[0].values[0] == 45 + 201
    assert ask(threads, "power", 0, 2000, type="hwthread", type_ids=["*"]) == []


def test_aggregate_of_ids(threads: Engine, ask: Ask) -> None:
    (row,) = ask(threads, "power", 0, 2000, type="hwthread", type_ids=["1", "2", "3", "44"], aggreg=True)
    assert same(row.values, [6, 6])


def test_statistics_are_of_native_data_pitfall(make_engine: Callable[..., Engine], send: Send, ask: Ask) -> None:
    engine = make_engine(minimum_points=3)
    values = [float(i * i % 17) for i in range(20)]
    send(engine, "load", [(1000 + 60 * i, v) for i, v in enumerate(values)], now=3000)
    native, coarse = (ask(engine, "load", 0, 9000, resolution=r)[0] for r in (60, 240))
    assert same(coarse.values, [0, 16, 2, 16, 4])
    assert (coarse.resolution, coarse.from_, coarse.to) == (240, 1000, 2200)
    assert native.stats == coarse.stats == (pytest.approx(np.mean(values)), 0, 16)


def test_gaps_and_switches(make_engine: Callable[..., Engine], send: Send, ask: Ask) -> None:
    engine = make_engine()
    send(engine, "load", [(1000, 1), (1120, 4)])
    assert ask(engine, "load", 0, 2000)[0].stats == (2.5, 1, 4)
    (empty,) = ask(engine, "load", 0, 500)
    assert empty.stats is not None and all(np.isnan(v) for v in empty.stats)
    (row,) = ask(engine, "load", 0, 2000, with_data=False)
    assert (row.values.size, row.from_, row.to, row.stats) == (0, 1000, 1180, (2.5, 1, 4))
    assert ask(engine, "load", 0, 2000, with_stats=False)[0].stats is None


@pytest.mark.parametrize(("factor", "times"), [(0.0, 1), (1.0, 1), (0.5, 0.5), (-2.0, -2), (None, N)])
def test_scale(make_engine: Callable[..., Engine], send: Send, ask: Ask, factor: float | None, times: float) -> None:
    engine = make_engine()
    send(engine, "load", [(1000, 4), (1060, 2)])
    (row,) = ask(engine, "load", 0, 2000, scale_by=factor)
    assert same(row.values, [4 * times, 2 * times])
    np.testing.assert_array_equal(row.stats, [3 * times, 2 * times, 4 * times])


@pytest.mark.parametrize(
    ("from_", "to", "front", "values"),
    [
        (1000, 2000, 0, 3),
        (910, 2000, 1, 3),
        (700, 2000, 5, 3),
        (700, 1100, 5, 2),
        (400, 600, 4, 0),
        (400, 410, 1, 0),
        (1010, 2000, 0, 3),
        (1900, 2000, 0, 0),
    ],
)
def test_padding_stays_inside_the_range_pitfall(
    make_engine: Callable[..., Engine], send: Send, ask: Ask, from_: int, to: int, front: int, values: int
) -> None:
    """1.8: only in front; `from` stays that of the data; a range wholly before the data is not padded beyond its end."""
    engine = make_engine()
    send(engine, "load", [(1000, 1), (1060, 2), (1120, 3)])
    (plain,) = ask(engine, "load", from_, to)
    (row,) = ask(engine, "load", from_, to, with_padding=True)
    assert np.isnan(row.values[:front]).all()
    assert row.values.size == front + values
    assert (row.from_, row.to) == (plain.from_, plain.to)


def test_padding_counts_the_result_s_own_resolution_pitfall(make_engine: Callable[..., Engine], send: Send, ask: Ask) -> None:
    engine = make_engine(minimum_points=3)
    send(engine, "load", [(12000 + 60 * i, 1) for i in range(20)], now=20000)
    (row,) = ask(engine, "load", 12000 - 1200, 20000, resolution=240, with_padding=True)
    assert np.isnan(row.values).sum() == 5
    assert row.values.size == 5 + 5


def test_for_all_nodes(make_engine: Callable[..., Engine]) -> None:
    """Generated queries follow the explicit ones; hosts in natural order; each with its metrics."""
    engine = make_engine()
    for host in ("n10", "n2", "n1"):
        engine.ingest(f"load,cluster=c,hostname={host} value={host[1:]} 1000".encode(), cluster="", now=2000)
    request = QueryRequest(
        cluster="c", from_=0, to=2000, with_padding=False, for_all_nodes=["load", "power"], queries=[ApiQuery(metric="load", host="n2")]
    )
    with engine.read() as reader:
        echoed = [(q.host, q.metric) for q in reader.expand(request)]
        rows = reader.query(request)
    assert echoed == [("n2", "load"), *((h, m) for h in ("n1", "n2", "n10") for m in ("load", "power"))]
    assert [[row.values[0] for row in one] for one in rows] == [[2], [1], [], [2], [], [10], []]


def test_no_query_at_all(make_engine: Callable[..., Engine]) -> None:
    with make_engine().read() as reader:
        assert reader.query(QueryRequest()) == []


def test_many_phases_and_tiles(make_engine: Callable[..., Engine], ask: Ask) -> None:
    """Sums over several tiles, with rows that came later than the tile, and gaps of whole tiles."""
    engine = make_engine()
    for i in range(40):
        for k in range(i, 400, 1 + i % 3):
            if not 100 <= k < 250:
                engine.ingest(
                    f"fast,cluster=c,hostname=h,type=core,type-id={i} value={k} {100_000 + 10 * k}".encode(), cluster="", now=105_000
                )
    singles = [ask(engine, "fast", 0, 200_000, type="core", type_ids=[str(i)])[0] for i in range(40)]
    expected = np.full(400, 0.0)
    for row in singles:
        column = np.full(400, np.nan)
        at = (row.from_ - 100_000) // 10
        column[at : at + row.values.size] = row.values
        expected += column
    (total,) = ask(engine, "fast", 0, 200_000)
    np.testing.assert_array_equal(total.values, expected[: total.values.size].astype(np.float32))


# ---- 7


@pytest.mark.parametrize(("ago", "state"), [(50, "full"), (51, "failed"), (100, "failed")])
def test_health_vector(make_engine: Callable[..., Engine], send: Send, ago: int, state: str) -> None:
    """10.7: end of the last bin 50 s ago is healthy at f = 10."""
    engine = make_engine(clock=lambda: 1005 + ago)
    send(engine, "fast", [(1000, 1)])
    with engine.read() as reader:
        assert reader.health("c", ["h"], ["fast"])["h"].state == state


def test_health_rules(make_engine: Callable[..., Engine], send: Send) -> None:
    engine = make_engine(clock=lambda: 2000)
    send(engine, "load", [(1990, 1)])
    send(engine, "power", [(1990, 1)], tags="type=hwthread,type-id=0")
    send(engine, "power", [(1000, 1)], tags="type=hwthread,type-id=1")
    with engine.read() as reader:
        health = reader.health("c", ["h", "unknown"], ["power", "load", "clock", "unlisted"])
        assert health["h"] == Health("partial", '{"degraded":["power"],"missing":["clock","unlisted"]}')
        assert health["unknown"] == Health("failed", "")
        assert reader.health("c", ["h"], []) == {"h": Health("full", '{"degraded":[],"missing":[]}')}
        assert reader.health("c", ["h"], ["load"])["h"].state == "full"
        assert reader.health("c", ["h"], ["power", "clock"])["h"].state == "failed"


# ---- 3.6


def test_dump_is_valid_json_pitfall(threads: Engine) -> None:
    threads.ingest(b"load,cluster=c,hostname=h2,type=accelerator,type-id=00000000:49:00.0 value=1 1000", cluster="", now=2000)
    threads.ingest(b"load,cluster=a,hostname=h value=1 1000", cluster="", now=2000)
    with threads.read() as reader:
        everything = json.loads(b"".join(reader.describe(())))["data"]
        host = json.loads(b"".join(reader.describe(("c", "h"))))["data"]
        below = json.loads(b"".join(reader.describe(("c", "h2", "accelerator00000000:49:00.0"))))["data"]
    assert list(everything) == ["a", "c"]
    assert list(everything["c"]) == ["h", "h2"]
    assert list(host) == [*(f"hwthread{i}" for i in range(10)), "socket0"]
    assert host["socket0"]["x1"] == {"power": [{"start": 970, "len": 1, "end": 1030}]}
    assert host == everything["c"]["h"]
    assert below == {"load": [{"start": 970, "len": 1, "end": 1030}]}


def test_dump_of_nothing(threads: Engine, make_engine: Callable[..., Engine]) -> None:
    with threads.read() as reader, pytest.raises(NotFound) as caught:
        reader.describe(("c", "nope"))
    assert str(caught.value) == '[METRICSTORE]> not found: []string{"c", "nope"}'
    with make_engine().read() as reader:
        assert json.loads(b"".join(reader.describe(()))) == {"data": {}}


# ---- readers beside the writer


@pytest.mark.slow
def test_readers_beside_the_writer(compiled: object) -> None:
    """New series, growing tiles and freeing while others read: no exception, and never a value that was not sent."""
    engine = Engine(default=MetricTable({"m": MetricSpec(1, "avg")}), retention=400)
    engine.use_kernel(compiled)  # type: ignore[arg-type]
    stop, wrong = threading.Event(), []

    def read() -> None:
        request = QueryRequest(cluster="c", from_=0, to=10**9, for_all_nodes=["m"], with_padding=False)
        while not stop.is_set():
            try:
                with engine.read() as reader:
                    for (row,) in (rows for rows in reader.query(request) if rows):
                        if not np.isin(row.values[~np.isnan(row.values)], [7]).all():
                            wrong.append(row)
                    b"".join(reader.describe(()))
                    reader.health("c", reader.hosts("c"), ["m"])
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for now in range(10_000, 11_500):
        lines = b"".join(b"m,hostname=h%d,type=core,type-id=%d value=7 %d\n" % (i % 3, i + now // 100, now) for i in range(20))
        engine.ingest(lines, cluster="c", now=now)
        if now % 50 == 0:
            engine.retain(now)
    stop.set()
    for thread in readers:
        thread.join()
    assert not wrong
