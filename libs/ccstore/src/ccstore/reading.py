"""Bins out of tiles: one series with its generations, or many made one. float32 in, sums in float64, float32 out.

A time t lies in column (t - phase) // f of a series, so series that differ in phase differ by at most one column: they are summed per class of
equal first column, normally one class for a whole host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arena import BINS
from .registry import Group, Series

SHIFT = 6
Rows = slice | NDArray[np.int64]


class Span(NamedTuple):
    """Values at from_, from_ + frequency, …; to = from_ + frequency * len(values) (metric-store 1.4)."""

    from_: int
    to: int
    frequency: int
    values: NDArray[np.float32]


class Memory:
    """What a reader holds on to: arrays as they were when its epoch began."""

    def __init__(self, slots: NDArray[Any], groups: Sequence[Group | None], values: NDArray[np.float32]) -> None:
        self.slots = slots
        self.groups = groups
        self.values = values

    def group(self, index: int) -> Group:
        group = self.groups[index]
        assert group is not None
        return group


class Held(NamedTuple):
    """Copies of the slots of some series that hold something: the writer may go on. owner: number of the series each belongs to, from 0
    ascending without holes; generations of one series stand oldest first."""

    entries: NDArray[Any]
    owner: NDArray[np.int64]
    series: int

    def of(self, number: int) -> NDArray[Any]:
        mine: NDArray[Any] = self.entries[self.owner == number]
        return mine


def held(memory: Memory, found: Sequence[Series]) -> Held:
    """Series without a value, or newer than this reader, are left out."""
    pairs = [(i, slot) for i, series in enumerate(found) for slot in list(series.slots) if slot < memory.slots.size]
    entries = memory.slots[[slot for _, slot in pairs]]
    there = entries["first"] <= entries["last"]
    numbers = np.array([i for i, _ in pairs], np.int64)[there]
    owner = np.cumsum(np.diff(numbers, prepend=numbers[:1]) > 0, dtype=np.int64)
    return Held(entries[there], owner, int(owner[-1]) + 1 if owner.size else 0)


def read_one(memory: Memory, entries: NDArray[Any], from_: int, to: int) -> Span:
    """The values of one series, by its generations."""
    frequency, phase = int(entries["frequency"][-1]), int(entries["phase"][-1])
    first, last = _extent(entries, frequency, phase)
    begin = max(from_, first * frequency + phase + frequency // 2)
    bin_ = (begin - phase) // frequency
    count = max(0, min(-(-(to - begin) // frequency), last - bin_ + 1))
    return Span(begin, begin + count * frequency, frequency, _composed(memory, entries, frequency, phase, bin_, count))


def _extent(entries: NDArray[Any], frequency: int, phase: int) -> tuple[int, int]:
    """First and last bin of all generations, on one grid."""
    middle = entries["phase"] + entries["frequency"] // 2
    first = (entries["first"] * entries["frequency"] + middle - phase) // frequency
    last = (entries["last"] * entries["frequency"] + middle - phase) // frequency
    return int(first.min()), int(last.max())


def _composed(memory: Memory, entries: NDArray[Any], frequency: int, phase: int, bin_: int, count: int) -> NDArray[np.float32]:
    """Generations laid over each other on one grid: the newer has precedence, within one the last value of a bin."""
    out = np.full(count, np.nan, np.float32)
    for entry in entries if count else ():
        own, shift = int(entry["frequency"]), int(entry["phase"])
        group, row = memory.group(int(entry["group"])), np.array([entry["row"]], np.int64)
        if (own, shift) == (frequency, phase):
            values = gather(memory, group, row, bin_, count)[0]
            columns = np.arange(count)
        else:
            middle = shift + own // 2
            start = max((bin_ * frequency + phase - middle) // own, int(entry["first"]))
            stop = min(((bin_ + count) * frequency + phase - middle) // own + 1, int(entry["last"]) + 1)
            values = gather(memory, group, row, start, max(stop - start, 0))[0]
            columns = (np.arange(start, start + values.size) * own + middle - phase) // frequency - bin_
        there = ~np.isnan(values) & (columns >= 0) & (columns < count)
        out[columns[there]] = values[there]
    return out


def aggregated(memory: Memory, found: Held, from_: int, to: int, *, mean: bool) -> Span:
    """Sum or mean per bin, from the earliest to the latest series that has a value in the range.

    NaN where a contributing series has none. Series without a value in the range do not contribute (metric-store 1.5, ours)."""
    newest = found.entries[np.searchsorted(found.owner, np.arange(found.series), side="right") - 1]
    frequency = int(newest["frequency"][0])
    if found.entries.size == found.series and (newest["frequency"] == frequency).all():
        first, last, phase = newest["first"], newest["last"], newest["phase"]
    else:
        phase = np.where(newest["frequency"] == frequency, newest["phase"], newest["phase"][0])
        extents = [_extent(found.of(i), frequency, int(phase[i])) for i in range(found.series)]
        first, last = np.array(extents, np.int64).T
    begins = np.maximum(from_, first * frequency + phase + frequency // 2)
    bins = (begins - phase) // frequency
    counts = np.minimum(-(-(to - begins) // frequency), last - bins + 1)
    inside = np.flatnonzero(counts > 0)
    if not inside.size:
        return Span(int(begins[0]), int(begins[0]), frequency, np.empty(0, np.float32))
    begin = int(begins[inside].min())
    columns = (begin - phase) // frequency
    bins_asked = -(-(to - begin) // frequency)
    grid = _Grid(frequency, phase, columns, min(int((bins + counts - columns)[inside].max()), bins_asked))
    total = _total(memory, found, inside, grid)
    if inside.size > 1 and np.isnan(total).all():
        loud = np.array([i for i in inside.tolist() if not np.isnan(_on_grid(memory, found, i, grid)).all()], np.int64)
        if 0 < loud.size < inside.size:
            return aggregated(memory, _subset(found, loud), from_, to, mean=mean)
    if mean:
        total *= 1 / inside.size
    return Span(begin, begin + grid.bins * frequency, frequency, total.astype(np.float32))


class _Grid(NamedTuple):
    """Common bins: of each series its phase and its bin of the first one."""

    frequency: int
    phase: NDArray[np.int64]
    columns: NDArray[np.int64]
    bins: int


def _subset(found: Held, numbers: NDArray[np.int64]) -> Held:
    picked = np.isin(found.owner, numbers)
    return Held(found.entries[picked], np.searchsorted(numbers, found.owner[picked]), numbers.size)


def _on_grid(memory: Memory, found: Held, number: int, grid: _Grid) -> NDArray[np.float32]:
    return _composed(memory, found.of(number), grid.frequency, int(grid.phase[number]), int(grid.columns[number]), grid.bins)


def _total(memory: Memory, found: Held, inside: NDArray[np.int64], grid: _Grid) -> NDArray[np.float64]:
    """Sum of the series inside; those with one generation on the grid's frequency are summed per group and first column."""
    total = np.zeros(grid.bins)
    generations = np.bincount(found.owner, minlength=found.series)
    counted = np.zeros(found.series, bool)
    counted[inside] = True
    plain = (generations[found.owner] == 1) & (found.entries["frequency"] == grid.frequency) & counted[found.owner]
    counted[found.owner[plain]] = False
    for i in np.flatnonzero(counted).tolist():
        total += _on_grid(memory, found, i, grid)
    entries, column = found.entries[plain], grid.columns[found.owner[plain]]
    for group, first in sorted(set(zip(entries["group"].tolist(), column.tolist(), strict=True))):
        rows = entries["row"][(entries["group"] == group) & (column == first)].astype(np.int64)
        add_rows(memory, memory.group(group), rows, first, total)
    return total


