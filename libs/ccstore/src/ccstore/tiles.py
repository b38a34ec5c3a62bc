"""Values into tiles: the one place that takes, grows and frees them, and that keeps first and last bin of each slot.

Bin of a time = (time - phase) // frequency; tile of a bin = bin >> 6; a tile is [row][64] float32 of one group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .arena import BINS, ROW_BYTES, Arena, Epochs, round_rows
from .registry import NO_TILE, NOTHING_FIRST, NOTHING_LAST, Group, Host, Registry, Tile

SHIFT = 6


class NoMemoryForTile(Exception):
    """The cap or the reservation is reached and nothing may go."""


class Tiles:
    """Writer side of all tile memory. `make_room(bytes)` is asked when a tile would exceed `cap`; it says whether there is room now."""

    def __init__(self, registry: Registry, arena: Arena, epochs: Epochs, cap: int) -> None:
        self.registry = registry
        self.arena = arena
        self.epochs = epochs
        self.cap = cap
        self.make_room: Callable[[int, Group, int], bool] = lambda need, group, number: False

    @property
    def bytes(self) -> int:
        """Live tiles and those in limbo: what the arena holds."""
        return self.arena.used

    # ---- tiles

    def matrix(self, tile: Tile) -> NDArray[np.float32]:
        return self.arena.values[tile.base : tile.base + tile.rows * BINS].reshape(tile.rows, BINS)

    def take(self, group: Group, number: int, rows: int) -> Tile:
        """The tile with at least `rows` rows, made or grown when needed. NoMemoryForTile: nothing is changed."""
        tile = group.tiles.get(number)
        if tile is not None and tile.rows >= rows:
            return tile
        grown = round_rows(max(len(group.slots), rows) if tile is None else max(rows, tile.rows * 3 // 2))
        base = self._room(grown, group, number)
        old = group.tiles.get(number)
        if old is not None:
            self.arena.values[base : base + old.rows * BINS] = self.arena.values[old.base : old.base + old.rows * BINS]
        new = group.tiles[number] = Tile(base, grown)
        if old is not None:
            self._rehot(group, number, new)
            self._give(old)
        return new

    def _room(self, rows: int, group: Group, number: int) -> int:
        need = rows * ROW_BYTES
        self.epochs.reap()
        if self.cap and self.arena.used + need > self.cap and not self.make_room(need, group, number):
            raise NoMemoryForTile
        base = self.arena.take(rows)
        if base is None and self.make_room(need, group, number):
            base = self.arena.take(rows)
        if base is None:
            raise NoMemoryForTile
        return base

    def _give(self, tile: Tile) -> None:
        self.epochs.retire(partial(self.arena.give, tile.base, tile.rows), tile.rows * ROW_BYTES)

    def drop(self, group: Group, number: int) -> None:
        """Frees a tile. Slots keep their first and last bin until `settle`."""
        self._rehot(group, number, None)
        self._give(group.tiles.pop(number))

    def heat(self, group: Group, number: int, tile: Tile) -> None:
        """Makes a tile one of the two that the kernel reaches; the older of the two goes."""
        row = self.registry.groups[group.index]
        if number in (row["tile0"], row["tile1"]):
            return self._rehot(group, number, tile)
        which = "0" if row["tile0"] <= row["tile1"] else "1"
        row["tile" + which], row["base" + which], row["rows" + which] = number, tile.base, tile.rows
        return None

    def _rehot(self, group: Group, number: int, tile: Tile | None) -> None:
        row = self.registry.groups[group.index]
        for which in "01":
            if row["tile" + which] == number:
                if tile is None:
                    row["tile" + which] = NO_TILE
                else:
                    row["base" + which], row["rows" + which] = tile.base, tile.rows

    # ---- values

    def put(self, slot: int, bin_: int, value: float) -> None:
        """One value, whatever its tile. NoMemoryForTile: not stored."""
        entry = self.registry.slots[slot]
        group = self.registry.group_of[entry["group"]]
        assert group is not None
        number = bin_ >> SHIFT
        row = int(entry["row"])
        tile = self.take(group, number, row + 1)
        self.heat(group, number, tile)
        self.arena.values[tile.base + row * BINS + (bin_ & (BINS - 1))] = value
        if bin_ < entry["first"]:
            entry["first"] = bin_
        if bin_ > entry["last"]:
            entry["last"] = bin_

    def put_many(self, slots: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Samples in order; the later of one bin wins. NoMemoryForTile: those of tiles without room are not stored, all others are."""
        entries = self.registry.slots[slots]
        bins = (times - entries["phase"]) // entries["frequency"]
        numbers = bins >> SHIFT
        bases = np.full(slots.size, -1, np.int64)
        refused = False
        for pick in _runs_of_pairs(entries["group"], numbers):
            group = self.registry.group_of[int(entries["group"][pick[0]])]
            assert group is not None
            try:
                bases[pick] = self.take(group, int(numbers[pick[0]]), int(entries["row"][pick].max()) + 1).base
            except NoMemoryForTile:
                refused = True
        # a tile that was taken later in the loop may have pushed out one taken before: look again
        for pick in _runs_of_pairs(entries["group"], numbers):
            group = self.registry.group_of[int(entries["group"][pick[0]])]
            tile = group.tiles.get(int(numbers[pick[0]])) if group else None
            bases[pick] = tile.base if tile is not None and bases[pick[0]] >= 0 else -1
        kept = bases >= 0
        index = bases + entries["row"].astype(np.int64) * BINS + (bins & (BINS - 1))
        self.arena.values[index[kept]] = values[kept]
        self._widen(slots[kept], bins[kept])
        if refused:
            raise NoMemoryForTile

    def _widen(self, slots: NDArray[np.int64], bins: NDArray[np.int64]) -> None:
        table = self.registry.slots
        np.minimum.at(table["first"], slots, bins)
        np.maximum.at(table["last"], slots, bins)

    def fill(self, group: Group, slots: NDArray[np.int64], first_bin: int, values: NDArray[np.float32]) -> int:
        """Puts values[slot][bin] where memory has NaN. Returns how many."""
        table = self.registry.slots
        rows = table["row"][slots].astype(np.int64)
        filled = 0
        for start, stop in _cuts(first_bin, values.shape[1]):
            block = values[:, start:stop]
            if np.isnan(block).all():
                continue
            column = (first_bin + start) & (BINS - 1)
            matrix = self.matrix(self.take(group, (first_bin + start) >> SHIFT, int(rows.max()) + 1))
            there = matrix[rows, column : column + block.shape[1]]
            new = np.isnan(there) & ~np.isnan(block)
            matrix[rows, column : column + block.shape[1]] = np.where(new, block, there)
            filled += int(new.sum())
            some = new.any(axis=1)
            bins = first_bin + start + np.arange(block.shape[1])
            self._widen(slots[some], np.where(new, bins, NOTHING_FIRST).min(axis=1)[some])
            self._widen(slots[some], np.where(new, bins, NOTHING_LAST).max(axis=1)[some])
        return filled

    # ---- freeing

    def settle(self, group: Group) -> None:
        """After values of a group went: first and last bin of its slots are those of what is left; series without any leave the tree."""
        slots = np.array(group.slots, np.int64)
        table = self.registry.slots
        table["first"][slots] = self._edge(group, slots.size, newest=False)
        table["last"][slots] = self._edge(group, slots.size, newest=True)
        for slot in slots[table["first"][slots] > table["last"][slots]].tolist():
            series = self.registry.series_of[slot]
            if series is not None and (series.levels, series.metric) not in group.host.retired and self._is_empty(series.slots):
                self.registry.retire(group.host, series)

    def _edge(self, group: Group, rows: int, *, newest: bool) -> NDArray[np.int64]:
        """First (or last) bin of each row that holds a value; tiles are looked at only until every row has one."""
        edge = np.full(rows, NOTHING_LAST if newest else NOTHING_FIRST, np.int64)
        open_ = np.ones(rows, bool)
        for number in sorted(group.tiles, reverse=newest):
            if not open_.any():
                break
            values = self.matrix(group.tiles[number])[:rows]
            held = ~np.isnan(values[:, ::-1] if newest else values)
            some = np.flatnonzero(held.any(axis=1) & open_[: values.shape[0]])
            column = held[some].argmax(axis=1)
            edge[some] = (number << SHIFT) + (BINS - 1 - column if newest else column)
            open_[some] = False
        return edge

    def _is_empty(self, slots: list[int]) -> bool:
        return bool((self.registry.slots["first"][slots] > self.registry.slots["last"][slots]).all())

    def remove_if_empty(self, host: Host) -> bool:
        """Takes a host without series out of the tree, with all its memory. Whether it did."""
        if not host.root.empty:
            return False
        for group in host.groups.values():
            for number in list(group.tiles):
                self.drop(group, number)
        self.registry.remove_host(host)
        self.epochs.retire(partial(self.registry.release, host))
        return True


def _runs_of_pairs(groups: NDArray[np.int32], numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Positions of each distinct (group, tile number)."""
    order = np.lexsort((numbers, groups))
    if not order.size:
        return
    g, n = groups[order], numbers[order]
    yield from np.split(order, np.flatnonzero((g[1:] != g[:-1]) | (n[1:] != n[:-1])) + 1)


def _cuts(first_bin: int, count: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of the parts of `count` bins that lie in one tile each."""
    start = 0
    while start < count:
        stop = min(count, (((first_bin + start) >> SHIFT) + 1 << SHIFT) - first_bin)
        yield start, stop
        start = stop
