"""Key texts that were seen on the wire ⇄ slots: the table in which the kernel looks lines up.

One series may have several texts (order of tags, further tags). A text is dead when its slot is; the table is built anew when many are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import KEY, MAX_PROBES

DEAD = -1
SMALLEST = 1024


class Keys:
    """Arrays as `kernels.scatter` wants them; replaced when they grow."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all texts: the next line of each series is looked up by name."""
        self.keys: NDArray[Any] = np.zeros(SMALLEST, KEY)
        self.text: NDArray[np.uint8] = np.zeros(SMALLEST * 64, np.uint8)
        self.table: NDArray[np.int32] = np.zeros(SMALLEST * 4, np.int32)
        self.count = 0
        self._used = 0

    def add(self, text: bytes, hashed: int, default: int, slot: int, *, limit: int) -> None:
        """A new text of a slot. Beyond `limit` texts everything is forgotten first, so that changing tags cannot fill memory."""
        if self.count >= limit:
            self.clear()
        if self.count >= self.keys.size:
            self.keys = np.concatenate([self.keys, np.zeros_like(self.keys)])
            self.table = np.zeros(self.table.size * 2, np.int32)
            self._enter(np.arange(self.count))
        while self._used + len(text) > self.text.size:
            self.text = np.concatenate([self.text, np.zeros_like(self.text)])
        index = self.count
        self.text[self._used : self._used + len(text)] = np.frombuffer(text, np.uint8)
        self.keys[index] = (hashed, self._used, len(text), slot, -1, default)
        self.count += 1
        self._used += len(text)
        place = (hashed ^ (hashed >> 15)) & (self.table.size - 1)
        for _ in range(MAX_PROBES):
            if not self.table[place]:
                self.table[place] = index + 1
                return
            place = (place + 1) & (self.table.size - 1)

    def _enter(self, indices: NDArray[np.int64]) -> None:
        """Many at once, as `add` does it for one: each into the first free place on its way; a text that finds none within the kernel's probes stays with the slow path."""
        hashed = self.keys["hash"][indices]
        mask = self.table.size - 1
        place = (hashed ^ (hashed >> 15)) & mask
        for _ in range(MAX_PROBES):
            free = self.table[place] == 0
            self.table[place[free]] = indices[free] + 1  # of several that want one place, one gets it; the others see it taken
            left = self.table[place] != indices + 1
            indices, place = indices[left], (place[left] + 1) & mask
            if not indices.size:
                return

    def point(self, old: int, new: int) -> None:
        """Texts of one slot now mean another (the next generation of the series)."""
        live = self.keys["slot"][: self.count]
        live[live == old] = new

    def kill(self, slots: NDArray[np.int64]) -> None:
        """These slots are not fed any more."""
        live = self.keys["slot"][: self.count]
        live[np.isin(live, slots)] = DEAD
        if np.count_nonzero(live == DEAD) * 2 > max(self.count, SMALLEST):
            self.clear()
