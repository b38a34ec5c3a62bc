"""Store, its configuration, its tasks and its subscriptions, without a network."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ccdaemon.config.walk import Section, load
from ccdaemon.errors import ConfigErrors, OperatorError, PeerError
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log
from ccschema.api import ApiQuery, QueryRequest
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.server.config import StoreConfig, Subscription
from ccstore.server.store import SLICE, Store, slices
from ccstore.server.subscribe import subscribe, untagged

METRICS = MetricTable({"load": MetricSpec(60, None)})
DAY = 86400


def config(text: str, tmp_path: Path) -> StoreConfig:
    file = tmp_path / "config.json"
    file.write_text('{"metric-store": ' + text + "}")
    made: StoreConfig = load(file, {"metric-store": Section(StoreConfig, required=True)}).sections["metric-store"]
    return made


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    stores: list[Store] = []

    async def make(text: str = '{"retention-in-memory": "48h", "memory-cap": 1}', default: MetricTable | None = METRICS) -> Store:
        made = config(text, tmp_path)
        made.checkpoints.directory = str(tmp_path / "checkpoints")
        made.cleanup.directory = made.cleanup.directory and str(tmp_path / "archive")
        store = Store(made, tables={}, default=default, log=make_log("test", level="crit"), registry=Registry("test"))
        await store.start()
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.stop(10)


async def values(store: Store, host: str, begin: int, end: int) -> list[float]:
    rows = await store.query(QueryRequest(cluster="c", from_=begin, to=end, queries=[ApiQuery(metric="load", host=host)]))
    return [v for row in rows[0] for v in row.values.tolist() if v == v]


def lines(host: str, begin: int, count: int, step: int = 60) -> bytes:
    return "\n".join(f"load,cluster=c,hostname={host} value={n} {begin + step * n}" for n in range(count)).encode()


# ---- configuration


@pytest.mark.parametrize(
    "text",
    [
        '{"retention-in-memory":"48h","memory-cap":100}',
        '{"retention-in-memory":"48h","memory-cap":100,"checkpoints":{"directory":"./x"}}',
        '{"retention-in-memory":"48h","memory-cap":100,"checkpoints":{"file-format":"wal","directory":"./x","max-wal-size":5}}',
        '{"retention-in-memory":"48h","memory-cap":100,"cleanup":{"mode":"archive","directory":"./x"}}',
        '{"retention-in-memory":"48h","memory-cap":100,"nats-subscriptions":[{"subscribe-to":"a","cluster-tag":"x"},{"subscribe-to":"a"}]}',
        '{"retention-in-memory":"168h","memory-cap":0,"num-workers":4,"checkpoint-interval":"12h","cleanup":{}}',
    ],
)
def test_sections_of_the_tutorial(tmp_path: Path, text: str) -> None:
    made = config(text, tmp_path)
    assert made.checkpoints.file_format == "wal" and made.cleanup.mode in ("delete", "archive")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"memory-cap":100}', "retention-in-memory"),
        ('{"retention-in-memory":"2d","memory-cap":100}', "retention-in-memory"),
        ('{"retention-in-memory":"1h","memory-cap":100,"checkpoints":{"file-format":"avro"}}', "file-format"),
        ('{"retention-in-memory":"1h","memory-cap":100,"checkpoint-interval":"0s"}', "checkpoint-interval"),
        (
            '{"retention-in-memory":"1h","memory-cap":100,"checkpoint-interval":"1h","checkpoints":{"checkpoint-interval":"2h"}}',
            "checkpoint-interval",
        ),
        ('{"retention-in-memory":"1h","memory-cap":100,"cleanup":{"mode":"archive"}}', "cleanup.directory"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, text: str, named: str) -> None:
    """PITFALL metric-store 4.5: zero interval crashes, an unparsable one is replaced in silence."""
    with pytest.raises(ConfigErrors) as e:
        config(text, tmp_path)
    assert named in str(e.value)


def test_interval_is_never_longer_than_the_retention(tmp_path: Path) -> None:
    """Tutorial: 12h, and derived from retention-in-memory when not set."""
    assert config('{"retention-in-memory":"48h","memory-cap":1}', tmp_path).interval == 12 * 3600
    assert config('{"retention-in-memory":"2h","memory-cap":1}', tmp_path).interval == 2 * 3600
    assert config('{"retention-in-memory":"48h","memory-cap":1,"checkpoints":{"checkpoint-interval":"3h"}}', tmp_path).interval == 3 * 3600


# ---- life


async def test_write_stop_start(begin, tmp_path: Path) -> None:
    t = int(time.time()) - 6000
    store = await begin()
    assert (await store.write(lines("h", t, 50), "")).stored == 50
    await store.stop(10)
    assert [p.suffix for p in (tmp_path / "checkpoints" / "c" / "h").iterdir()] == [".bin"]
    again = await begin()
    await again.loaded()
    assert await values(again, "h", t, t + 6000) == [float(n) for n in range(50)]


async def test_two_stores_on_one_folder(begin) -> None:
    await begin()
    with pytest.raises(OperatorError):
        await begin()


async def test_lines_of_a_host_that_is_not_loaded_yet_wait_for_it(begin) -> None:
    t = int(time.time()) - 60_000
    store = await begin()
    for n in range(20):
        await store.write(lines(f"h{n}", t + n, 900), "")
    await store.stop(10)
    again = await begin()
    assert again.loading
    answers = await asyncio.gather(*(again.write(lines(f"h{n}", t + n + 60 * 900, 1) + b"\n" + lines("new", t, 1), "") for n in range(20)))
    assert [(a.status, a.stored) for a in answers] == [(200, 2)] * 20
    await again.loaded()
    for n in range(20):
        assert len(await values(again, f"h{n}", t, t + 60_000)) == 901
    assert not again.loading


async def test_no_metric_list_yet_is_503(begin) -> None:
    """Design S2: spools keep their data."""
    store = await begin(default=None)
    assert (await store.write(b"load,cluster=c,hostname=h value=1", "")).status == 503
    store.set_metrics({"c": METRICS})
    assert (await store.write(b"load,cluster=c,hostname=h value=1", "")).status == 200


async def test_a_full_disk_is_503_and_a_repeat_heals(begin, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await begin()
    t = int(time.time()) - 6000
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    answer = await store.write(lines("h", t, 5), "")
    assert answer.status == 503 and "No space left" in answer.errors[0]
    monkeypatch.setattr(os, "pwrite", real)
    assert (await store.write(lines("h", t, 5), "")).status == 200
    assert await values(store, "h", t, t + 6000) == [0, 1, 2, 3, 4]


async def test_a_disk_that_hangs_is_503_and_nothing_is_lost(begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccstore.server.store.PATIENCE", 0.2)
    monkeypatch.setattr("ccstore.server.store.WATCH", 0.05)
    store = await begin()
    t = int(time.time()) - 6000
    hangs = threading.Event()
    real = os.pwrite

    def slow(*arguments: Any) -> int:
        hangs.wait(10)
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", slow)
    before = time.monotonic()
    answers = await asyncio.gather(*(store.write(lines("h", t + 60 * n, 1), "") for n in range(5)))
    assert [a.status for a in answers] == [503] * 5 and time.monotonic() - before < 5
    hangs.set()
    assert (await store.write(lines("h", t, 5), "")).status == 200
    assert not store._waiting


async def test_sync_interval_zero_waits_for_the_disk(begin, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await begin('{"retention-in-memory":"48h","memory-cap":1,"checkpoints":{"sync-interval":"0s"}}')
    seen: list[float] = []

    def slow(_: Path) -> None:
        time.sleep(0.1)
        seen.append(time.monotonic())

    monkeypatch.setattr("ccstore.persist.wal.sync_file_system", slow)
    answer = await store.write(lines("h", int(time.time()) - 600, 3), "")
    assert answer.status == 200 and seen and seen[0] <= time.monotonic()

    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ccstore.persist.wal.sync_file_system", broken)
    assert (await store.write(lines("h", int(time.time()) - 600, 3), "")).status == 503


async def test_ledger_closes(begin) -> None:
    store = await begin()
    t = int(time.time())
    await store.write(
        b"load,cluster=c,hostname=h value=1 %d\nnope,hostname=h value=1\nload,hostname=h value=1\nload,cluster=c,hostname=h value=x" % t, ""
    )
    ledger = store._ledger
    assert ledger.totals()[0] == 4 and ledger.held() == 0 and sum(ledger.reasons().values()) == 3


def test_slices_end_at_lines() -> None:
    body = b"\n".join(b"x" * n for n in range(1, 3000))
    parts = list(slices(body))
    assert b"".join(parts) == body and len(parts) > 1 and all(p.endswith(b"\n") for p in parts[:-1])
    assert max(map(len, parts)) <= SLICE
    assert list(slices(b"")) == [b""]


async def test_large_bodies_name_the_line(begin) -> None:
    store = await begin()
    t = int(time.time())
    body = lines("h", t - 6000, 40_000, 0) + b"\nload,cluster=c,hostname=h value=true\n"
    answer = await store.write(body, "")
    assert answer.status == 400 and answer.stored == 40_000
    assert "line 40001" in answer.errors[1]


# ---- tasks


async def test_snapshots_are_taken_at_max_wal_size(begin, tmp_path: Path) -> None:
    store = await begin('{"retention-in-memory":"48h","memory-cap":1,"checkpoints":{"max-wal-size":1000}}')
    t = int(time.time()) - 60_000
    await store.write(lines("h", t, 900), "")
    await store.loaded()
    await store._tasks.checkpoints_once()
    assert [p.suffix for p in (tmp_path / "checkpoints" / "c" / "h").iterdir()] == [".bin"]
    await store.write(lines("h", t + 54_000, 1), "")
    assert sorted(p.suffix for p in (tmp_path / "checkpoints" / "c" / "h").iterdir()) == [".bin", ".wal"]


async def test_a_host_that_left_the_retention_leaves_the_disk(begin, tmp_path: Path) -> None:
    """PITFALLs metric-store 4.5 e, 4.8: logs and folders of vanished hosts stay for ever."""
    store = await begin('{"retention-in-memory":"1h","memory-cap":1}')
    await store.loaded()
    now = int(time.time())
    await store.write(lines("old", now - 3000, 2), "")
    await store._tasks.retention_once(now + 30_000)
    assert store.engine.hosts() == []
    assert not (tmp_path / "checkpoints" / "c").exists()


async def test_running_jobs_protect_their_hosts(begin) -> None:
    store = await begin('{"retention-in-memory":"1h","memory-cap":1}')
    await store.loaded()
    now = int(time.time())
    await store.write(lines("busy", now - 3000, 2) + b"\n" + lines("idle", now - 3000, 2), "")
    store.protect({"c": frozenset({"busy"})}, now)
    await store._tasks.retention_once(now + 30_000)
    assert [h.host for h in store.engine.hosts()] == ["busy"]


async def test_nothing_is_freed_before_it_is_archived(begin, tmp_path: Path) -> None:
    store = await begin('{"retention-in-memory":"1h","memory-cap":1,"cleanup":{"mode":"archive","directory":"x"}}')
    await store.loaded()
    now = int(time.time())
    await store.write(lines("h", now - 3000, 40), "")
    (tmp_path / "archive").write_text("in the way")
    await store._tasks.retention_once(now + 30_000)
    assert len(await values(store, "h", now - 3000, now)) == 40, "what could not be archived stays"
    (tmp_path / "archive").unlink()
    await store._tasks.retention_once(now + 30_000)
    assert store.engine.hosts() == []
    (file,) = (tmp_path / "archive" / "c").iterdir()
    assert file.name == f"{now + 30_000 - 3600}.parquet" and pq.read_table(file).num_rows == 40


async def test_free_survives_a_restart(begin) -> None:
    store = await begin()
    t = int(time.time()) - 100_000
    await store.write(lines("h", t, 1000), "")
    await store.loaded()
    await store.free([("c", "h")], t + 30_000)
    left = await values(store, "h", t, t + 100_000)
    assert 0 < len(left) < 1000
    await store.stop(10)
    again = await begin()
    await again.loaded()
    assert await values(again, "h", t, t + 100_000) == left


# ---- NATS


class Bus:
    def __init__(self) -> None:
        self.handlers: dict[str, tuple[Any, str | None]] = {}

    def subscribe(self, subject: str, handler: Any, *, queue: str | None = None, durable: str | None = None) -> None:
        assert subject not in self.handlers and queue is None
        self.handlers[subject] = (handler, durable)


async def test_tags_belong_to_subscriptions(begin) -> None:
    """PITFALLs metric-store 2.7: a random one of the configured tags; every message processed twice."""
    store = await begin()
    bus = Bus()
    entries = [
        Subscription(subscribe_to="a", cluster_tag="x"),
        Subscription(subscribe_to="a", cluster_tag="y"),
        Subscription(subscribe_to="b", cluster_tag="z"),
    ]
    subscribe(store, bus, entries, instance="host-8082")  # type: ignore[arg-type]
    t = int(time.time())
    await bus.handlers["a"][0]("a", f"load,hostname=h1 value=1 {t}\nload,cluster=c,hostname=h2 value=1 {t}".encode())
    await bus.handlers["b"][0]("b", f"load,hostname=h3 value=1 {t}".encode())
    assert [tuple(h) for h in store.engine.hosts()] == [("c", "h2"), ("x", "h1"), ("y", "h1"), ("z", "h3")]
    assert store._ledger.totals()[0] == 4
    assert untagged(b"a,cluster=c v=1\nb,host=h v=1\n") == b"b,host=h v=1\n"


async def test_durable_messages_are_kept_by_the_server_when_they_cannot_be(begin, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await begin()
    bus = Bus()
    subscribe(store, bus, [Subscription(subscribe_to="m.>", durable=True)], instance="n1-8082")  # type: ignore[arg-type]
    handler, name = bus.handlers["m.>"]
    assert name == "n1-8082-m-"
    t = int(time.time())
    await handler("m.x", b"rubbish\nload,cluster=c,hostname=h value=1 %d" % t)
    assert len(store.engine.hosts()) == 1, "malformed lines are acknowledged and counted"
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PeerError):
        await handler("m.x", b"load,cluster=c,hostname=h value=2 %d" % t)
    monkeypatch.undo()


async def test_file_format_json(begin, tmp_path: Path) -> None:
    """PITFALLs metric-store 4.2: one decimal only; here the file restores every float32, even without its binary twin."""
    text = '{"retention-in-memory":"48h","memory-cap":1,"checkpoints":{"file-format":"json"}}'
    t = int(time.time()) - 6000
    store = await begin(text)
    body = b"load,cluster=c,hostname=h,type=core,type-id=0 value=0.0004 %d\nload,cluster=c,hostname=h,type=core,type-id=0 value=2 %d" % (
        t,
        t + 120,
    )
    await store.write(body, "")
    await store.stop(10)
    folder = tmp_path / "checkpoints" / "c" / "h"
    assert sorted(p.suffix for p in folder.iterdir()) == [".bin", ".json"]
    again = await begin(text)
    await again.loaded()
    assert await values(again, "h", t, t + 6000) == [pytest.approx(0.0004), 2]
    await again.write(lines("h", t + 600, 1), "")
    await again.stop(10)
    assert sorted(p.suffix for p in folder.iterdir()) == [".bin", ".json"], "the older pair is gone"
    next(folder.glob("*.bin")).unlink()
    (folder / "readme").write_text("x")
    third = await begin(text)
    await third.loaded()
    rows = await third.query(
        QueryRequest(cluster="c", from_=t, to=t + 6000, queries=[ApiQuery(metric="load", host="h", type="core", type_ids=["0"])])
    )
    assert [v for v in rows[0][0].values.tolist() if v == v] == [pytest.approx(0.0004), 2]


async def test_a_host_that_the_cap_emptied_and_that_comes_back_is_logged_under_its_new_names(
    begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ids of a host begin anew when it was gone: the log must not go on with the old ones."""
    from ccstore.engine import Engine

    def small(**options: Any) -> Engine:
        return Engine(**(options | {"memory_cap": 40_000}))

    monkeypatch.setattr("ccstore.server.store.Engine", small)
    store = await begin()
    t = int(time.time())

    def line(host: str, core: int, time_: int, value: int) -> bytes:
        return f"load,cluster=c,hostname={host},type=core,type-id={core} value={value} {time_}\n".encode()

    await store.write(b"".join(line("a", n, t - 80_000 + 60 * k, n) for n in range(4) for k in range(3)), "")
    host = next(iter(store.engine.hosts()))
    for n in range(30):
        await store.write(b"".join(line("b", k, t - 40_000 + 64 * 60 * n, k) for k in range(8)), "")
        if host not in store.engine.hosts():
            break
    assert host not in store.engine.hosts(), "the cap did not empty the host: the test is void"
    await store.write(b"".join(line("a", n, t - 1000, 100 + n) for n in (3, 2, 1, 0)), "")
    await store._files.run(store._wal.close, 5.0)  # as a kill: no snapshot
    store._held.close()
    again = await begin()
    await again.loaded()
    rows = await again.query(
        QueryRequest(
            cluster="c", from_=t - 90_000, to=t, queries=[ApiQuery(metric="load", host="a", type="core", type_ids=["0", "1", "2", "3"])]
        )
    )
    assert {r.id: [v for v in r.values.tolist() if v == v] for r in rows[0]} == {str(n): [100.0 + n] for n in range(4)}
