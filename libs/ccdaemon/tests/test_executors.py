import asyncio
import gc
import subprocess
import sys
import threading
import time

import pytest
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool


def test_bounded():
    pool, go = Pool("ldap", 1, waiting=2), threading.Event()
    running = pool.submit(go.wait, 5)
    while pool.depth() and pool._running == 0:
        time.sleep(0.001)
    pool.submit(int)
    pool.submit(int)
    with pytest.raises(PeerError, match="pool ldap: busy"):
        pool.submit(int)
    assert pool.depth() == 3
    go.set()
    assert running.result(5)
    assert pool.close(5)
    with pytest.raises(PeerError, match="closed"):
        pool.submit(int)


def test_calls_run_at_once_in_their_threads():
    pool, meet = Pool("p", 3), threading.Barrier(3)
    calls = [pool.submit(meet.wait, 5) for _ in range(3)]
    assert sorted(c.result(5) for c in calls) == [0, 1, 2]
    assert pool.close(5)


async def test_cancelling_the_caller_lets_the_call_finish():
    pool, go, done = Pool("p", 1), threading.Event(), threading.Event()

    def call():
        go.wait(5)
        done.set()

    caller = asyncio.ensure_future(pool.run(call))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    assert done.wait(5)
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)
    await pool.stop(5)


async def test_a_call_that_fails_after_its_caller_was_cancelled_is_no_stray_error():
    stray = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
    pool, go = Pool("p", 1), threading.Event()

    def call():
        go.wait(5)
        raise ZeroDivisionError

    caller = asyncio.ensure_future(pool.run(call))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await pool.run(int)
    del caller
    gc.collect()
    assert stray == []
    await pool.stop(5)


async def test_a_stop_iteration_reaches_its_caller():
    pool = Pool("p", 1)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(pool.run(next, iter(())), 2)
    await pool.stop(5)


def test_a_call_that_outlives_its_loop_says_nothing(caplog):
    pool, go = Pool("p", 1), threading.Event()

    async def leave():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.run(go.wait, 5), 0.01)

    asyncio.run(leave())
    go.set()
    assert pool.close(5) and not [r for r in caplog.records if r.levelname != "DEBUG"]


def test_a_hanging_call_is_abandoned_and_waiting_ones_cancelled():
    pool, go = Pool("p", 1), threading.Event()
    pool.submit(go.wait)
    waiting = pool.submit(int)
    began = time.monotonic()
    assert not pool.close(0.05)
    assert time.monotonic() - began < 2 and waiting.cancelled()
    go.set()


def test_r10_a_hanging_thread_never_holds_up_the_exit():
    code = "import time\nfrom ccdaemon.executors import Pool\nPool('p', 1).submit(time.sleep, 60)"
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0
