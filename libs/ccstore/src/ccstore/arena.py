"""Memory of all tiles: one reservation of address space that is never copied, and the epochs that keep freed tiles for their readers.

The reservation is virtual: a page costs memory when a tile on it is taken, and gives it back when the tile is freed. So the kernel sees one
array, nothing moves when the store grows, and a reader's view stays valid for as long as its epoch is pinned.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BINS = 64
"""Bins of one tile."""
ROW_BYTES = BINS * 4
PAGE_ROWS = 16
"""Rows of a tile come in pages of 4096 bytes, so that freeing a tile gives whole pages back."""
SMALLEST = 64 << 20
_NORESERVE = 0x4000  # MAP_NORESERVE on Linux; `mmap` has the name only from Python 3.12 on


def round_rows(rows: int) -> int:
    """The number of rows a tile of at least `rows` takes."""
    return -(-max(rows, 1) // PAGE_ROWS) * PAGE_ROWS


def physical_bytes() -> int:
    """Memory of the machine: a store without cap cannot hold more."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _reserve(size: int) -> mmap.mmap:
    """An anonymous mapping of `size` bytes, or of what the machine's rules allow, halving down to `SMALLEST`. OSError: not even that."""
    while True:
        try:
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        except OSError:
            if size <= SMALLEST:
                raise
            size = max(size // 2, SMALLEST)


class Arena:
    """Tiles of `rows` × 64 float32, addressed by the index of their first value in `values`."""

    def __init__(self, capacity: int) -> None:
        """capacity: bytes of address space to reserve (rounded up to pages)."""
        size = max(-(-capacity // (PAGE_ROWS * ROW_BYTES)) * PAGE_ROWS * ROW_BYTES, SMALLEST)
        self._map = _reserve(size)
        self.values: NDArray[np.float32] = np.frombuffer(self._map, dtype=np.float32)
        self.used = 0
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    def take(self, rows: int) -> int | None:
        """A tile filled with NaN; `rows` from `round_rows`. None: the reservation is full."""
        base = self._find(rows)
        if base is not None:
            self.values[base : base + rows * BINS] = np.nan
            self.used += rows * ROW_BYTES
        return base

    def give(self, base: int, rows: int) -> None:
        """Takes a tile back; its pages go to the system at once."""
        self._map.madvise(mmap.MADV_DONTNEED, base * 4, rows * ROW_BYTES)
        self._free[rows].append(base)
        self.used -= rows * ROW_BYTES

    def _find(self, rows: int) -> int | None:
        if self._free.get(rows):
            return self._free[rows].pop()
        if self._end + rows * BINS <= self.values.size:
            self._end += rows * BINS
            return self._end - rows * BINS
        return self._split(rows)

    def _split(self, rows: int) -> int | None:
        """The smallest free run that fits, after neighbours were joined; the rest of it stays free."""
        self._join()
        fitting = [size for size, bases in self._free.items() if size >= rows and bases]
        if not fitting:
            return None
        size = min(fitting)
        base = self._free[size].pop()
        if size > rows:
            self._free[size - rows].append(base + rows * BINS)
        return base

    def _join(self) -> None:
        runs = sorted((base, size) for size, bases in self._free.items() for base in bases)
        self._free.clear()
        joined: list[tuple[int, int]] = []
        for base, size in runs:
            if joined and joined[-1][0] + joined[-1][1] * BINS == base:
                joined[-1] = (joined[-1][0], joined[-1][1] + size)
            else:
                joined.append((base, size))
        for base, size in joined:
            self._free[size].append(base)


class Epochs:
    """Who is reading since when. `retire` delays an action of the writer until nobody who was reading before it reads any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self._pinned: dict[int, int] = {}
        self._waiting: deque[tuple[int, int, Callable[[], None]]] = deque()
        self.limbo = 0

    @property
    def held(self) -> int:
        return sum(self._pinned.copy().values())

    def pin(self) -> int:
        """From any thread; give the answer to `unpin`."""
        with self._lock:
            self._pinned[self._now] = self._pinned.get(self._now, 0) + 1
            return self._now

    def unpin(self, epoch: int) -> None:
        """From any thread. What waited is done by the writer, at its next `retire` or `reap`."""
        with self._lock:
            self._pinned[epoch] -= 1
            if not self._pinned[epoch]:
                del self._pinned[epoch]

    def retire(self, action: Callable[[], None], size: int = 0) -> None:
        """Writer only: `action` when no reader of today is left. size: bytes that count as limbo until then."""
        with self._lock:
            self._waiting.append((self._now, size, action))
            self._now += 1
        self.limbo += size
        self.reap()

    def reap(self) -> None:
        """Writer only: does what no reader stands against any more."""
        if not self._waiting:
            return
        with self._lock:
            oldest = min(self._pinned, default=self._now)
        while self._waiting and self._waiting[0][0] < oldest:
            _, size, action = self._waiting.popleft()
            self.limbo -= size
            action()
