"""Rounds: one collector that hangs, fails or lies costs nothing but itself."""

from __future__ import annotations

import asyncio
import threading
import time

import msgspec
import pytest
from cc_metric_collector.base import Collector, SourceMissing, metric, node_head
from cc_metric_collector.manager import Manager
from ccdaemon.ledger import Ledger

WALL = 1_700_000_000 * 10**9


class Empty(msgspec.Struct):
    pass


class Plain(Collector):
    """Sends one value; `trouble` runs before it does."""

    Config = Empty

    def __init__(self, name, trouble=lambda: None, parallel=True, order=None):
        self.name, self.trouble, self.parallel = name, trouble, parallel
        self.order = order if order is not None else []
        self.closed = False
        self.threads: set[str] = set()

    def open(self, ctx):
        self.head = node_head(self.name, "Test", "Test")

    def read(self, now_ns, duration):
        self.threads.add(threading.current_thread().name)
        self.order.append(self.name)
        self.trouble()
        return [metric(self.head, 1.0, now_ns)]

    def close(self):
        self.closed = True


@pytest.fixture
def manage(make_context):
    managers = []

    def make(*collectors, interval=1.0):
        got: list[tuple[str, int]] = []
        manager = Manager(
            {c.name: c for c in collectors},
            make_context(interval=interval),
            lambda ms, tick: got.extend((m.head.name, tick) for m in ms),
            duration=0.1,
            wall_ns=lambda: WALL,
            ledger=Ledger("collectors"),
            log=make_context().log,
        )
        managers.append(manager)
        return manager, got

    yield make


def health(manager, name):
    return next(h for h in manager.health if h.name == name)


async def test_a_failing_one_is_isolated_and_tried_again(manage):
    calls = []

    def fail():
        calls.append(1)
        if len(calls) == 1:
            raise IndexError("odd file")

    manager, got = manage(Plain("good"), Plain("bad", fail))
    await manager.open()
    await manager.round(10)
    assert got == [("good", 10)]
    assert health(manager, "bad").state == "failing" and "odd file" in health(manager, "bad").reason
    await manager.round(20)
    assert sorted(got[1:]) == [("bad", 20), ("good", 20)]
    assert health(manager, "bad").state == "ok"
    await manager.close(1)


async def test_a_hanging_one_is_left_out_and_delivers_later_with_its_own_tick(manage):
    release = threading.Event()
    slow = Plain("slow", lambda: release.wait(20))
    manager, got = manage(Plain("good"), slow, interval=0.3)
    await manager.open()
    begin = time.monotonic()
    await manager.round(10)
    assert time.monotonic() - begin < 0.3  # over before the next tick
    assert health(manager, "slow").state == "hanging"
    begin = time.monotonic()
    await manager.round(20)
    assert time.monotonic() - begin < 0.25  # nobody waits for it again
    assert got == [("good", 10), ("good", 20)] and health(manager, "slow").left_out == 1
    release.set()
    await asyncio.sleep(0.1)
    assert got[2:] == [("slow", 10)] and health(manager, "slow").state == "ok"
    await manager.round(30)
    assert ("slow", 30) in got
    await manager.close(1)


async def test_close_does_not_wait_for_a_hanging_one(manage):
    release = threading.Event()
    good, slow = Plain("good"), Plain("slow", lambda: release.wait(20))
    manager, _ = manage(good, slow, interval=0.2)
    await manager.open()
    await manager.round(10)
    begin = time.monotonic()
    await manager.close(0.3)
    assert time.monotonic() - begin < 1.5
    assert good.closed and not slow.closed
    release.set()


async def test_serial_ones_follow_and_a_hanging_parallel_one_does_not_cost_them_the_round(manage):
    release = threading.Event()
    order: list[str] = []
    hanging = Plain("hanging", lambda: release.wait(20), order=order)
    manager, got = manage(
        Plain("s1", parallel=False, order=order),
        hanging,
        Plain("p1", lambda: time.sleep(0.05), order=order),
        Plain("s2", parallel=False, order=order),
        interval=0.6,
    )
    await manager.open()
    await manager.round(10)
    assert order[2:] == ["s1", "s2"] and {name for name, _ in got} == {"p1", "s1", "s2"}
    release.set()
    await manager.close(1)


async def test_pitfall_serial_ones_are_closed_too(manage):
    serial = Plain("s", parallel=False)
    manager, _ = manage(serial)
    await manager.open()
    await manager.close(1)
    assert serial.closed


async def test_a_source_that_is_missing_skips_and_closes(manage):
    class Missing(Plain):
        def open(self, ctx):
            raise SourceMissing("no such file")

    class Broken(Plain):
        def open(self, ctx):
            raise KeyError("defect")

    missing, broken = Missing("missing"), Broken("broken")
    manager, got = manage(missing, broken, Plain("good"))
    await manager.open()
    assert manager.working == 1
    assert health(manager, "missing").reason == "no such file" and missing.closed
    assert health(manager, "broken").state == "skipped" and broken.closed
    await manager.round(10)
    assert got == [("good", 10)]
    await manager.close(1)


async def test_zero_collectors_are_no_error(manage):
    manager, got = manage()
    await manager.open()
    await manager.round(10)
    await manager.close(1)
    assert got == []


async def test_nan_never_becomes_a_message_and_is_counted(make_context):
    class Odd(Plain):
        def read(self, now_ns, duration):
            return [metric(self.head, float("nan"), now_ns), metric(self.head, 2.0, now_ns)]

    ledger, got = Ledger("collectors"), []
    manager = Manager(
        {"odd": Odd("odd")},
        make_context(),
        lambda ms, tick: got.extend(ms),
        duration=0,
        wall_ns=lambda: WALL,
        ledger=ledger,
        log=make_context().log,
    )
    await manager.open()
    await manager.round(10)
    assert [m.fields["value"] for m in got] == [2.0]
    assert ledger.held() == 0 and dict(ledger.reasons()) == {"not_finite": 1}
    await manager.close(1)


async def test_a_slow_open_holds_up_nobody_and_joins_later(manage, monkeypatch):
    from cc_metric_collector import manager as module

    monkeypatch.setattr(module, "OPEN_LIMIT", 0.1)
    release = threading.Event()

    class Slow(Plain):
        def open(self, ctx):
            release.wait(20)
            super().open(ctx)

    manager, got = manage(Slow("slow"), Plain("good"))
    await manager.open()
    assert health(manager, "slow").state == "hanging"
    await manager.round(10)
    assert got == [("good", 10)]
    release.set()
    await asyncio.sleep(0.1)
    await manager.round(20)
    assert ("slow", 20) in got
    await manager.close(1)
