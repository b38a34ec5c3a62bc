"""Ticks: aligned, on the monotonic clock, sane when the wall clock is set."""

from __future__ import annotations

import asyncio

from cc_metric_collector.ticker import SECOND, due, last_tick, next_tick, ticks
from hypothesis import given
from hypothesis import strategies as st

INTERVAL = 10 * SECOND


def test_next_tick_is_the_multiple_behind_now():
    assert next_tick(1003 * SECOND, INTERVAL) == 1010 * SECOND
    assert next_tick(1010 * SECOND, INTERVAL) == 1020 * SECOND
    assert next_tick(1003 * SECOND, INTERVAL, 2 * SECOND) == 1012 * SECOND
    assert last_tick(1019 * SECOND, INTERVAL) == 1010 * SECOND


@given(st.integers(0, 2**60), st.integers(1, 3600 * SECOND), st.integers(0, 3600 * SECOND))
def test_ticks_are_aligned(now, interval, offset):
    tick = next_tick(now, interval, offset)
    assert now < tick <= now + interval and (tick - offset) % interval == 0


def test_a_small_step_back_never_gives_the_same_tick_twice():
    assert due(1009 * SECOND, 1010 * SECOND, INTERVAL) == 1020 * SECOND
    assert due(1001 * SECOND, 1010 * SECOND, INTERVAL) == 1020 * SECOND
    assert due(500 * SECOND, 1010 * SECOND, INTERVAL) == 510 * SECOND  # a large one is believed


class World:
    """A wall clock that sleeping moves, and that can be set."""

    def __init__(self, start: float) -> None:
        self.now = round(start * SECOND)
        self.slept = 0.0

    def wall(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 1.0
        self.slept += seconds
        self.now += round(seconds * SECOND)
        await asyncio.sleep(0)


async def collect(world: World, count: int, during=lambda tick: None) -> list[float]:
    got = []
    async for tick in ticks(INTERVAL, 0, wall_ns=world.wall, sleep=world.sleep):
        got.append(tick / SECOND)
        if len(got) == count:
            return got
        during(tick)
    raise AssertionError


async def test_regular():
    assert await collect(World(1003), 3) == [1010, 1020, 1030]


async def test_a_round_that_takes_too_long_leaves_ticks_out():
    world = World(1003)

    def busy(tick: int) -> None:
        if tick == 1010 * SECOND:
            world.now += 25 * SECOND

    assert await collect(world, 3, busy) == [1010, 1040, 1050]


async def test_clock_set_forward_and_back():
    world = World(1003)

    def step(tick: int) -> None:
        if tick == 1010 * SECOND:
            world.now += 3600 * SECOND
        if tick == 4620 * SECOND:
            world.now -= 7200 * SECOND

    got = await collect(world, 4, step)
    assert got[:2] == [1010, 4620] and got[2] < 0 and got[3] - got[2] == 10


async def test_a_clock_set_back_while_sleeping_is_noticed():
    world = World(1003)
    first = True

    async def sleep(seconds: float) -> None:
        nonlocal first
        if first:
            first = False
            world.now -= 500 * SECOND
        await world.sleep(seconds)

    async for tick in ticks(INTERVAL, 0, wall_ns=world.wall, sleep=sleep):
        assert tick == 510 * SECOND
        break