# ---- tiles


def _pieces(memory: Memory, group: Group, bin_: int, count: int) -> Iterator[tuple[NDArray[np.float32], slice, slice]]:
    """(tile as [row][64], its columns, where they belong) of the tiles that exist in `count` bins from `bin_`, ascending."""
    low, high = bin_ >> SHIFT, (bin_ + count - 1) >> SHIFT
    tiles = group.tiles
    numbers = range(low, high + 1) if high - low < len(tiles) else sorted(n for n in list(tiles) if low <= n <= high)
    for number in numbers:
        tile = tiles.get(number)
        if tile is None:
            continue
        start, stop = max(bin_, number << SHIFT), min(bin_ + count, (number + 1) << SHIFT)
        matrix = memory.values[tile.base : tile.base + tile.rows * BINS].reshape(tile.rows, BINS)
        column = start - (number << SHIFT)
        yield matrix, slice(column, column + stop - start), slice(start - bin_, stop - bin_)


def as_slice(rows: NDArray[np.int64]) -> Rows:
    """Rows in even steps as a slice: no copy when they are read."""
    if rows.size == 1:
        return slice(int(rows[0]), int(rows[0]) + 1)
    step = int(rows[1] - rows[0])
    if step > 0 and (np.diff(rows) == step).all():
        return slice(int(rows[0]), int(rows[-1]) + 1, step)
    return rows


def gather(memory: Memory, group: Group, rows: NDArray[np.int64], bin_: int, count: int) -> NDArray[np.float32]:
    """values[row][count] from `bin_` on; NaN where there is no tile, or one from before the row."""
    out = np.full((rows.size, count), np.nan, np.float32)
    if count > 0:
        for matrix, columns, place in _pieces(memory, group, bin_, count):
            there = rows < matrix.shape[0]
            out[there, place] = matrix[rows[there], columns]
    return out


def add_rows(memory: Memory, group: Group, rows: NDArray[np.int64], bin_: int, total: NDArray[np.float64]) -> None:
    """Adds the sum of rows to `total`; NaN where one of them has no value."""
    rows.sort()
    picked = as_slice(rows)
    sums = np.full(total.size, np.nan)
    for matrix, columns, place in _pieces(memory, group, bin_, total.size):
        if rows[-1] < matrix.shape[0]:
            sums[place] = matrix[picked, columns].sum(axis=0, dtype=np.float64)
    total += sums
