"""Tiles and series go: by selector and time, by retention, by the memory cap. Writer only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .arena import BINS, ROW_BYTES
from .policy import Busy, Marks, Stock, cut_off, decide, is_busy
from .registry import Group, Host, HostKey, Registry, Tile
from .tiles import SHIFT, Tiles

Selector = Sequence[str]
"""cluster, host, level 3, level 4; shorter = all below; () = the whole store."""
SLACK = 64
"""Of the cap, this part is freed at once when there is no room, so that not every new tile searches for one."""


def tile_begin(number: int, frequency: int) -> int:
    """A time that no bin of the tile begins before, whatever the phase."""
    return (number << SHIFT) * frequency


def tile_end(number: int, frequency: int) -> int:
    """A time at which every bin of the tile has ended, whatever the phase."""
    return ((number + 1) << SHIFT) * frequency + frequency


class Freeing:
    def __init__(self, registry: Registry, tiles: Tiles) -> None:
        self.registry = registry
        self.tiles = tiles
        self.busy: Busy | None = {}
        self.marks: Marks | None = None
        self.removed: list[Host] = []
        self._unsettled: set[int] = set()

    def free(self, selectors: Sequence[Selector], before: int) -> int:
        """See `Engine.free`."""
        count = 0
        for selector in selectors:
            for host in list(self._hosts(selector)):
                count += self._free_host(host, tuple(selector[2:]), before)
        return count

    def retain(self, now: int, retention: int) -> None:
        for host in list(self.registry.hosts()):
            before = cut_off(host.key, now, retention, self.busy)
            if before is not None:
                self._free_host(host, (), before if self.marks is None else min(before, self.marks.archived(host.key)))

    def fit(self) -> None:
        """Down to the cap."""
        if self.tiles.cap and self.tiles.bytes > self.tiles.cap:
            self._drop(self.tiles.bytes - self.tiles.cap, self.stocks())
        self.settle()

    def make_room(self, need: int, group: Group, number: int) -> bool:
        """For a tile about to be taken: tiles that ended before it may go, and for a host with a running job any of a host without."""
        cap = self.tiles.cap or self.tiles.arena.values.nbytes
        over = self.tiles.bytes - self.tiles.epochs.limbo + need - cap
        begin = tile_begin(number, group.frequency)
        first = is_busy(group.host.key, self.busy or {})
        may = (s for s in self.stocks() if s.end <= begin or (first and not is_busy(s.host, self.busy or {})))
        self._drop(max(over, 0) + cap // SLACK, may)
        return self.tiles.bytes + need <= cap

    def settle(self) -> None:
        """After tiles were dropped in the midst of a batch: what holds nothing leaves the tree."""
        if not self._unsettled:
            return
        for index in sorted(self._unsettled):
            group = self.registry.group_of[index]
            if group is not None:
                self.tiles.settle(group)
                self._remove_if_empty(group.host)
        self._unsettled.clear()

    def stocks(self) -> Iterator[Stock]:
        """All tiles that may go: with an archive, those that stand in it."""
        for host in self.registry.hosts():
            until = None if self.marks is None else self.marks.archived(host.key)
            for group in host.groups.values():
                for number, tile in group.tiles.items():
                    end = tile_end(number, group.frequency)
                    if until is None or end <= until:
                        yield Stock(host.key, group.index, number, end, tile.rows * ROW_BYTES)

    def _drop(self, over: int, stocks: Iterable[Stock]) -> None:
        for stock in decide(over, stocks, self.busy):
            group = self.registry.group_of[stock.group]
            assert group is not None
            self.tiles.drop(group, stock.tile)
            self._unsettled.add(stock.group)

    def _hosts(self, selector: Selector) -> Iterator[Host]:
        if len(selector) >= 2:
            host = self.registry.host(HostKey(selector[0], selector[1]))
            return iter([host] if host is not None else [])
        if selector:
            return iter(list(self.registry.clusters.get(selector[0], {}).values()))
        return self.registry.hosts()

    def _free_host(self, host: Host, levels: tuple[str, ...], before: int) -> int:
        count = 0
        for group in list(host.groups.values()):
            old = [number for number in group.tiles if tile_end(number, group.frequency) <= before]
            if old:
                rows = self._rows(group, levels)
                count += sum(self._clear(group, number, rows) for number in old)
                self.tiles.settle(group)
        self._remove_if_empty(host)
        return count

    def _rows(self, group: Group, levels: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Rows at and below a level; None: all."""
        if not levels:
            return None
        paths = [self.registry.key(slot).levels for slot in group.slots]
        return np.array([row for row, path in enumerate(paths) if path[: len(levels)] == levels], np.int64)

    def _clear(self, group: Group, number: int, rows: NDArray[np.int64] | None) -> int:
        """Takes rows out of a tile, and the tile when nothing is left in it. Returns how many of them had a value."""
        tile: Tile = group.tiles[number]
        matrix = self.tiles.matrix(tile)
        held: NDArray[np.bool_] = np.array(~np.isnan(matrix).all(axis=1))
        if rows is None:
            self.tiles.drop(group, number)
            return int(held.sum())
        rows = rows[rows < tile.rows]
        count = int(held[rows].sum())
        matrix[rows] = np.nan
        held[rows] = False
        if not held.any():
            self.tiles.drop(group, number)
        return count

    def _remove_if_empty(self, host: Host) -> None:
        if self.registry.host(host.key) is host and self.tiles.remove_if_empty(host):
            self.removed.append(host)


assert 1 << SHIFT == BINS
