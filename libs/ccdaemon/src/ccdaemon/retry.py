"""How long to wait before the next try: doubling with jitter, bounded."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next()` gives seconds: `first`, doubled each time up to `most`, each scattered between half and whole.

    The scatter keeps a thousand nodes from coming back at once. A peer's own `retry_after` wins where it is longer.
    """

    def __init__(self, first: float = 0.5, most: float = 60.0, *, scatter: Callable[[], float] = random.random) -> None:
        self._first = first
        self._most = most
        self._scatter = scatter
        self._base = first
        self.tries = 0

    def next(self, retry_after: float | None = None) -> float:
        base, self._base = self._base, min(self._base * 2, self._most)
        self.tries += 1
        wait = base * (0.5 + 0.5 * self._scatter())
        return max(wait, retry_after) if retry_after is not None else wait

    def reset(self) -> None:
        """After a success."""
        self._base = self._first
        self.tries = 0
