"""Sources over a real store (built-in, and over HTTP) answer alike; what the dispatcher makes of them."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cc_backend.archive import JobKey
from cc_backend.errors import NotFound
from cc_backend.metrics import SeriesQuery, SeriesResult, Span, shape
from cc_backend.metrics.dispatch import Resampling
from cc_backend.metrics.external import ExternalSource
from cc_backend.metrics.internal import InternalSource
from ccdaemon.errors import PeerError
from ccdaemon.net.http_client import HttpClient
from ccschema.archive import encode_data, encode_meta
from ccschema.jobs import JobStatistics
from ccschema.scopes import Scope
from ccstore.server.routes import store_routes

START, STEP, SAMPLES = 1_760_000_000, 10, 60
END = START + STEP * SAMPLES
ALL = Span("alpha", START, END)


async def open_to_all(request, action):
    return None


def without_ids(body: bytes) -> bytes:
    """The answer of a store of the reference: entries have no id."""
    answer = json.loads(body)
    for row in answer["results"]:
        for entry in row:
            entry.pop("id", None)
    return json.dumps(answer).encode()


@pytest.fixture(params=["internal", "external", "reference"])
async def source(request, store):
    """The same store by function call, over HTTP, and over HTTP as the reference's would answer."""
    if request.param == "internal":
        yield InternalSource(store)
        return

    @web.middleware
    async def anonymise(req, handler):
        answer = await handler(req)
        if request.param == "reference" and isinstance(answer, web.Response):
            return web.Response(body=without_ids(answer.body), content_type="application/json")
        return answer

    site = web.Application(middlewares=[anonymise])
    site.router.add_routes(store_routes(store, open_to_all))
    server = TestServer(site)
    await server.start_server()
    client = HttpClient(f"http://127.0.0.1:{server.port}")
    yield ExternalSource(client, "store")
    await client.close()
    await server.close()


async def test_one_result_per_query_in_order_with_values_and_statistics(source):
    queries = [
        SeriesQuery("cpu_load", Scope.NODE, "a02"),
        SeriesQuery("flops_any", Scope.NODE, "a02", "hwthread", ("0", "1", "2"), aggregate=True),
        SeriesQuery("flops_any", Scope.CORE, "a02", "hwthread", ("1", "5"), aggregate=True, name="1"),
        SeriesQuery("power", Scope.SOCKET, "a02", "socket", ("0", "1")),
    ]
    load, total, core, sockets = await source.fetch(queries, ALL, data=True)
    assert load.found[0].timestep == STEP
    assert math.isnan(load.found[0].values[5])  # the gap stays a gap
    assert load.found[0].values[6] == 6
    assert load.found[0].stats == pytest.approx(((sum(range(60)) - 5) / 59, 0, 59), rel=1e-3)
    assert (total.found[0].id, total.found[0].values[0]) == (None, 3)
    assert (core.found[0].id, core.found[0].values[0]) == ("1", 6)
    assert [(f.id, f.values[0]) for f in sockets.found] == [("0", 10), ("1", 11)]


async def test_missing_ids_do_not_shift_the_others(source):
    # PITFALL: entries were labelled by position.
    (got,) = await source.fetch([SeriesQuery("power", Scope.SOCKET, "a02", "socket", ("7", "1", "8"))], ALL, data=True)
    assert [(f.id, f.values[0]) for f in got.found] == [("1", 11)]


async def test_a_failing_part_costs_the_others_nothing(source):
    bad = SeriesQuery("no_such_metric", Scope.NODE, "a02")
    got = await source.fetch([bad, SeriesQuery("cpu_load", Scope.NODE, "a02"), SeriesQuery("cpu_load", Scope.NODE, "zz")], ALL, data=True)
    assert got[0].errors and not got[0].found
    assert got[1].found[0].values[1] == 1
    assert got[2] == SeriesResult([], [])


