"""Decides what goes when it is old or memory is short (metric-store 5, design T6). Pure: no clock, no engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .registry import HostKey

Busy = Mapping[str, frozenset[str]]
"""cluster → hosts of running jobs."""


BEGIN_OF_TIME = -(2**62)


class Marks:
    """Up to when each host's data stands in the archive (cleanup mode `archive`). Belongs to the engine's thread.

    A run closes its span *before* it looks at memory: a sample that came in behind its back would be neither archived nor kept."""

    def __init__(self, archived: Mapping[HostKey, int]) -> None:
        self._archived = dict(archived)
        self._closed = dict(archived)
        self.newest = max(archived.values(), default=BEGIN_OF_TIME)
        """No host is closed behind this."""

    def archived(self, host: HostKey) -> int:
        """Data before this may go."""
        return self._archived.get(host, BEGIN_OF_TIME)

    def closed(self, host: HostKey) -> int:
        """Samples before this come too late."""
        return self._closed.get(host, BEGIN_OF_TIME)

    def last(self) -> int | None:
        """The newest cut-off; None: nothing is archived."""
        return max(self._archived.values(), default=None)

    def begin(self, hosts: Iterable[HostKey], cutoff: int) -> None:
        for host in hosts:
            self._closed[host] = max(self.closed(host), cutoff)
        self.newest = max(self.newest, cutoff)

    def done(self, hosts: Iterable[HostKey], cutoff: int) -> None:
        for host in hosts:
            self._archived[host] = max(self.archived(host), cutoff)

    def give_up(self, hosts: Iterable[HostKey]) -> None:
        """The run failed: its span takes late samples again."""
        for host in hosts:
            self._closed[host] = self.archived(host)


class Usage(NamedTuple):
    """Exact bytes of the metric buffers. limbo: freed, but a reader may still look at them (counts); oldest: begin of the oldest tile;
    epochs: readers and views that are open."""

    tiles: int
    limbo: int
    sealed: int
    series: int
    hosts: int
    oldest: int | None
    epochs: int

    @property
    def bytes(self) -> int:
        return self.tiles + self.limbo + self.sealed


class Stock(NamedTuple):
    """One tile that could go: of a group (its number), and the time at which it ends."""

    host: HostKey
    group: int
    tile: int
    end: int
    bytes: int


def is_busy(host: HostKey, busy: Busy) -> bool:
    return host.host in busy.get(host.cluster, ())


def cut_off(host: HostKey, now: int, retention: int, busy: Busy | None) -> int | None:
    """Before which time a host's data goes in a retention round; None = it stays. busy None = could not be asked: then twice the retention."""
    if retention <= 0:
        return None
    if busy is None:
        return now - 2 * retention
    return None if is_busy(host, busy) else now - retention


def decide(over: int, stocks: Iterable[Stock], busy: Busy | None) -> list[Stock]:
    """The tiles to free for `over` bytes: hosts without a running job first, the oldest first; fewer bytes when there are no more."""
    chosen: list[Stock] = []
    for stock in sorted(stocks, key=lambda s: (is_busy(s.host, busy or {}), s.end, s.host)):
        if over <= 0:
            break
        chosen.append(stock)
        over -= stock.bytes
    return chosen
