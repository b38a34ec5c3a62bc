"""The clients against answers as backend-api 8, metric-store 3 and slurm-adapter 11.3 describe them."""

import json

import msgspec
import pytest
from aiohttp import web
from ccclient.backend import BackendClient, Outcome
from ccclient.catalog import Catalog
from ccclient.store import StoreClient, TooLarge
from ccdaemon.config.types import Secret
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import make_log
from ccschema.api import ApiQuery, QueryRequest, StartJob, StopJob
from ccschema.nodes import NodePayload, NodeStates

CLUSTER = {
    "name": "alex",
    "metricConfig": [
        {"name": "cpu_load", "unit": {"base": ""}, "scope": "node", "timestep": 60, "aggregation": None, "peak": 72},
        {"name": "mem_bw", "unit": {"base": "B/s", "prefix": "G"}, "scope": "socket", "timestep": 60, "aggregation": "sum"},
    ],
    "subClusters": [
        {
            "name": "a40", "nodes": "a[0-9]", "processorType": "x", "unknownNewKey": 1, "topology": {"node": [0], "socket": [[0]]},
            "metricConfig": [{"name": "mem_bw", "unit": {"base": "B/s"}, "scope": "socket", "timestep": 120, "aggregation": "avg"}],
        }
    ],
}  # fmt: skip


@pytest.fixture
async def peer():
    """serve(handler) → URL; requests it saw stand in `serve.seen`."""
    runners = []
    seen = []

    async def serve(handler):
        async def all_paths(request):
            await request.read()
            seen.append(request)
            return handler(request)

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", all_paths)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    serve.seen = seen
    yield serve
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def backend(peer):
    clients = []

    async def connect(handler):
        client = BackendClient(await peer(handler), Secret("tok"), timeout=2)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def store(peer):
    clients = []

    async def connect(handler):
        client = StoreClient(await peer(handler), Secret("tok"), timeout=2)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


def error(status, text, **headers):
    body = json.dumps({"status": "x", "error": text}) + "\n"
    return lambda _: web.Response(status=status, text=body, content_type="application/json", headers=headers)


START = StartJob(job_id=1, cluster="alex", user="u", num_nodes=1, start_time=5)


@pytest.mark.parametrize(
    ("status", "text", "start", "stop"),
    [
        (200, "", Outcome.DONE, Outcome.DONE),
        (201, "success", Outcome.DONE, Outcome.DONE),
        (422, "a job with that jobId, cluster and startTime already exists: dbid: 1, jobid: 1", Outcome.KNOWN, Outcome.KNOWN),
        (400, "unknown cluster", Outcome.REFUSED, Outcome.REFUSED),
        (404, "finding job failed: sql: no rows in result set", PeerError, Outcome.NOT_FOUND),
        (404, "the requested endpoint does not exist", Outcome.NO_ROUTE, Outcome.NO_ROUTE),
        (405, "", Outcome.NO_ROUTE, Outcome.NO_ROUTE),
        (401, "unauthorized", PeerError, PeerError),
        (403, "missing role", PeerError, PeerError),
        (429, "slow down", PeerError, PeerError),
        (500, "database is locked", PeerError, PeerError),
        (503, "starting", PeerError, PeerError),
    ],
)
async def test_what_each_status_of_start_and_stop_means(backend, status, text, start, stop):
    client = await backend(error(status, text))
    for call, expected in ((client.start_job(START), start), (client.stop_job(StopJob(job_id=1, stop_time=9)), stop)):
        if expected is PeerError:
            with pytest.raises(PeerError, match=str(status)):
                await call
        else:
            got = await call
            assert (got.outcome, got.status, got.text) == (expected, status, text or got.text)


async def test_a_proxys_404_page_says_nothing_about_the_job(backend):
    client = await backend(lambda _: web.Response(status=404, text="<html>not found</html>", content_type="text/html"))
    with pytest.raises(PeerError, match="404"):
        await client.stop_job(StopJob(job_id=1))


async def test_headers_paths_and_bodies(backend, peer):
    client = await backend(lambda _: web.json_response({"msg": "success"}, status=201))
    assert (await client.start_job(START)).text == "success"
    await client.stop_job(b'{"jobId":2}')
    await client.node_states(NodeStates(cluster="alex", nodes=[NodePayload(hostname="n1", states=["IDLE"])]))
    start, stop, states = peer.seen
    assert (start.method, start.path) == ("POST", "/api/jobs/start_job/") and start.headers["X-Auth-Token"] == "tok"
    assert "Authorization" not in start.headers and start.headers["Content-Type"] == "application/json"
    assert json.loads(await start.read())["jobId"] == 1
    assert (stop.path, await stop.read()) == ("/api/jobs/stop_job/", b'{"jobId":2}')
    assert states.path == "/api/nodestate/" and json.loads(await states.read())["nodes"][0]["states"] == ["IDLE"]


