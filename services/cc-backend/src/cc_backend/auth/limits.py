"""How often one may fail to log in: a bucket of tries per (address, username) that fills again slowly."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST: Final = 5
REFILL: Final = 180.0
"""Seconds for one more try."""
MAX_BUCKETS: Final = 50_000
MAX_NAME: Final = 255
"""Characters of a name that count: no account has more, and buckets stay small."""


class LoginLimit:
    """Only failures count. Bounded: the bucket that was longest unused makes room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # → (tries left, as of)

    def allows(self, address: str, username: str) -> bool:
        return self._left(_key(address, username)) >= 1

    def failed(self, address: str, username: str) -> None:
        key = _key(address, username)
        self._buckets[key] = self._left(key) - 1, self._clock()
        self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)

    def succeeded(self, address: str, username: str) -> None:
        """The right password gives the try back."""
        key = _key(address, username)
        if key in self._buckets:
            self._buckets[key] = self._left(key) + 1, self._clock()

    def _left(self, key: tuple[str, str]) -> float:
        left, since = self._buckets.get(key, (float(BURST), 0.0))
        return min(float(BURST), left + max(0.0, self._clock() - since) / REFILL)


def _key(address: str, username: str) -> tuple[str, str]:
    return address, username[:MAX_NAME]
