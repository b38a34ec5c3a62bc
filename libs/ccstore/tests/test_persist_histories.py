"""The protocol as a whole: random histories of writes, snapshots in steps, frees and forgotten hosts, on the real engine and the real
files, with a disk that stops at a random operation (which is what a kill -9 looks like to files). What a start finds then must be,
for each bin, what was acknowledged last or what was being done when it stopped."""

from __future__ import annotations

import os
import queue
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ccdaemon.log import make_log
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.persist import snapshot
from ccstore.persist.recover import first_pass, later_blocks, later_pass, list_hosts, read_host
from ccstore.persist.wal import Ticket, Wal, WriteFailed
from ccstore.registry import HostKey

HOST = HostKey("c", "h")
METRICS = MetricTable({"a": MetricSpec(1, None), "b": MetricSpec(5, None)})
NOW = 1_700_000_000
BINS = 2500
"""Seconds over which samples are spread: several tiles, several blocks."""


class Stopped(Exception):
    """The disk has stopped."""


class Disk:
    """Counts operations that change files; from number `stop` on they fail, that one half done."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self._lock = threading.Lock()
        pwrite, rename, unlink = os.pwrite, Path.rename, Path.unlink

        def write(fd: int, data: Any, at: int) -> int:
            if self._dead():
                if self.left == 0 and len(data) > 1:
                    pwrite(fd, bytes(data)[: random.randrange(len(data))], at)
                raise OSError(5, "stopped")
            return pwrite(fd, data, at)

        def guard(f: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                if self._dead():
                    raise OSError(5, "stopped")
                return f(*args, **kwargs)

            return call

        patch.setattr(os, "pwrite", write)
        patch.setattr(Path, "rename", guard(rename))
        patch.setattr(Path, "unlink", guard(unlink))
        patch.setattr(os, "ftruncate", guard(os.ftruncate))

    def _dead(self) -> bool:
        with self._lock:
            if self.left is None:
                return False
            self.left -= 1
            return self.left <= 0


Values = dict[tuple[Any, ...], float]


class Life:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: queue.Queue[Ticket] = queue.Queue()
        self.engine = Engine(default=METRICS, clock=lambda: float(NOW))
        self.wal = Wal(root, log=make_log("test", level="crit"), settled=self._settled, sync_interval=100.0)
        self.wal.start()
        for host in list_hosts(root)[0]:
            image = read_host(root, host)
            for _ in first_pass(self.engine, image):
                pass
            if image.later is not None:
                for table, blocks in later_blocks(image.later, image.findings):
                    for _ in later_pass(self.engine, host, table, blocks):
                        pass
            assert image.findings == []
        self.view: Any = None
        self.cut: Future[int] | None = None
        self.tmp: Path | None = None
        self.safe: tuple[Path, int] | None = None

    def _settled(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self.done.put(ticket)

    def _wait(self, ticket: Ticket) -> None:
        while self.done.get(timeout=10) is not ticket:
            pass
        if ticket.error is not None:
            raise Stopped

    def values(self) -> Values:
        found: Values = {}
        for host in self.engine.hosts():
            with self.engine.view(host) as view:
                for group in view.groups:
                    for number, tile in group.tiles:
                        for row, column in zip(*np.nonzero(~np.isnan(tile[: len(group.keys)])), strict=True):
                            key = group.keys[row]
                            found[key.levels, key.metric, number * 64 + int(column)] = float(tile[row][column])
        return found

    # ---- steps of a history; Stopped ends it

    def write(self, rng: random.Random, value: int) -> None:
        lines = []
        for _ in range(rng.randint(1, 6)):
            time = NOW - 4000 + rng.randrange(BINS)
            lines.append(f"{rng.choice('ab')},hostname=h,type=core,type-id={rng.randrange(3)} value={value} {time}")
        got = self.engine.ingest("\n".join(lines).encode(), cluster="c", now=NOW)
        if got.records:
            self._wait(self.wal.append(got.records, self.engine.series_keys))

    def free(self, rng: random.Random) -> None:
        levels = rng.choice([(), ("core1",)])
        before = NOW - 4000 + rng.randrange(BINS + 500)
        self.engine.free([(*HOST, *levels)], before)
        if HOST not in self.engine.hosts():
            self._gone()
        else:
            self._wait(self.wal.free(HOST, levels, before))

    def _gone(self) -> None:
        self.view, self.cut, self.tmp, self.safe = None, None, None, None
        self._done(self.wal.forget(HOST))

    def snapshot_step(self) -> None:
        """One of view and cut, file, name, removal of what it contains."""
        folder = self.root / HOST.cluster / HOST.host
        if self.safe is not None:
            final, next_part = self.safe
            self.safe = None
            self._done(self.wal.supersede(HOST, final, next_part))
        elif self.tmp is not None:
            tmp, self.tmp = self.tmp, None
            assert self.cut is not None
            final = tmp.with_suffix("")
            if self._done(self.wal.publish(HOST, tmp, final)):
                self.safe = (final, self.cut.result())
        elif self.cut is not None and self.view is not None:
            final = snapshot.path_of(folder, NOW)
            tmp = final.with_name(final.name + ".tmp")
            try:
                snapshot.write_snapshot(self.view, self._done(self.cut), tmp, NOW)
            except OSError:
                raise Stopped from None
            finally:
                self.view.close()
                self.view = None
            self.tmp = tmp
        elif HOST in self.engine.hosts():
            self.view = self.engine.view(HOST)
            self.cut = self.wal.cut(HOST)

    def _done(self, future: Future[Any]) -> Any:
        try:
            return future.result(10)
        except OSError:
            raise Stopped from None


def play(life: Life, rng: random.Random, steps: int, value: int) -> tuple[Values, Values]:
    """(what was acknowledged, what memory had when the disk stopped or the history ended)."""
    sure = life.values()
    try:
        for step in range(steps):
            what = rng.choices(("write", "snapshot", "free"), (6, 5, 1))[0]
            if what == "write":
                life.write(rng, value + step)
            elif what == "snapshot":
                life.snapshot_step()
            else:
                life.free(rng)
            sure = life.values()
    except (Stopped, WriteFailed):
        pass
    return sure, life.values()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    yield Disk(monkeypatch)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_nothing_acknowledged_is_lost_or_comes_back(tmp_path: Path, disk: Disk, seed: int) -> None:
    for history in range(12):
        rng = random.Random(seed * 1000 + history)
        root = tmp_path / str(history)
        root.mkdir()
        sure: Values = {}
        last: Values = {}
        for turn in range(4):
            disk.left = None
            life = Life(root)
            before = life.values()
            if turn:
                for key in {*sure, *last, *before}:
                    allowed = (sure.get(key), last.get(key))
                    assert before.get(key) in allowed, f"history {seed}/{history}, turn {turn}: {key} is {before.get(key)}, not {allowed}"
            disk.left = rng.randint(1, 60)
            sure, last = play(life, rng, 40, 1000 * (turn + 1))
            life.wal.close(5)
