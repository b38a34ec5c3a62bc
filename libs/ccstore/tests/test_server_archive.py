"""Cleanup mode `archive`: nothing goes before it is archived, nothing is archived twice or lost between (metric-store 4.8, 5.2; Durability 11)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log
from ccstore.engine import Engine
from ccstore.ingest import Reason
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.persist.parquet import host_table
from ccstore.policy import Marks
from ccstore.registry import HostKey
from ccstore.server.config import Checkpoints, Cleanup, StoreConfig
from ccstore.server.store import Store

METRICS = MetricTable({"load": MetricSpec(60, None)})
TILE = 64 * 60
PAGE = 4096
KEEP = 48 * 3600


@pytest.fixture
async def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Stores in mode `archive`; tiles: pages that memory may hold, 0 = no cap."""
    stores: list[Store] = []

    async def make(tiles: int = 0) -> Store:
        monkeypatch.setattr("ccstore.server.store.Engine", lambda **options: Engine(**(options | {"memory_cap": tiles * PAGE})))
        config = StoreConfig(retention_in_memory=KEEP, memory_cap=0)  # type: ignore[arg-type]
        config.checkpoints = Checkpoints(directory=str(tmp_path / "checkpoints"))
        config.cleanup = Cleanup(mode="archive", directory=str(tmp_path / "archive"))
        store = Store(config, tables={}, default=METRICS, log=make_log("test", level="crit"), registry=Registry("test"))
        stores.append(store)
        await store.start()
        store._tasks.finish()  # rounds are this test's
        await store.loaded()
        return store

    yield make
    for store in stores:
        await store.stop(10)


def lines(host: str, begin: int, count: int) -> bytes:
    return b"".join(b"load,cluster=c,hostname=%s value=%d %d\n" % (host.encode(), n, begin + 60 * n) for n in range(count))


def in_memory(store: Store, host: str) -> set[int]:
    """Times of the bins that hold a value."""
    with store.engine.view(HostKey("c", host)) as view:
        table = host_table(view, "c", 0, 2**40)
    return set(table["timestamp"].to_pylist())


def archived(tmp_path: Path) -> list[int]:
    tables = [pq.read_table(f) for f in sorted((tmp_path / "archive").rglob("*.parquet"))]
    return sorted(t for table in tables for t in table["timestamp"].to_pylist())


async def test_at_the_cap_nothing_goes_that_is_not_archived(begin: Any, tmp_path: Path) -> None:
    """Architecture "Cap": nothing goes before it is archived; is nothing left to drop, then 503."""
    store = await begin(tiles=8)
    start = int(time.time()) - 10 * TILE
    accepted = 0
    status = 200
    while status == 200:
        answer = await store.write(lines("h", start + 60 * accepted, 10), "")
        status = answer.status
        accepted += answer.stored
        assert store.engine.bytes <= 8 * PAGE
    assert status == 503 and "memory-cap" in answer.errors[0]
    assert len(in_memory(store, "h")) == accepted

    await store._tasks.cap_once(int(time.time()))
    assert archived(tmp_path), "the cap asked for the archive"
    answer = await store.write(lines("h", start + 60 * accepted, 10), "")
    assert (answer.status, answer.stored) == (200, 10), "the sender repeats and finds room"
    accepted += 10
    assert store.engine.bytes <= 8 * PAGE
    assert len(set(archived(tmp_path)) | in_memory(store, "h")) == accepted, "everything stands in the one or the other"
    assert len(set(archived(tmp_path))) == len(archived(tmp_path)), "and once"


async def test_a_batch_of_which_one_sample_found_no_room_is_asked_for_again(begin: Any) -> None:
    store = await begin(tiles=1)
    start = int(time.time()) // TILE * TILE - 2 * TILE
    answer = await store.write(lines("h", start + 60 * 60, 10), "")
    assert answer.stored > 0 and answer.status == 503