async def test_a_series_that_began_late_is_padded(source):
    # PITFALL: without padding it is shown shifted to the left.
    early = Span("alpha", START - 20 * STEP, END)
    (got,) = await source.fetch([SeriesQuery("secret", Scope.NODE, "a02")], early, data=True)
    values = got.found[0].values
    assert np.isnan(values[:19]).all()
    assert values[-1] == 7 and len(values) >= 79


async def test_statistics_without_values(source):
    (got,) = await source.fetch([SeriesQuery("cpu_load", Scope.NODE, "a02")], ALL, data=False)
    assert got.found[0].stats.max == 59


async def test_hosts(source):
    assert await source.hosts("alpha", ["cpu_load"]) == [*(f"a{n:02d}" for n in range(1, 14) if n != 4), "g01"]


async def test_a_store_that_is_away_is_a_peer_error(free_port):
    client = HttpClient(f"http://127.0.0.1:{free_port}", timeout=2)
    with pytest.raises(PeerError):
        await ExternalSource(client, "store").fetch([SeriesQuery("cpu_load", Scope.NODE, "a02")], ALL, data=True)
    await client.close()


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- the dispatcher


async def test_live_job_with_a_missing_node(dispatcher, jobs):
    data = await dispatcher.job_data(jobs[3], ["cpu_load", "nonsense", "acc_power"], None)
    assert list(data) == ["cpu_load"]
    assert [one.hostname for one in data["cpu_load"][Scope.NODE].series] == ["a03"]
    stats = await dispatcher.job_statistics(jobs[3], None)
    assert stats["secret"] == (7, 7, 7)  # PITFALL: divided by the number of nodes, and minimum 0


async def test_order_is_that_of_the_metrics_then_coarse_to_fine(dispatcher, jobs):
    data = await dispatcher.job_data(jobs[1], ["power", "cpu_load", "flops_any"], [Scope.CORE, Scope.NODE, Scope.SOCKET])
    assert list(data) == ["power", "cpu_load", "flops_any"]
    assert list(data["flops_any"]) == [Scope.NODE, Scope.SOCKET, Scope.CORE]
    assert list(data["power"]) == [Scope.NODE, Scope.SOCKET]
    core1 = next(one for one in data["flops_any"][Scope.CORE].series if one.id == "1")
    assert core1.data[0] == 1 + 5
    assert data["flops_any"][Scope.NODE].series[0].id is None  # PITFALL: carried the first thread's id


async def test_statistics_series_from_eight_series_on(dispatcher, jobs):
    metric = (await dispatcher.job_data(jobs[5], ["cpu_load"], None))["cpu_load"][Scope.NODE]
    assert len(metric.series) == 9
    assert metric.statistics_series.median[7] == 7
    assert math.isnan(metric.statistics_series.median[5])  # nobody has a value there
    seven = msgspec.structs.replace(jobs[5], id=77, resources=jobs[5].resources[:7])
    assert (await dispatcher.job_data(seven, ["cpu_load"], None))["cpu_load"][Scope.NODE].statistics_series is None


async def test_resolution_that_is_no_multiple_falls_back(dispatcher, jobs):
    for resolution, step in ((20, 20), (30, 30), (25, 20), (15, 10), (0, 10)):  # 20 is configured
        metric = (await dispatcher.job_data(jobs[1], ["cpu_load"], None, resolution))["cpu_load"][Scope.NODE]
        assert metric.timestep == step, resolution


async def test_a_job_without_data_has_none(dispatcher, jobs):
    assert await dispatcher.job_data(jobs[6], None, None) == {}
    assert await dispatcher.job_statistics(jobs[6], None) == {}
    assert await dispatcher.scoped_statistics(jobs[6], None, [Scope.NODE]) == {}


async def test_unknown_cluster_and_subcluster_are_named(dispatcher, jobs):
    with pytest.raises(NotFound, match="no such cluster"):
        await dispatcher.job_data(msgspec.structs.replace(jobs[1], cluster="zz"), None, None)
    with pytest.raises(NotFound, match="zz"):
        await dispatcher.job_data(msgspec.structs.replace(jobs[1], sub_cluster="zz"), None, None)


