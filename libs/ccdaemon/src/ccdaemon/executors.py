"""Named bounded thread pools; never the loop's default executor. Threads are daemons: none holds up an exit (R10)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from .errors import PeerError

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """`threads` workers and at most `waiting` queued calls; one more raises PeerError("pool NAME", "busy").

    Also a Part of an Application: `stop` waits without holding up the loop.
    """

    def __init__(self, name: str, threads: int, waiting: int = 1000) -> None:
        self.name = name
        self._threads = threads
        self._waiting = waiting
        self._calls: deque[tuple[Callable[[], None], Callable[[], bool]]] = deque()  # what to run, how to cancel it
        self._wake = threading.Condition()
        self._started = 0
        self._idle = 0
        self._running = 0
        self._closed = False

    def submit(self, f: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call. PeerError when the queue is full or the pool closed."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(f(*args, **kwargs))
            except BaseException as error:  # also SystemExit: it belongs to whoever waits, a worker never ends by it
                future.set_exception(error)

        with self._wake:
            if self._closed:
                raise PeerError(f"pool {self.name}", "closed")
            if len(self._calls) >= self._waiting and len(self._calls) >= self._idle:
                raise PeerError(f"pool {self.name}", "busy")
            self._calls.append((call, future.cancel))
            if len(self._calls) > self._idle and self._started < self._threads:
                self._started += 1
                self._idle += 1
                threading.Thread(target=self._work, name=f"{self.name}-{self._started}", daemon=True).start()
            self._wake.notify()
        return future

    async def run(self, f: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await the call from a loop; cancelling the caller leaves the call to finish, its result or error unused."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        future = self.submit(f, *args, **kwargs)

        def deliver() -> None:
            if waiter.done():
                return
            if future.cancelled():
                waiter.cancel()
            elif (error := future.exception()) is not None:
                # asyncio's futures refuse a StopIteration, and the caller would wait for ever.
                waiter.set_exception(RuntimeError("StopIteration") if isinstance(error, StopIteration) else error)
            else:
                waiter.set_result(future.result())

        def ended(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver)

        future.add_done_callback(ended)
        return await waiter

    def depth(self) -> int:
        """Calls that wait or run (for a gauge)."""
        with self._wake:
            return len(self._calls) + self._running

    def close(self, deadline: float) -> bool:
        """No new calls; wait for running ones up to `deadline` seconds; False if some are left (and abandoned)."""
        end = time.monotonic() + deadline
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            while self._calls or self._running:
                left = end - time.monotonic()
                if left <= 0 or not self._wake.wait(left):
                    break
            return self._abandon()

    async def start(self) -> None:
        """Threads start with the first calls."""

    async def stop(self, deadline: float) -> None:
        """As `close`, without holding up the loop; what is left then is cancelled or abandoned."""
        end = time.monotonic() + deadline
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        while self.depth() and time.monotonic() < end:  # noqa: ASYNC110 - the workers are threads
            await asyncio.sleep(0.01)
        with self._wake:
            self._abandon()

    def _abandon(self) -> bool:
        left = bool(self._calls or self._running)
        while self._calls:
            self._calls.popleft()[1]()
        return not left

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._calls:
                    if self._closed:
                        self._idle -= 1
                        return
                    self._wake.wait()
                call, _ = self._calls.popleft()
                self._idle -= 1
                self._running += 1
            call()
            del call  # its arguments must not live until the next call
            with self._wake:
                self._running -= 1
                self._idle += 1
                self._wake.notify_all()
