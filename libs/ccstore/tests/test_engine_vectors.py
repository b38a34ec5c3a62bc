"""The vectors of metric-store 1.3 to 1.5 and 10, by every path a line can take."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from ccstore.engine import Engine
from ccstore.ingest import Reason
from ccstore.metrics import MetricSpec, MetricTable, aggregation
from ccstore.query import Row
from ccstore.registry import HostKey

N = float("nan")
Send = Callable[..., object]
Ask = Callable[..., list[Row]]


def same(values: np.ndarray, expected: list[float]) -> bool:
    return np.array_equal(values, np.array(expected, np.float32), equal_nan=True)


WRITES = [(1000, 1), (1029, 2), (1030, 3), (1089, 4), (1090, 5), (969, 9), (970, 7)]


@pytest.mark.parametrize(
    ("count", "stored"),
    [(2, [2]), (3, [2, 3]), (4, [2, 4]), (5, [2, 4, 5]), (6, [2, 4, 5]), (7, [7, 4, 5])],
)
def test_bins_are_centred_on_the_first_sample(engine: Engine, send: Send, ask: Ask, count: int, stored: list[float]) -> None:
    """1.3; one sample a batch and all in one."""
    for sample in WRITES[:count]:
        send(engine, "load", [sample])
    send(engine, "power", WRITES[:count])
    for metric in ("load", "power"):
        (row,) = ask(engine, metric, 0, 5000)
        assert same(row.values, stored)
        assert (row.from_, row.resolution) == (1000, 60)


def test_past_is_refused_counted_and_no_error(engine: Engine, send: Send) -> None:
    send(engine, "load", [(1000, 1)])
    answer = send(engine, "load", [(969, 9), (970, 7)])
    assert answer.refused == {Reason.PAST: 1}
    assert (answer.stored, answer.malformed, answer.errors) == (1, 0, [])


def test_gaps_are_nan(engine: Engine, send: Send, ask: Ask) -> None:
    send(engine, "fast", [(100, 1), (130, 4)])
    assert same(ask(engine, "fast", 0, 1000)[0].values, [1, N, N, 4])


def test_phase_is_kept_over_the_reference_s_chunk_border_pitfall(engine: Engine, send: Send, ask: Ask) -> None:
    """The reference opens a chunk with a new phase at 30690; here nothing changes there (10.3, 1.3)."""
    send(engine, "load", [(0, 1), (30689, 2), (30690, 3), (30749, 4)], now=31000)
    (row,) = ask(engine, "load", 0, 40000)
    assert (row.from_, row.to, row.values.size) == (0, 513 * 60, 513)
    assert row.values[511:].tolist() == [2, 4]
    assert np.isnan(row.values[1:511]).all()


@pytest.mark.parametrize(
    ("from_", "to", "values", "actual"),
    [
        (0, 5000, [1, 2, 3], (1000, 1180)),
        (1000, 1120, [1, 2], (1000, 1120)),
        (1010, 1190, [1, 2, 3], (1010, 1190)),
        (970, 1000, [], (1000, 1000)),
        (1029, 1031, [1], (1029, 1089)),
        (1030, 1100, [2, 3], (1030, 1150)),
        (1300, 1500, [], (1300, 1300)),
        (0, 500, [], (1000, 1000)),
        (1100, 1100, [], (1100, 1100)),
    ],
)
def test_reads_of_one_series(
    engine: Engine, send: Send, ask: Ask, from_: int, to: int, values: list[float], actual: tuple[int, int]
) -> None:
    """1.4; from == to is no error."""
    send(engine, "load", [(1000, 1), (1060, 2), (1120, 3)])
    (row,) = ask(engine, "load", from_, to)
    assert same(row.values, values)
    assert (row.from_, row.to) == actual
    assert row.error is None


def test_huge_range_pitfall(engine: Engine, send: Send, ask: Ask) -> None:
    """The work is bounded by the data that exists."""
    send(engine, "load", [(1000, 1), (1060, 2)])
    (row,) = ask(engine, "load", -(2**60), 2**60, with_padding=True)
    assert same(row.values, [1, 2])


def test_first_write_and_end(engine: Engine, send: Send) -> None:
    """10.1: start 90, f 10, 4 values: firstWrite 95, end 135 is what a first sample at 95 gives."""
    send(engine, "fast", [(95, 1), (125, 4)])
    with engine.read() as reader:
        dump = b"".join(reader.describe(("c", "h")))
    assert b'"fast":[{"start":90,"len":4,"end":130}]' in dump
    view = engine.view(HostKey("c", "h"))
    assert view.groups[0].keys[0].phase == 0
    view.close()


def test_two_before_the_first_is_refused(engine: Engine, send: Send) -> None:
    """10.2."""
    send(engine, "fast", [(100, 1)])
    assert send(engine, "fast", [(50, 1)]).refused == {Reason.PAST: 1}


def test_six_values_over_a_tile_border(engine: Engine, send: Send, ask: Ask) -> None:
    """10.4 without chunks: 1..6 from 100 to 160; the tile border lies in the midst when the bins say so."""
    send(engine, "fast", [(620 + 10 * i, i + 1) for i in range(6)])
    (row,) = ask(engine, "fast", 620, 680)
    assert same(row.values, [1, 2, 3, 4, 5, 6])
    assert (row.from_, row.to) == (620, 680)


# ---- 1.5 aggregation


def _two(engine: Engine, send: Send, metric: str, a: list[tuple[int, float]], c: list[tuple[int, float]]) -> None:
    send(engine, metric, a, tags="type=hwthread,type-id=0")
    send(engine, metric, c, tags="type=hwthread,type-id=1")


@pytest.mark.parametrize("turned", [False, True])
def test_late_device_pitfall(engine: Engine, send: Send, ask: Ask, turned: bool) -> None:
    """A starts one bin before C, C ends one bin early: never an error, whatever the order."""
    a = [(1000, 1), (1060, 2), (1120, 3), (1180, 4)]
    c = [(1060, 10), (1120, 20), (1180, 30)]
    _two(engine, send, "power", *((c, a) if turned else (a, c)))
    (row,) = ask(engine, "power", 900, 2000)
    assert row.error is None
    assert same(row.values, [N, 12, 23, 34])
    assert (row.from_, row.to) == (1000, 1240)


def test_avg_and_gaps(engine: Engine, send: Send, ask: Ask) -> None:
    _two(
        engine,
        send,
        "clock",
        [(1000, 1), (1120, 3), (1180, 4)],
        [(1000, 10), (1060, 20), (1120, 30), (1180, 40)],
    )
    assert same(ask(engine, "clock", 0, 2000)[0].values, [5.5, N, 16.5, 22])
    (row,) = ask(engine, "clock", 0, 2000, type="hwthread", type_ids=["0", "1", "7"], aggreg=True)
    assert same(row.values, [5.5, N, 16.5, 22]), "n is the number of series found, not of ids asked for"


def test_series_without_a_value_in_the_range_do_not_count(engine: Engine, send: Send, ask: Ask) -> None:
    """Neither one that is over, nor one that has only gaps there."""
    _two(engine, send, "clock", [(1000, 1), (1060, 2), (1180, 4)], [(1000, 10), (1060, 20), (1600, 30)])
    send(engine, "clock", [(400, 5)], tags="type=hwthread,type-id=2")
    (row,) = ask(engine, "clock", 1170, 1240)
    assert same(row.values, [4])
    assert row.to == 1230


def test_unaggregated_sum_of_one_is_itself_and_none_of_many_an_error(engine: Engine, send: Send, ask: Ask) -> None:
    send(engine, "load", [(1000, 1)], tags="type=hwthread,type-id=0")
    assert same(ask(engine, "load", 0, 2000)[0].values, [1])
    send(engine, "load", [(1000, 1)], tags="type=hwthread,type-id=1")
    (row,) = ask(engine, "load", 0, 2000)
    assert row.error == "[METRICSTORE]> invalid aggregation"
    assert (row.from_, row.to, row.resolution, row.values.size) == (0, 0, 0, 0)


def test_a_series_at_the_level_itself_hides_its_children(engine: Engine, send: Send, ask: Ask) -> None:
    _two(engine, send, "power", [(1000, 1)], [(1000, 2)])
    send(engine, "power", [(1000, 5)], tags="type=hwthread,type-id=1,stype=x,stype-id=0")
    assert same(ask(engine, "power", 0, 2000)[0].values, [3]), "of hwthread1 its own series, not the one below it"
    send(engine, "power", [(1000, 50)])
    assert same(ask(engine, "power", 0, 2000)[0].values, [50])


def test_phases_of_one_group(engine: Engine, send: Send, ask: Ask) -> None:
    """Series that differ in phase by less than f are laid over each other by column."""
    _two(engine, send, "power", [(1000, 1), (1060, 2), (1120, 3)], [(1025, 10), (1085, 20), (1145, 30)])
    (row,) = ask(engine, "power", 0, 2000)
    assert row.from_ == 1000
    assert same(row.values, [11, 22, 33])


# ---- 10, the HTTP vectors as far as the engine has a part in them


def test_vector_a(engine: Engine, ask: Ask) -> None:
    body = b"load,cluster=c,hostname=h,type=node value=1.5 1700000000"
    assert engine.ingest(body, cluster="", now=1700000030).stored == 1
    (row,) = ask(engine, "load", 1700000000, 1700000060, with_padding=True)
    assert (row.values.tolist(), row.from_, row.to, row.resolution, row.stats) == ([1.5], 1700000000, 1700000060, 60, (1.5, 1.5, 1.5))


def test_vectors_b_and_c_and_one_bad_line_pitfall(engine: Engine, ask: Ask) -> None:
    """A field `event` is an error for a metric of the list and none of our business else; good lines behind it are stored."""
    body = b'load,cluster=c,hostname=h value=1 1000\nload,cluster=c,hostname=h event="x" 1060\nother,a= event="x"\nload,cluster=c,hostname=h value=3 1120'
    answer = engine.ingest(body, cluster="", now=2000)
    assert answer.stored == 2
    assert answer.refused == {Reason.FIELD: 1, Reason.METRIC: 1}
    assert answer.malformed == 1
    assert answer.errors == ["at line 2: host h: unknown field: 'event' (value: x)"]
    assert same(ask(engine, "load", 0, 2000)[0].values, [1, N, 3])


def test_vector_d(engine: Engine, ask: Ask) -> None:
    assert engine.ingest(b"load,hostname=h value=1 1000", cluster="c", now=2000).stored == 1
    assert same(ask(engine, "load", 0, 2000)[0].values, [1])


def test_vectors_e_f_g(engine: Engine, send: Send, ask: Ask) -> None:
    send(engine, "load", [(1000, 1)])
    assert ask(engine, "nothing", 0, 2000)[0].error == "[METRICSTORE]> unknown metric: nothing"
    assert ask(engine, "load", 0, 2000, host="elsewhere") == []
    assert ask(engine, "clock", 0, 2000) == []
    assert ask(engine, "load", 0, 2000, resolution=90)[0].error == "new sampling frequency (90) must be a multiple of old frequency (60)"
    assert ask(engine, "load", 2000, 0)[0].error == "[METRICSTORE]> invalid time range"


# ---- 1.2


def test_metric_list() -> None:
    with pytest.raises(ValueError, match="'a'.*'b'"):
        MetricTable({"a": MetricSpec(0), "b": MetricSpec(-1), "ok": MetricSpec(1)})
    assert aggregation("median") == (None, "unknown aggregation strategy: median")
    assert [aggregation(word)[0] for word in ("sum", "avg", "", None)] == ["sum", "avg", None, None]


def test_one_list_per_cluster_pitfall(ask: Ask) -> None:
    """Two clusters with different timesteps: the finer one is not thinned."""
    engine = Engine(tables={"c": MetricTable({"load": MetricSpec(10)})}, default=MetricTable({"load": MetricSpec(60)}))
    for cluster in ("c", "d"):
        engine.ingest(b"".join(b"load,hostname=h value=%d %d\n" % (t, t) for t in (1000, 1010, 1020)), cluster=cluster, now=2000)
    assert same(ask(engine, "load", 0, 2000)[0].values, [1000, 1010, 1020])
    with engine.read() as reader:
        from ccschema.api import ApiQuery, QueryRequest

        request = QueryRequest(cluster="d", from_=0, to=2000, with_padding=False, queries=[ApiQuery(metric="load", host="h")])
        assert same(reader.query(request)[0][0].values, [1020])


def test_list_changes_without_restart(engine: Engine, send: Send, ask: Ask, table: MetricTable) -> None:
    """A changed frequency begins a new generation; a metric that leaves the list is kept, not fed and not answered."""
    send(engine, "load", [(1000, 1), (1060, 2), (1120, 3)])
    found = engine.set_metrics({}, MetricTable({**table, "load": MetricSpec(30)}))
    assert [(c.cluster, c.metric, c.old, c.new) for c in found] == [("", "load", MetricSpec(60), MetricSpec(30))]
    send(engine, "load", [(1180, 4), (1210, 5)])
    (row,) = ask(engine, "load", 0, 2000)
    assert row.resolution == 30
    assert same(row.values, [1, N, 2, N, 3, N, 4, 5]), "S9: the older part has gaps"
    engine.set_metrics({}, MetricTable({"clock": MetricSpec(60, "avg")}))
    assert send(engine, "load", [(1240, 6)]).refused == {Reason.METRIC: 1}
    assert ask(engine, "load", 0, 2000)[0].error == "[METRICSTORE]> unknown metric: load"
    engine.set_metrics({}, table)
    assert same(ask(engine, "load", 1170, 2000)[0].values[:2], [4, 5])


# ---- values


@pytest.mark.parametrize("text", ["0.1", "1e-9", "0.0004", "16777217", "3.4028234e38", "1e-45", "-0", "123456789.125", "7.038531e-26"])
def test_float32_is_bit_equal(engine: Engine, ask: Ask, text: str) -> None:
    """The double nearest to the text, rounded to float32; a second time by the key that is known then."""
    for time in (1000, 1060, 1120):
        engine.ingest(f"load,cluster=c,hostname=h value={text} {time}".encode(), cluster="", now=2000)
    expected = np.float32(float(text))
    assert [v.tobytes() for v in ask(engine, "load", 0, 2000)[0].values] == [expected.tobytes()] * 3


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1000", 1000),
        ("1700000000", 1700000000),
        ("1700000000123", 1700000000),
        ("1700000000123456", 1700000000),
        ("1700000000123456789", 1700000000),
        ("9223372036", None),
        ("", 1700000040),
    ],
)
def test_unit_of_time_by_magnitude_pitfall(engine: Engine, stamp: str, seconds: int | None) -> None:
    """2.4; absent: the time of the server; the largest seconds are seconds (and too far ahead)."""
    for _ in range(3):
        answer = engine.ingest(f"load,cluster=c,hostname=h value=1 {stamp}".encode(), cluster="", now=1700000040)
        if seconds is None:
            assert answer.refused == {Reason.FUTURE: 1}
        else:
            assert answer.records[0].times.tolist() == [seconds]


@pytest.mark.parametrize("stamp", ["12x", "1.5", "1000 x", "--1", "9223372036854775808"])
def test_malformed_time_is_a_syntax_error_pitfall(engine: Engine, send: Send, stamp: str) -> None:
    send(engine, "load", [(1000, 1), (1060, 1)])
    answer = engine.ingest(f"load,cluster=c,hostname=h,type=node value=5 {stamp}".encode(), cluster="", now=2000)
    assert answer.refused == {Reason.SYNTAX: 1}
    assert answer.errors[0].startswith("at line 1:")
    assert answer.stored == 0


def test_future_pitfall(engine: Engine, send: Send, ask: Ask) -> None:
    """One sample of a wrong clock does not shut out the right ones."""
    send(engine, "load", [(1000, 1), (2000 + 3601, 9), (1060, 2), (2000 + 3600, 3)])
    values = ask(engine, "load", 0, 10000)[0].values
    assert same(values[:2], [1, 2])
    assert values[-1] == 3
    assert send(engine, "slowly", [(2000 + 3601, 1)]).refused == {Reason.FUTURE: 1}


def test_window_of_retention(make_engine: Callable[..., Engine], path: object, send: Send) -> None:
    engine = make_engine(retention=1000)
    engine.use_kernel(path)
    assert send(engine, "load", [(1000, 1)]).stored == 1
    assert send(engine, "load", [(999, 1), (1000, 2)]).refused == {Reason.OLD: 1}
    assert send(engine, "load", [(1060, 1), (1059, 1)], now=2060).refused == {Reason.OLD: 1}


# ---- tags


@pytest.mark.parametrize(
    ("tags", "levels"),
    [
        ("type=node", ()),
        ("type=node,type-id=0", ()),
        ("type=node,stype=fs,stype-id=0", ()),
        ("type=hwthread,type-id=12", ("hwthread12",)),
        ("type-id=12,type=hwthread", ("hwthread12",)),
        ("type=accelerator,type-id=00000000:49:00.0", ("accelerator00000000:49:00.0",)),
        ("type=socket", ("socket",)),
        ("type-id=3", ("3",)),
        ("type=socket,type-id=0,stype=x,stype-id=1", ("socket0", "x1")),
        ("stype=x,stype-id=1", ()),
        ("unit=W,type=gpu,type-id=1,group=z", ("gpu1",)),
        (r"type=a\ b,type-id=\,1", ("a b,1",)),
    ],
)
def test_levels(engine: Engine, send: Send, tags: str, levels: tuple[str, ...]) -> None:
    """2.2 with its pitfalls: type=node ignores type-id and stype."""
    for time in (1000, 1060, 1120):
        assert send(engine, "load", [(time, 1)], tags=tags).stored == 1
    assert engine.series_keys(HostKey("c", "h"), [0])[0].levels == levels


def test_collapsing_stype_is_told_once(engine: Engine, send: Send) -> None:
    tags = "type=node,stype=filesystem,stype-id=/home"
    assert "load" in send(engine, "load", [(1000, 1)], tags=tags).notices[0]
    assert send(engine, "load", [(1060, 1)], tags=tags).notices == []


def test_host_or_hostname_the_later_wins(engine: Engine) -> None:
    for _ in range(2):
        engine.ingest(b"load,cluster=c,host=a,hostname=b value=1 1000\nload,cluster=c,hostname=d,host=e value=1 1000", cluster="", now=2000)
    assert engine.hosts() == [HostKey("c", "b"), HostKey("c", "e")]


def test_nothing_is_inherited_from_the_line_before_pitfall(engine: Engine, send: Send) -> None:
    send(engine, "load", [(1000, 1)])
    body = b"load,cluster=c,hostname=h,type=node value=1 1060\nload,cluster=c value=2 1060\nload,hostname=h value=3 1060\n"
    answer = engine.ingest(body, cluster="", now=2000)
    assert answer.stored == 1
    assert answer.refused == {Reason.HOST: 1, Reason.CLUSTER: 1}
    assert (answer.malformed, len(answer.notices)) == (0, 2)


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\\b", ".x", "a..b", "h" * 256, "/"])
def test_path_guard_pitfall(engine: Engine, name: str) -> None:
    for body in (f"load,cluster=c,hostname={name} value=1 1000", f"load,cluster={name},hostname=h value=1 1000"):
        for _ in range(2):
            assert engine.ingest(body.encode(), cluster="c", now=2000).refused == {Reason.NAME: 1}
    assert engine.hosts() == []
    with pytest.raises(ValueError, match="not a possible host"):
        engine.restore_series(HostKey("c", name), [])


def test_default_cluster_is_part_of_a_key(engine: Engine) -> None:
    for cluster in ("a", "b", "a", "b"):
        engine.ingest(b"load,hostname=h value=1 1000", cluster=cluster, now=2000)
    assert engine.hosts() == [HostKey("a", "h"), HostKey("b", "h")]


def test_quoted_line_ends_belong_to_one_line(engine: Engine) -> None:
    """An event with a text of several lines does not turn into lines of ours."""
    body = b'log,hostname=h log="one\nload,cluster=c,hostname=h value=1 1000\nend" 5\nload,cluster=c,hostname=h value=2 1000\n'
    answer = engine.ingest(body, cluster="", now=2000)
    assert (answer.stored, dict(answer.refused)) == (1, {Reason.METRIC: 1})
    assert answer.records[0].values.tolist() == [2]
    bad = engine.ingest(b'log log="a\nb" 1\nload,a= value=1', cluster="c", now=2000)
    assert bad.errors[0].startswith("at line 3:")


def test_unknown_metrics_are_counted_by_name_and_host(engine: Engine) -> None:
    for _ in range(2):
        engine.ingest(b"weather,cluster=c,hostname=h value=1 1\nweather,host=i,x=y value=1\n", cluster="c", now=2000)
    assert engine.unknown_metrics == {("weather", "h"): 2, ("weather", "i"): 2}
    engine.ingest(b"".join(b"u%d value=1\n" % i for i in range(3000)), cluster="c", now=2000)
    assert len(engine.unknown_metrics) <= 1002
    assert sum(engine.unknown_metrics.values()) == 3004


def test_long_line_is_refused_and_the_rest_stored(engine: Engine) -> None:
    body = b"load,cluster=c,hostname=h,x=" + b"y" * 70000 + b" value=1 1000\nload,cluster=c,hostname=h value=2 1000\n"
    answer = engine.ingest(body, cluster="", now=2000)
    assert (answer.stored, dict(answer.refused)) == (1, {Reason.LENGTH: 1})


def test_max_series(make_engine: Callable[..., Engine], path: object, send: Send) -> None:
    """S3: known series go on, refused ones are counted and named."""
    engine = make_engine(max_series=2)
    engine.use_kernel(path)
    send(engine, "load", [(1000, 1)])
    send(engine, "power", [(1000, 1)])
    answer = engine.ingest(
        b"load,cluster=c,hostname=h,type=node value=1 1060\nclock,cluster=c,hostname=new value=1 1060", cluster="", now=2000
    )
    assert (answer.stored, dict(answer.refused)) == (1, {Reason.SERIES: 1})
    assert "max-series (2)" in answer.notices[0]
    assert engine.hosts() == [HostKey("c", "h")], "no phantom host"


def test_records_by_host_in_order(engine: Engine) -> None:
    body = b"".join(
        b"load,cluster=c,hostname=%s value=%d %d\n" % (h, v, t)
        for h, v, t in [(b"a", 1, 1000), (b"b", 2, 1000), (b"a", 3, 1060), (b"a", 4, 1001)]
    )
    for _ in range(3):
        answer = engine.ingest(body, cluster="", now=2000)
        records = {r.host.host: (r.ids.tolist(), r.times.tolist(), r.values.tolist()) for r in answer.records}
        assert records == {"a": ([0, 0, 0], [1000, 1060, 1001], [1, 3, 4]), "b": ([0], [1000], [2])}


# ---- S1


def test_drifted_series_continues_with_a_new_phase_at_a_tile_border(engine: Engine, send: Send, ask: Ask) -> None:
    start = 64 * 60 * 10 + 30
    send(engine, "load", [(start, 0)], now=10**6)
    times = [start + 60 * i + 25 for i in range(1, 130)]
    for i in range(0, len(times), 7):
        send(engine, "load", [(t, 1) for t in times[i : i + 7]], now=10**6)
    keys = engine.series_keys(HostKey("c", "h"), [0, 1])
    assert [key.phase for key in keys] == [0, 25]
    (row,) = ask(engine, "load", 0, 10**6)
    assert not np.isnan(row.values).any()
    assert row.values.size in (129, 130)
    assert math.isclose(float(row.values.sum()), 129)
    assert send(engine, "load", [(start + 60 * 60, 5)], now=10**6).stored == 1, "late data finds the older generation"


def test_jitter_keeps_its_phase(engine: Engine, send: Send) -> None:
    send(engine, "load", [(60 * i + (25 if i % 2 else -25), 1) for i in range(1, 200)], now=10**6)
    with pytest.raises(IndexError):
        engine.series_keys(HostKey("c", "h"), [1])