async def test_late_data_behind_the_archive_is_old(begin: Any, tmp_path: Path) -> None:
    """Durability 11, also behind a restart and through the kernel."""
    store = await begin()
    now = int(time.time())
    start = now - 10 * TILE
    await store.write(lines("h", start, 600), "")
    cutoff = start + 300 * 60 + 7
    assert await store._tasks._archiver.run(cutoff)
    before = archived(tmp_path)
    late = b"load,cluster=c,hostname=h value=1 %d\n"
    for _ in range(2):
        answer = await store.write(late % (cutoff - 60) + late % (cutoff + 60) + late.replace(b"h v", b"other v") % (cutoff - 60), "")
        assert (answer.status, answer.stored, answer.refused[Reason.OLD]) == (200, 2, 1)
        await store._load_kernel()
        await store.write(lines("h", start + 600 * 60, 2), "")
    await store.stop(10)
    store = await begin()
    answer = await store.write(late % (cutoff - 60), "")
    assert (answer.stored, answer.refused[Reason.OLD]) == (0, 1)
    assert await store._tasks._archiver.run(now - 60)
    times = archived(tmp_path)
    assert set(before) < set(times) and len(set(times)) == len(times)


@pytest.mark.parametrize("offset", range(-60, 61, 5))
def test_a_bin_is_archived_or_takes_samples(offset: int) -> None:
    """Not a sample that comes near the cut-off falls between: what is refused stands in the archive, by the time of its bin."""
    engine = Engine(default=METRICS)
    engine.ingest(lines("h", 60_000, 30), cluster="", now=62_000)
    cutoff = 60_000 + 15 * 60
    marks = Marks({})
    engine.archive(marks)
    marks.begin([HostKey("c", "h")], cutoff)
    time_ = cutoff + offset
    with engine.view(HostKey("c", "h")) as view:
        phase = view.groups[0].keys[0].phase
    middle = (time_ - phase) // 60 * 60 + phase + 30
    answer = engine.ingest(b"load,cluster=c,hostname=h value=1 %d" % time_, cluster="", now=62_000)
    assert answer.stored == (1 if middle >= cutoff else 0)


async def test_samples_that_come_while_their_span_is_archived_are_refused(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would be neither in the file nor, once it is written, in memory. A run that fails takes nothing."""
    store = await begin()
    start = int(time.time()) - 10 * TILE
    await store.write(lines("h", start, 100), "")
    archiver = store._tasks._archiver
    late = b"load,cluster=c,hostname=h value=1 %d" % (start + 60)
    seen: list[Any] = []

    def add(self: Any, view: Any, since: int) -> None:
        seen.append(asyncio.run_coroutine_threadsafe(store.write(late, ""), store._loop).result(10))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ccstore.server.archiving.Archive.add", add)
    assert not await archiver.run(start + 6000)
    assert seen[0].refused[Reason.OLD] == 1
    assert (await store.write(late, "")).stored == 1
    assert store.engine.spare() == 0, "what could not be archived may not go"


async def test_one_failing_cluster_keeps_its_data_and_is_tried_again(begin: Any, tmp_path: Path) -> None:
    """PITFALL metric-store 4.9: the others go on, and what failed is not left until the next retention."""
    store = await begin()
    now = int(time.time())
    both = lines("h", now - 40 * 3600, 40)
    await store.write(both + both.replace(b"cluster=c", b"cluster=d"), "")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "d").write_text("in the way")
    later = now + 2 * KEEP
    await store._tasks.retention_once(later)
    assert [h.cluster for h in store.engine.hosts()] == ["d"]
    (tmp_path / "archive" / "d").unlink()
    await store._tasks.retention_once(later + 600)
    assert store.engine.hosts() == [] and len(archived(tmp_path)) == 80


async def test_a_start_under_a_lowered_cap_keeps_the_files_of_what_it_cannot_hold(begin: Any, tmp_path: Path) -> None:
    """Design S6: nothing that is not archived leaves the disk."""
    store = await begin()
    start = int(time.time()) - 20 * TILE
    await store.write(lines("h", start, 19 * 64), "")
    await store.stop(10)
    store = await begin(tiles=4)
    host = HostKey("c", "h")
    assert not store._loader.whole(host) and store._loader.findings
    await store._checkpoints.take(store._checkpoints.all())
    assert await store._tasks._archiver.run(int(time.time())) and not archived(tmp_path)
    await store.stop(10)
    store = await begin()
    assert len(in_memory(store, "h")) == 19 * 64


async def test_an_archive_that_cannot_be_read_is_a_mistake_of_the_configuration(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ccstore.server.archiving.marks", broken)
    with pytest.raises(OperatorError, match="cleanup.directory"):
        await begin()
