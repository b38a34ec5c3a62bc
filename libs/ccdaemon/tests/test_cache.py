import asyncio
import gc
import threading

import pytest
from ccdaemon.cache import AsyncCache, Cache


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_get_computes_once_and_expires_from_the_start_of_get():
    clock = Clock()
    cache = Cache(10, clock=clock)

    def compute():
        clock.now += 3  # the ttl counts from before
        return "v", 5.0, 1

    assert cache.get("k") is None
    assert cache.get("k", compute) == "v"
    assert cache.get("k", lambda: pytest.fail("cached")) == "v"
    clock.now = 5.0
    assert cache.get("k") is None
    assert cache.size == 0


def test_least_recently_used_goes_first_and_size_zero_only_by_expiry():
    clock = Clock()
    cache = Cache(3, clock=clock)
    cache.put("zero", 0, 0, 10)
    for k in "abc":
        cache.put(k, k, 1, 10)
    cache.get("a")
    cache.put("d", "d", 1, 10)
    assert [k for k, _ in cache.items()] == ["zero", "c", "a", "d"]
    cache.put("big", 1, 5, 10)
    assert cache.get("big") is None
    assert cache.get("huge", lambda: ("value", 10, 99)) == "value"  # returned, then gone
    assert cache.get("huge") is None
    clock.now = 11
    assert cache.items() == []


def test_pitfall_put_of_a_new_key_counts_its_size():
    cache = Cache(10)
    cache.put("a", 1, 4, 10)
    cache.put("a", 1, 3, 10)
    assert cache.size == 3
    assert cache.delete("a") and not cache.delete("a")
    assert cache.size == 0


def test_failing_compute_leaves_nothing_and_wakes_the_others():
    cache = Cache(10)
    entered, go = threading.Event(), threading.Event()
    results = []

    def failing():
        entered.set()
        go.wait(5)
        raise ValueError("no")

    def first():
        with pytest.raises(ValueError):
            cache.get("k", failing)

    one = threading.Thread(target=first)
    one.start()
    entered.wait(5)
    two = threading.Thread(target=lambda: results.append(cache.get("k", lambda: ("second", 10, 1))))
    two.start()
    assert not cache.delete("k")  # being computed
    assert results == []
    go.set()
    one.join(5)
    two.join(5)
    assert results == ["second"]


async def test_async_one_computation_for_all_that_wait_even_if_the_first_leaves():
    cache = AsyncCache(10)
    calls = 0
    go = asyncio.Event()

    async def compute():
        nonlocal calls
        calls += 1
        await go.wait()
        return calls, 10, 1

    waiting = [asyncio.ensure_future(cache.get("k", compute)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    go.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError) and done[1:] == [1] * 4
    assert await cache.get("k") == 1


async def test_async_a_failure_whose_callers_are_all_cancelled_is_no_stray_error():
    stray = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
    cache, go = AsyncCache(10), asyncio.Event()

    async def compute():
        await go.wait()
        raise ZeroDivisionError

    caller = asyncio.ensure_future(cache.get("k", compute))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await asyncio.sleep(0.01)
    gc.collect()
    assert stray == [] and await cache.get("k") is None