class Broken:
    """A source of which every answer, or the whole, fails; counts what it is asked."""

    def __init__(self, whole=False):
        self.whole, self.asked = whole, 0

    async def fetch(self, queries, span, *, data):
        self.asked += 1
        if self.whole:
            raise PeerError("store", "down")
        return [SeriesResult([], ["broken"]) for _ in queries]

    async def hosts(self, cluster, metrics):
        return []


@pytest.mark.parametrize("whole", [True, False])
async def test_nothing_at_all_is_an_error_and_is_not_kept(dispatcher_for, jobs, whole):
    source = Broken(whole)
    dispatcher = dispatcher_for(source)
    for _ in range(2):
        with pytest.raises(PeerError):
            await dispatcher.job_data(jobs[1], None, None)
    assert source.asked == 2


class Counting:
    def __init__(self, inner):
        self.inner, self.asked = inner, 0

    async def fetch(self, queries, span, *, data):
        self.asked += 1
        return await self.inner.fetch(queries, span, data=data)

    async def hosts(self, cluster, metrics):
        return await self.inner.hosts(cluster, metrics)


async def test_running_jobs_are_kept_and_ended_ones_are_not(dispatcher_for, store, jobs):
    source = Counting(InternalSource(store))
    dispatcher = dispatcher_for(source)
    for _ in range(3):
        await dispatcher.job_data(jobs[1], ["cpu_load"], None)
    assert source.asked == 1
    ended = msgspec.structs.replace(jobs[1], job_state="completed")
    for _ in range(2):  # PITFALL: kept for hours although data still came
        await dispatcher.job_data(ended, ["cpu_load"], None)
    assert source.asked == 3


async def test_source_by_cluster_and_subcluster(dispatcher_for, store, jobs):
    one, other = Counting(InternalSource(store)), Counting(InternalSource(store))
    dispatcher = dispatcher_for(Broken(True))
    dispatcher._sources = {"alpha-gpu": one, "*": other, "": Broken(True)}
    await dispatcher.job_data(jobs[4], ["cpu_load"], None)
    await dispatcher.job_data(jobs[1], ["cpu_load"], None)
    assert (one.asked, other.asked) == (1, 1)


@pytest.mark.parametrize("resolution", [0, 20])
async def test_archive_and_live_answer_alike(dispatcher, archive, jobs, resolution):
    live = jobs[5]
    scopes = [Scope.NODE]
    data = await dispatcher.job_data(live, None, scopes)
    statistics = {name: JobStatistics(avg=s.avg, min=s.min, max=s.max) for name, s in (await dispatcher.job_statistics(live, None)).items()}
    meta = encode_meta(msgspec.structs.replace(live, job_state="completed", monitoring_status=3, statistics=statistics))
    archive.write(JobKey("alpha", live.job_id, live.start_time), meta, encode_data(shape.to_document(data)))
    done = msgspec.structs.replace(live, job_state="completed", monitoring_status=3)

    a, b = await dispatcher.job_data(live, None, scopes, resolution), await dispatcher.job_data(done, None, scopes, resolution)
    assert list(a) == list(b) and len(a) >= 4
    for name in a:
        ours, theirs = a[name][Scope.NODE], b[name][Scope.NODE]
        assert (ours.timestep, ours.unit, len(ours.series)) == (theirs.timestep, theirs.unit, len(theirs.series))
        for x, y in zip(ours.series, theirs.series, strict=True):
            assert (x.hostname, x.id, x.statistics) == (y.hostname, y.id, y.statistics)
            np.testing.assert_array_equal(x.data, y.data)
        for x, y in zip(ours.statistics_series, theirs.statistics_series, strict=True):
            np.testing.assert_array_equal(x, y)
    assert await dispatcher.job_statistics(live, None) == await dispatcher.job_statistics(done, None)