async def test_running_jobs(backend, peer):
    job = {
        "cluster": "alex",
        "jobId": 7,
        "jobState": "running",
        "startTime": 3,
        "id": 99,
        "metaData": None,
        "resources": [{"hostname": "a"}],
    }
    client = await backend(lambda _: web.json_response({"jobs": [job], "items": 9999999, "page": 1}))
    (got,) = await client.running_jobs()
    assert (got.cluster, got.job_id, got.job_state, got.start_time, got.id) == ("alex", 7, "running", 3, 99)
    assert dict(peer.seen[0].query) == {"state": "running", "items-per-page": "9999999", "page": "1"}
    assert await (await backend(lambda _: web.json_response({"jobs": None}))).running_jobs() == []
    with pytest.raises(PeerError, match="unreadable"):
        await (await backend(lambda _: web.Response(text="<html>"))).running_jobs()


async def test_used_nodes(backend):
    client = await backend(lambda _: web.json_response({"usedNodes": {"alex": ["a1", "a0"], "fritz": None}}))
    assert await client.used_nodes(5) == {"alex": {"a0", "a1"}, "fritz": frozenset()}


async def test_catalog_fetches_once_keeps_on_disk_and_knows_without_the_backend(backend, tmp_path):
    pool, log, file = Pool("files", 1), make_log("t"), tmp_path / "metrics.json"
    state = {"etag": '"1"', "status": 200, "body": {"clusters": [CLUSTER]}}

    def answer(request):
        if state["status"] != 200:
            return web.Response(status=state["status"])
        if state["etag"] and request.headers.get("If-None-Match") == state["etag"]:
            return web.Response(status=304)
        return web.json_response(state["body"], headers={"ETag": state["etag"]} if state["etag"] else {})

    client = await backend(answer)
    catalog = Catalog(client, file, pool=pool, log=log)
    assert not await catalog.load() and catalog.clusters == ()
    assert await catalog.refresh() and not await catalog.refresh()
    metrics = catalog.metrics("alex")
    assert metrics["mem_bw"].timestep == 120  # the largest of cluster and subclusters
    assert (metrics["mem_bw"].aggregation, metrics["mem_bw"].unit, metrics["cpu_load"].aggregation) == ("sum", "GB/s", "")
    assert catalog.metrics("fritz") == {}

    state["status"] = 503
    later = Catalog(client, file, pool=pool, log=log)
    assert await later.load() and later.metrics("alex") == metrics
    with pytest.raises(PeerError):
        await later.refresh()
    assert later.metrics("alex") == metrics

    state.update(status=200, etag="")  # a backend without ETag: equal content is no change
    assert not await later.refresh()
    state["body"] = {"clusters": []}
    assert await later.refresh() and later.clusters == ()

    file.write_bytes(b"{broken")
    assert not await Catalog(client, file, pool=pool, log=log).load()
    assert not await Catalog(client, file, pool=pool, log=log, cluster="other").load()
    assert pool.close(1)


async def test_write(store, peer):
    client = await store(lambda _: web.Response(content_type="application/json"))
    assert (await client.write(b"m,hostname=a value=1 1\n", "a b")).complete
    (plain,) = peer.seen
    assert (plain.path, plain.query["cluster"], plain.headers["Authorization"]) == ("/api/write", "a b", "Bearer tok")
    assert await plain.read() == b"m,hostname=a value=1 1\n"


@pytest.mark.parametrize(("status", "raises"), [(401, PeerError), (404, PeerError), (413, TooLarge), (429, PeerError), (503, PeerError)])
async def test_write_statuses(store, status, raises):
    client = await store(error(status, "why", **{"Retry-After": "9"}))
    with pytest.raises(raises, match="why") as e:
        await client.write(b"x")
    if raises is PeerError:
        assert e.value.retry_after == 9


async def test_refused_lines_are_final(store):
    got = await (await store(error(400, "1 of 2 lines refused: line 2: no value"))).write(b"x")
    assert not got.complete and "line 2" in got.text


async def test_query_is_a_get_with_body_and_lenient_about_the_answer(store, peer):
    request = QueryRequest(cluster="alex", from_=1, to=9, queries=[ApiQuery(metric="m", host="a"), ApiQuery(metric="n", host="a")])
    good = {"results": [[{"data": [1.0, None], "from": 0, "to": 120, "resolution": 60, "avg": 1.0, "min": 1, "max": None, "new": 1}], []]}
    client = await store(lambda _: web.json_response({"queries": None, **good}))
    response = await client.query(request)
    (entry,), empty = response.results
    assert (entry.data, entry.resolution, entry.max, empty) == ([1.0, None], 60, None, [])
    assert peer.seen[0].method == "GET" and json.loads(await peer.seen[0].read())["queries"][1]["metric"] == "n"
    with pytest.raises(PeerError, match="2 results for 1 queries"):
        await client.query(msgspec.structs.replace(request, queries=request.queries[:1]))
    with pytest.raises(PeerError, match="401.*token"):
        await (await store(error(401, "Token is expired"))).query(request)


async def test_health_and_free(store):
    client = await store(lambda _: web.json_response({"a": {"State": "full", "HealthMetrics": ""}}))
    assert (await client.health("alex", ["a"], ["m"]))["a"].state == "full"
    client = await store(lambda _: web.Response(text="buffers freed: 3\n"))
    assert await client.free([("alex", "a")], 5) == "buffers freed: 3"
