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

    def holds(self, series: Series) -> bool:
        """Whether any generation holds a value (a series newer than this reader holds none)."""
        return bool(self.generations(series))

    def generations(self, series: Series) -> list[int]:
        """Slots that hold something, oldest generation first."""
        return [s for s in list(series.slots) if s < self.slots.size and self.slots["first"][s] <= self.slots["last"][s]]

    def group(self, index: int) -> Group:
        group = self.groups[index]
        assert group is not None
        return group


def read_one(memory: Memory, series: Series, from_: int, to: int) -> Span:
    """The values of a series that holds something."""
    slots = memory.generations(series)
    grid = memory.slots[slots[-1]]
    frequency, phase = int(grid["frequency"]), int(grid["phase"])
    first, last = _extent(memory, slots, frequency, phase)
    begin, bin_, count = _clamped(first, last, frequency, phase, from_, to)
    values = _composed(memory, slots, frequency, phase, bin_, count)
    return Span(begin, begin + count * frequency, frequency, values)


def _clamped(first: int, last: int, frequency: int, phase: int, from_: int, to: int) -> tuple[int, int, int]:
    """(actual from, its bin, number of bins) of a range in a series with these first and last bins."""
    begin = max(from_, first * frequency + phase + frequency // 2)
    bin_ = (begin - phase) // frequency
    return begin, bin_, max(0, min(-(-(to - begin) // frequency), last - bin_ + 1))


def _extent(memory: Memory, slots: Sequence[int], frequency: int, phase: int) -> tuple[int, int]:
    """First and last bin of all generations, on the grid of the newest."""
    entries = memory.slots[list(slots)]
    middle = entries["phase"] + entries["frequency"] // 2
    first = (entries["first"] * entries["frequency"] + middle - phase) // frequency
    last = (entries["last"] * entries["frequency"] + middle - phase) // frequency
    return int(first.min()), int(last.max())


def _composed(memory: Memory, slots: Sequence[int], frequency: int, phase: int, bin_: int, count: int) -> NDArray[np.float32]:
    """Generations laid over each other on one grid: the newer has precedence, within one the last value of a bin."""
    out = np.full(count, np.nan, np.float32)
    for slot in slots if count else ():
        entry = memory.slots[slot]
        own, shift = int(entry["frequency"]), int(entry["phase"])
        group, row = memory.group(entry["group"]), int(entry["row"])
        if (own, shift) == (frequency, phase):
            values = gather(memory, group, np.array([row]), bin_, count)[0]
            columns = np.arange(count)
        else:
            middle = shift + own // 2
            start = (bin_ * frequency + phase - middle) // own
            stop = ((bin_ + count) * frequency + phase - middle) // own + 1
            start, stop = max(start, int(entry["first"])), min(stop, int(entry["last"]) + 1)
            if start >= stop:
                continue
            values = gather(memory, group, np.array([row]), start, stop - start)[0]
            columns = (np.arange(start, stop) * own + middle - phase) // frequency - bin_
        there = ~np.isnan(values) & (columns >= 0) & (columns < count)
        out[columns[there]] = values[there]
    return out


def aggregated(memory: Memory, found: Sequence[Series], from_: int, to: int, *, mean: bool) -> Span:
    """Sum or mean per bin of series that hold something, from the earliest to the latest that has a value in the range.

    NaN where a contributing series has none. Series without a value in the range do not contribute (metric-store 1.5, ours)."""
    generations = [memory.generations(series) for series in found]
    newest = memory.slots[[slots[-1] for slots in generations]]
    frequency = int(newest["frequency"][0])
    if all(len(slots) == 1 for slots in generations) and (newest["frequency"] == frequency).all():
        first, last, phase = newest["first"], newest["last"], newest["phase"]
    else:
        phase = np.where(newest["frequency"] == frequency, newest["phase"], newest["phase"][0])
        extents = [_extent(memory, slots, frequency, int(p)) for slots, p in zip(generations, phase, strict=True)]
        first, last = np.array(extents, np.int64).T
    begins = np.maximum(from_, first * frequency + phase + frequency // 2)
    counts = np.minimum(-(-(to - begins) // frequency), last - (begins - phase) // frequency + 1)
    inside = np.flatnonzero(counts > 0)
    if not inside.size:
        return Span(int(begins[0]), int(begins[0]), frequency, np.empty(0, np.float32))
    begin = int(begins[inside].min())
    columns = (begin - phase) // frequency
    count = int(((begins - phase) // frequency + counts - columns)[inside].max())
    total = _total(memory, generations, inside, frequency, phase, columns, count)
    if np.isnan(total).all():
        silent = _without_value(memory, generations, inside, frequency, phase, columns, count)
        if 0 < silent.size < inside.size:
            return aggregated(memory, [found[i] for i in np.setdiff1d(inside, silent)], from_, to, mean=mean)
    if mean:
        total *= 1 / inside.size
    return Span(begin, begin + count * frequency, frequency, total.astype(np.float32))


def _total(
    memory: Memory,
    generations: Sequence[Sequence[int]],
    inside: NDArray[np.int64],
    frequency: int,
    phase: NDArray[np.int64],
    columns: NDArray[np.int64],
    count: int,
) -> NDArray[np.float64]:
    total = np.zeros(count)
    plain = np.array([_is_plain(memory, generations[i], frequency) for i in inside.tolist()])
    for i in inside[~plain].tolist():
        total += _composed(memory, generations[i], frequency, int(phase[i]), int(columns[i]), count)
    slots = np.array([generations[i][0] for i in inside[plain].tolist()], np.int64)
    groups = memory.slots["group"][slots]
    column = columns[inside[plain]]
    for group, first in sorted(set(zip(groups.tolist(), column.tolist(), strict=True))):
        rows = memory.slots["row"][slots[(groups == group) & (column == first)]]
        add_rows(memory, memory.group(group), rows.astype(np.int64), first, total)
    return total


def _is_plain(memory: Memory, slots: Sequence[int], frequency: int) -> bool:
    return len(slots) == 1 and int(memory.slots["frequency"][slots[0]]) == frequency


def _without_value(
    memory: Memory,
    generations: Sequence[Sequence[int]],
    inside: NDArray[np.int64],
    frequency: int,
    phase: NDArray[np.int64],
    columns: NDArray[np.int64],
    count: int,
) -> NDArray[np.int64]:
    """Of the series inside, those that have only gaps there."""
    silent = [
        i for i in inside.tolist() if np.isnan(_composed(memory, generations[i], frequency, int(phase[i]), int(columns[i]), count)).all()
    ]
    return np.array(silent, np.int64)


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