async def test_archived_selection(dispatcher, archive, jobs):
    """One stored scope is delivered whatever was asked; of several the asked ones, all of them if none is there."""
    data = await dispatcher.job_data(jobs[1], ["cpu_load", "power"], [Scope.NODE, Scope.SOCKET])
    done = msgspec.structs.replace(jobs[1], job_state="completed", monitoring_status=3)
    archive.write(JobKey("alpha", done.job_id, done.start_time), encode_meta(done), encode_data(shape.to_document(data)))
    assert {n: list(s) for n, s in (await dispatcher.job_data(done, None, [Scope.CORE])).items()} == {
        "cpu_load": ["node"],
        "power": ["node", "socket"],
    }
    assert list((await dispatcher.job_data(done, ["power"], [Scope.SOCKET]))["power"]) == ["socket"]
    assert await dispatcher.job_data(done, ["flops_any"], None) == {}
    stats = await dispatcher.scoped_statistics(done, ["power"], [Scope.SOCKET])
    assert [(one.id, one.statistics.avg, len(one.data)) for one in stats["power"][Scope.SOCKET].series] == [("0", 10, 0), ("1", 11, 0)]


async def test_an_archive_without_the_job_is_told(dispatcher, jobs):
    done = msgspec.structs.replace(jobs[1], job_id=999, job_state="completed", monitoring_status=3)
    with pytest.raises(NotFound, match="999"):
        await dispatcher.job_data(done, None, None)


async def test_node_data(dispatcher):
    found = await dispatcher.node_data("alpha", ["a04", "a02", "x99"], ["cpu_load", "flops_any", "acc_power"], None, START, END)
    assert list(found) == ["a04", "a02", "x99"]
    assert not found["a04"] and not found["x99"]
    assert found["a02"]["flops_any"][Scope.NODE].series[0].data[0] == sum(range(8))
    fine = await dispatcher.node_data("alpha", ["a02", "g01"], ["flops_any", "acc_power"], [Scope.CORE, Scope.ACCELERATOR], START, END)
    assert list(fine["a02"]["flops_any"]) == [Scope.CORE, Scope.HWTHREAD]
    assert [one.id for one in fine["g01"]["acc_power"][Scope.ACCELERATOR].series] == ["00000000:49:00.0"]


async def test_usable_resolutions():
    assert Resampling().default == 0
    assert Resampling((60, 600)).default == 600
    assert [shape.usable(600, step, (600, 240, 60)) for step in (60, 7, 480, 0)] == [600, 0, 0, 0]
    assert shape.usable(250, 60, (600, 240, 60)) == 240


def rows(*values):
    return [np.array(v, np.float32) for v in values]


def test_statistics_series_ignores_what_is_missing():
    nan = math.nan
    got = shape.statistics_series(rows([1, nan, nan, 4], [2, 5, nan, 4], [3, 6, 7, 4], [10, 7, 8, 4, 9]))
    np.testing.assert_array_equal(got.median, np.array([2.5, 6, nan, 4, nan], np.float32))  # PITFALL: missing counted as 0
    np.testing.assert_array_equal(got.min, np.array([1, 5, nan, 4, nan], np.float32))
    np.testing.assert_array_equal(got.max, np.array([10, 7, nan, 4, nan], np.float32))


def test_node_sums_have_the_statistics_of_the_sums():
    parts = [shape.Series("n", str(i), None, row) for i, row in enumerate(rows([1, 2, math.nan], [10, 20, 30, 40]))]
    (one,) = shape.node_sums(shape.JobMetric(None, 10, parts)).series
    np.testing.assert_array_equal(one.data, np.array([11, 22, math.nan], np.float32))
    assert (one.id, one.statistics) == (None, (16.5, 11, 22))  # PITFALL: the average was the mean of the averages


def test_thinned_takes_means_of_what_is_there():
    np.testing.assert_array_equal(
        shape.thinned(*rows([1, 3, math.nan, 5, math.nan, math.nan, 7]), 2), np.array([2, 5, math.nan, 7], np.float32)
    )


def test_sparks_have_at_most_so_many_points():
    metric = shape.JobMetric(None, 10, [shape.Series("n", None, None, np.arange(101, dtype=np.float32))])
    got = shape.sparks({"m": {Scope.NODE: metric}}, 50)["m"][Scope.NODE]
    assert (got.timestep, len(got.series[0].data)) == (30, 34)
