"""LRU cache with size, time to live and one computation per key at a time (spec messages-and-lib 14).

`Cache` serves threads, `AsyncCache` one event loop; both stand on the same bookkeeping.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(Generic[V]):
    __slots__ = ("expires", "size", "value")

    def __init__(self, value: V, expires: float, size: int) -> None:
        self.value = value
        self.expires = expires
        self.size = size


class _Lru(Generic[K, V]):
    """Entries from least to most recently used. Entries of size 0 go only by expiry."""

    def __init__(self, max_size: int, clock: Callable[[], float]) -> None:
        self.max_size = max_size
        self.clock = clock
        self.size = 0
        self.entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def find(self, key: K, now: float) -> _Entry[V] | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self.remove(key)
            return None
        self.entries.move_to_end(key)
        return entry

    def store(self, key: K, entry: _Entry[V]) -> None:
        self.remove(key)
        self.entries[key] = entry
        self.size += entry.size
        if self.size > self.max_size:
            self._shrink()

    def remove(self, key: K) -> bool:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size
        return entry is not None

    def live(self, now: float) -> list[tuple[K, V]]:
        for key in [k for k, e in self.entries.items() if e.expires <= now]:
            self.remove(key)
        return [(k, e.value) for k, e in self.entries.items()]

    def _shrink(self) -> None:
        now = self.clock()
        for key, entry in list(self.entries.items()):
            if self.size <= self.max_size:
                return
            if entry.size or entry.expires <= now:
                self.remove(key)


class Cache(Generic[K, V]):
    """For threads. `get` computes outside of the lock; other callers of the same key wait for that computation."""

    def __init__(self, max_size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lru: _Lru[K, V] = _Lru(max_size, clock)
        self._clock = clock
        self._lock = threading.Condition()
        self._pending: dict[K, int] = {}

    def get(self, key: K, compute: Callable[[], tuple[V, float, int]] | None = None) -> V | None:
        """The value, else that of `compute() -> (value, ttl in seconds, size)`; None without one. A failing compute leaves nothing."""
        began = self._clock()
        with self._lock:
            while key in self._pending and compute is not None:
                self._lock.wait()
            entry = self._lru.find(key, self._clock())
            if entry is not None:
                return entry.value
            if compute is None:
                return None
            self._pending[key] = 1
        made: _Entry[V] | None = None
        try:
            value, ttl, size = compute()
            made = _Entry(value, began + ttl, size)
            return value
        finally:
            with self._lock:
                del self._pending[key]
                if made is not None:
                    self._lru.store(key, made)
                self._lock.notify_all()

    def put(self, key: K, value: V, size: int, ttl: float) -> None:
        with self._lock:
            self._lru.store(key, _Entry(value, self._clock() + ttl, size))

    def delete(self, key: K) -> bool:
        """False when it is not there, or being computed."""
        with self._lock:
            return key not in self._pending and self._lru.remove(key)

    def items(self) -> list[tuple[K, V]]:
        with self._lock:
            return self._lru.live(self._clock())

    @property
    def size(self) -> int:
        return self._lru.size


def _looked_at(task: asyncio.Task[V]) -> None:
    """A failure whose callers were all cancelled is no error that nobody waited for."""
    if not task.cancelled():
        task.exception()


class AsyncCache(Generic[K, V]):
    """For one event loop. A caller that is cancelled leaves the computation to the others that wait for it."""

    def __init__(self, max_size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lru: _Lru[K, V] = _Lru(max_size, clock)
        self._clock = clock
        self._pending: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, compute: Callable[[], Awaitable[tuple[V, float, int]]] | None = None) -> V | None:
        """As `Cache.get`, with a coroutine function."""
        entry = self._lru.find(key, self._clock())
        if entry is not None:
            return entry.value
        if compute is None:
            return None
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.get_running_loop().create_task(self._compute(key, compute))
            task.add_done_callback(_looked_at)
        return await asyncio.shield(task)

    async def _compute(self, key: K, compute: Callable[[], Awaitable[tuple[V, float, int]]]) -> V:
        began = self._clock()
        try:
            value, ttl, size = await compute()
            self._lru.store(key, _Entry(value, began + ttl, size))
            return value
        finally:
            del self._pending[key]

    def put(self, key: K, value: V, size: int, ttl: float) -> None:
        self._lru.store(key, _Entry(value, self._clock() + ttl, size))

    def delete(self, key: K) -> bool:
        """False when it is not there, or being computed."""
        return key not in self._pending and self._lru.remove(key)

    def items(self) -> list[tuple[K, V]]:
        return self._lru.live(self._clock())

    @property
    def size(self) -> int:
        return self._lru.size
