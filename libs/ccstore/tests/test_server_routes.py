"""The routes on a real socket (metric-store 3 and its HTTP vectors 10 a to m)."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from ccdaemon.errors import PeerError
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.server.config import StoreConfig
from ccstore.server.routes import store_routes
from ccstore.server.store import Store

METRICS = MetricTable({"cpu_load": MetricSpec(60, None), "flops": MetricSpec(60, "sum")})


class Site:
    """A store behind a port; `allowed` is what the guard says."""

    def __init__(self, store: Store, port: int, session: ClientSession) -> None:
        self.store = store
        self.port = port
        self.session = session
        self.allowed = True
        self.asked: list[str] = []

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, Any]:
        data = body if isinstance(body, bytes | str | None) else json.dumps(body)
        async with self.session.request(method, f"http://127.0.0.1:{self.port}{path}", data=data, **options) as answer:
            return answer.status, await answer.text(), answer.headers

    async def write(self, *lines: str, query: str = "") -> int:
        return (await self("POST", "/api/write" + query, "\n".join(lines)))[0]

    async def query(self, begin: int, end: int, *queries: dict[str, object], **more: object) -> dict[str, Any]:
        status, text, _ = await self("POST", "/api/query", {"cluster": "c", "from": begin, "to": end, "queries": list(queries), **more})
        assert status == 200, text
        return json.loads(text)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    config = StoreConfig(retention_in_memory=172800.0, memory_cap=1)  # type: ignore[arg-type]
    config.checkpoints.directory = str(tmp_path / "checkpoints")
    store = Store(config, tables={}, default=METRICS, log=make_log("test", level="crit"), registry=Registry("test"))
    await store.start()
    await store.loaded()
    app = web.Application(client_max_size=1 << 30)

    async def guard(request: web.Request, action: str) -> web.StreamResponse | None:
        made.asked.append(action)
        return None if made.allowed else web.Response(status=401, text="no")

    app.router.add_routes(store_routes(store, guard, post_health=True))  # type: ignore[arg-type]
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    async with ClientSession() as session:
        made = Site(store, runner.addresses[0][1], session)
        yield made
    await runner.cleanup()
    await store.stop(10)


def now() -> int:
    return int(time.time()) - 1000


async def test_write_and_query(site: Site) -> None:
    """Vector a."""
    t = now()
    status, text, headers = await site("POST", "/api/write", f"cpu_load,cluster=c,hostname=h,type=node value=1.5 {t}")
    assert (status, text, headers["Content-Type"], headers["Accept-Encoding"]) == (200, "", "application/json", "gzip")
    answer = await site.query(t, t + 60, {"metric": "cpu_load", "host": "h"})
    assert answer == {"results": [[{"data": [1.5], "from": t, "to": t + 60, "resolution": 60, "avg": 1.5, "min": 1.5, "max": 1.5}]]}


async def test_bad_lines_cost_themselves(site: Site) -> None:
    """Vector b; PITFALL metric-store 2.5: one bad line drops the rest of the batch."""
    t = now()
    lines = [
        f"cpu_load,cluster=c,hostname=h value=1 {t}",
        f'cpu_load,cluster=c,hostname=h event="x" {t}',
        f"cpu_load,cluster=c,hostname=g value=2 {t}",
    ]
    status, text, _ = await site("POST", "/api/write", "\n".join(lines))
    assert status == 400
    error = json.loads(text)
    assert error["status"] == "Bad Request" and "1 malformed" in error["error"] and "line 2" in error["error"]
    answer = await site.query(t, t + 60, *({"metric": "cpu_load", "host": h} for h in "hg"))
    assert [row[0]["data"] for row in answer["results"]] == [[1], [2]]


async def test_unknown_measurement_is_no_error(site: Site) -> None:
    """Vector c."""
    assert await site.write(f'slurm,cluster=c,hostname=h event="x" {now()}') == 200
    assert site.store.engine.hosts() == []


async def test_default_cluster_is_decoded(site: Site) -> None:
    """Vector d; PITFALL metric-store 3.4: taken verbatim from the raw query string."""
    t = now()
    assert await site.write(f"cpu_load,hostname=h value=1 {t}", query="?cluster=c%2B1") == 200
    assert [h.cluster for h in site.store.engine.hosts()] == ["c+1"]
    assert await site.write(f"cpu_load,hostname=h value=1 {t}") == 200
    assert len(site.store.engine.hosts()) == 1, "a line without any cluster is counted, not stored"


async def test_errors_of_entries(site: Site) -> None:
    """Vectors e to g."""
    t = now()
    await site.write(f"cpu_load,cluster=c,hostname=h value=1 {t}")
    answer = await site.query(
        t, t + 60, {"metric": "x", "host": "h"}, {"metric": "cpu_load", "host": "no"}, {"metric": "cpu_load", "host": "h", "resolution": 90}
    )
    first, second, third = answer["results"]
    assert first == [{"error": "[METRICSTORE]> unknown metric: x", "from": 0, "to": 0, "resolution": 0, "avg": 0, "min": 0, "max": 0}]
    assert second == []
    assert third[0]["error"] == "new sampling frequency (90) must be a multiple of old frequency (60)"
    assert (await site.query(t + 60, t, {"metric": "cpu_load", "host": "h"}))["results"][0][0][
        "error"
    ] == "[METRICSTORE]> invalid time range"


async def test_ids_and_missing_entries(site: Site) -> None:
    """PITFALL metric-store 3.3: entries move up when one is missing; ours name themselves."""
    t = now()
    await site.write(f"flops,cluster=c,hostname=h,type=core,type-id=2 value=4 {t}")
    answer = await site.query(t, t + 60, {"metric": "flops", "host": "h", "type": "core", "type-ids": ["1", "2"]})
    assert [e["id"] for e in answer["results"][0]] == ["2"]


async def test_for_all_nodes_lists_all_queries_in_order(site: Site) -> None:
    """PITFALL metric-store 3.3: explicit queries are missing in `queries`."""
    t = now()
    await site.write(*(f"cpu_load,cluster=c,hostname={h} value=1 {t}" for h in ("h10", "h2")))
    answer = await site.query(t, t + 60, {"metric": "cpu_load", "host": "h2"}, **{"for-all-nodes": ["cpu_load"]})
    assert [q["host"] for q in answer["queries"]] == ["h2", "h2", "h10"] and len(answer["results"]) == 3
    assert "queries" not in await site.query(t, t + 60, {"metric": "cpu_load", "host": "h2"})


async def test_values_keep_what_float32_holds(site: Site) -> None:
    """PITFALL metric-store 3.9: small magnitudes are lost in three decimals."""
    t = now()
    await site.write(f"cpu_load,cluster=c,hostname=h value=0.0004 {t}", f"cpu_load,cluster=c,hostname=h value=1e-9 {t + 120}")
    entry = (await site.query(t, t + 180, {"metric": "cpu_load", "host": "h"}))["results"][0][0]
    assert entry["data"] == [0.0004, None, 1e-9] and 0 < entry["min"] < 2e-9
    bare = (await site.query(t, t + 180, {"metric": "cpu_load", "host": "h"}, **{"with-data": False, "with-stats": False}))["results"][0][0]
    assert "data" not in bare and (bare["avg"], bare["min"], bare["max"]) == (0, 0, 0)


@pytest.mark.parametrize("path", ["/api/query", "/api/query/", "/api/query/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_query_takes_both_methods_and_paths(site: Site, method: str, path: str) -> None:
    """PITFALL metric-store 3.1: documented curl examples are answered with 405."""
    assert (await site(method, path, {"queries": []}))[:2] == (200, '{"results":[]}')
    assert (await site(method, path, b""))[0] == 400


async def test_a_long_answer_is_streamed(site: Site) -> None:
    t = now() - 150_000
    await site.write(*(f"cpu_load,cluster=c,hostname=h value={n}.123 {t + 60 * n}" for n in range(2500)))
    queries = [{"metric": "cpu_load", "host": "h"}] * 40
    answer = await site.query(t, t + 150_000, *queries)
    assert [len(r[0]["data"]) for r in answer["results"]] == [2500] * 40


async def test_guard_is_asked_before_anything(site: Site) -> None:
    """Vector h."""
    site.allowed = False
    for method, path in [
        ("POST", "/api/write"),
        ("GET", "/api/query"),
        ("POST", "/api/free?to=1"),
        ("GET", "/api/debug"),
        ("GET", "/api/healthcheck"),
    ]:
        assert (await site(method, path, "{}"))[0] == 401
    assert site.asked == ["write", "query", "free", "debug", "health"]


async def test_free(site: Site) -> None:
    """Vector i; PITFALLs metric-store 1.9 (phantom hosts) and 3.5 (500 for a bad `to`)."""
    t = now() - 100_000
    await site.write(*(f"flops,cluster=c,hostname=h,type=core,type-id={i} value=1 {t + 60 * n}" for n in range(400) for i in (1, 2)))
    status, text, _ = await site("POST", "/api/free", [["c"]])
    assert status == 400 and json.loads(text)["error"] == "'to' is a required query parameter"
    assert (await site("POST", "/api/free?to=x", [["c"]]))[0] == 400
    status, text, headers = await site("POST", "/api/free?to=5", b"{")
    assert status == 400 and headers["Content-Type"].startswith("text/plain")
    assert (await site("POST", "/api/free?to=99999999999", [["c", "nobody"]]))[:2] == (200, "buffers freed: 0\n")
    assert len(site.store.engine.hosts()) == 1
    status, text, _ = await site("POST", f"/api/free?to={t + 12_000}", [["c", "h", "core1"]])
    assert status == 200 and 0 < int(text.removeprefix("buffers freed: ")) < 5
    status, text, _ = await site("POST", "/api/free?to=99999999999", [[]])
    assert status == 200 and site.store.engine.hosts() == []
    assert not list(Path(site.store.config.checkpoints.directory).glob("*/*")), "files of a host that holds nothing go too"


async def test_debug(site: Site) -> None:
    """Vector j; PITFALLs metric-store 3.6: invalid JSON, and accelerators that cannot be selected."""
    t = now()
    await site.write(
        f"flops,cluster=c,hostname=h,type=accelerator,type-id=00000000:49:00.0 value=1 {t}", f"cpu_load,cluster=c,hostname=h value=1 {t}"
    )
    whole = json.loads((await site("GET", "/api/debug"))[1])
    assert whole["data"]["c"]["h"]["cpu_load"] == [{"start": t - 30, "len": 1, "end": t + 30}]
    gpu = json.loads((await site("GET", "/api/debug?selector=c:h:accelerator00000000:49:00.0"))[1])
    assert list(gpu["data"]) == ["flops"]
    status, text, _ = await site("GET", "/api/debug?selector=a:b")
    assert status == 400 and "not found" in json.loads(text)["error"]


async def test_health(site: Site) -> None:
    t = int(time.time())
    await site.write(f"cpu_load,cluster=c,hostname=h value=1 {t}")
    asked = {"cluster": "c", "nodes": ["h", "x"], "metric-names": ["cpu_load", "flops"]}
    for method in ("GET", "POST"):
        status, text, _ = await site(method, "/api/healthcheck", asked)
        answer = json.loads(text)
        assert status == 200 and answer["x"] == {"State": "failed", "HealthMetrics": ""}
        assert answer["h"] == {"State": "partial", "HealthMetrics": '{"degraded":[],"missing":["flops"]}'}
    assert (
        json.loads((await site("GET", "/api/healthcheck", {"x": 1}))[1])["error"] == 'parsing request body failed: json: unknown field "x"'
    )
    assert json.loads((await site("GET", "/api/healthcheck", b""))[1])["error"] == "parsing request body failed: EOF"


async def test_gzip(site: Site) -> None:
    t = now()
    line = f"cpu_load,cluster=c,hostname=h value=1 {t}\n".encode()
    packed = gzip.compress(line)
    assert (await site("POST", "/api/write", packed, headers={"Content-Encoding": "gzip"}))[0] == 200
    assert (await site.query(t, t + 60, {"metric": "cpu_load", "host": "h"}))["results"][0][0]["data"] == [1]
    assert (await site("POST", "/api/write", packed[:-11], headers={"Content-Encoding": "gzip"}))[0] == 400


async def test_a_body_that_ends_early_stores_nothing(site: Site) -> None:
    """PITFALL metric-store 2.5: the reference stores `value=12` of a cut-off `value=1234` and answers 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    line = f"cpu_load,cluster=c,hostname=h value=1234 {now()}\n".encode()
    writer.write(b"POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + line)
    await writer.drain()
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert site.store.engine.hosts() == []


async def test_a_body_without_final_newline_and_chunked(site: Site) -> None:
    t = now()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"cpu_load,cluster=c,host"
        yield f"name=h value=12 {t}".encode()

    async with site.session.post(f"http://127.0.0.1:{site.port}/api/write/", data=pieces()) as answer:
        assert answer.status == 200
    assert (await site.query(t, t + 60, {"metric": "cpu_load", "host": "h"}))["results"][0][0]["data"] == [12]


async def test_too_large(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccstore.server.routes.BODY_LIMIT", 1000)
    assert (await site("POST", "/api/write", b"#" * 1001))[0] == 413
    bomb = gzip.compress(b"#" * 100_000)
    assert (await site("POST", "/api/write", bomb, headers={"Content-Encoding": "gzip"}))[0] == 413


async def test_many_at_once_and_each_is_in_the_log(site: Site) -> None:
    t = now()
    await asyncio.gather(*(site.write(f"cpu_load,cluster=c,hostname=h{n} value={n} {t}") for n in range(50)))
    logs = list(Path(site.store.config.checkpoints.directory).glob("c/*/current.wal"))
    assert len(logs) == 50


async def test_wrong_method(site: Site) -> None:
    status, _, headers = await site("PUT", "/api/write", b"")
    assert status == 405 and headers["Allow"] == "POST"


async def test_packed_bodies_of_every_form(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several members are one body; what is no gzip, or only its beginning, stores nothing."""
    packing = {"Content-Encoding": "gzip"}
    body = b"".join(b"cpu_load,cluster=c,hostname=z value=%d %d\n" % (i, now() - 60 * i) for i in range(5))
    for step in (1 << 18, 7):
        monkeypatch.setattr("ccstore.server.routes.INFLATE", step)
        for packed in (gzip.compress(body.rstrip()), gzip.compress(body) + gzip.compress(body.replace(b"=z", b"=y"))):
            assert (await site("POST", "/api/write", packed, headers=packing))[0] == 200
        assert {h.host for h in site.store.engine.hosts()} == {"y", "z"}
        for wrong in (b"", body, gzip.compress(body)[:-1], gzip.compress(body)[:20], gzip.compress(body) + b"x"):
            wrong = wrong.replace(b"=z", b"=wrong")
            assert (await site("POST", "/api/write", wrong, headers=packing))[0] == 400
        assert {h.host for h in site.store.engine.hosts()} == {"y", "z"}


async def test_too_many_readers_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise PeerError("metric-store", "too many queries wait")

    monkeypatch.setattr(site.store._readers, "run", full)
    monkeypatch.setattr(site.store._readers, "submit", full)
    health = {"cluster": "c", "nodes": ["h"], "metric-names": ["cpu_load"]}
    for path, body in (("/api/healthcheck", health), ("/api/debug", None), ("/api/query", {"cluster": "c", "from": 1, "to": 2})):
        status, _, headers = await site("POST", path, body)
        assert (status, headers["Retry-After"]) == (503, "2"), path
