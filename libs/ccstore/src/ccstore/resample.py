"""Fewer points for a plot: largest triangle three buckets, average, simple (messages 17, metric-store 1.7). Many series at once."""

from __future__ import annotations

from collections.abc import Callable
from math import floor

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


def step_of(count: int, old: int, new: int, minimum_points: int) -> int:
    """Native values for one resampled; 0 = leave the data as it is. ValueError: `new` is no multiple of `old`."""
    if old <= 0 or new <= old:
        return 0
    if new % old:
        raise ValueError(f"new sampling frequency ({new}) must be a multiple of old frequency ({old})")
    step = new // old
    points = count // step
    return 0 if points == 0 or count < minimum_points or points >= count else step


def resample(values: Values, old: int, new: int, *, algorithm: str = "", minimum_points: int = 1000) -> tuple[Values, int]:
    """values[..., n] with one value per `old` seconds → (values[..., n // step], `new`), or unchanged with `old`.

    ValueError: `new` is no multiple of `old`, or the algorithm is none of "", lttb, average, simple."""
    methods: dict[str, Callable[[Values, int], Values]] = {"": lttb, "lttb": lttb, "average": average, "simple": simple}
    if algorithm not in methods:
        raise ValueError(f"unknown resampler algorithm: {algorithm}")
    step = step_of(values.shape[-1], old, new, minimum_points)
    return (methods[algorithm](values, step), new) if step else (values, old)


def average(values: Values, step: int) -> Values:
    """Mean of the values that are there in each full group of `step`; NaN where none is."""
    groups = values[..., : values.shape[-1] // step * step].reshape(*values.shape[:-1], -1, step)
    there = ~np.isnan(groups)
    total = np.where(there, groups, 0.0).sum(axis=-1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        mean: Values = (total / there.sum(axis=-1)).astype(np.float32)
    return mean


def simple(values: Values, step: int) -> Values:
    """Every step-th value."""
    return values[..., : values.shape[-1] // step * step : step]


def lttb(values: Values, step: int) -> Values:
    """The n // step points that keep the shape of a curve (one point asked: the first and the last)."""
    rows = values.reshape(-1, values.shape[-1])
    count = values.shape[-1]
    points = count // step
    picks = np.zeros((rows.shape[0], max(points, 2)), np.int64)
    picks[:, -1] = count - 1
    if points > 2:
        _pick(rows.astype(np.float64), picks)
    return np.take_along_axis(rows, picks, axis=1).reshape(*values.shape[:-1], -1)


def _pick(rows: NDArray[np.float64], picks: NDArray[np.int64]) -> None:
    """Fills picks[:, 1:-1]. Per bucket the candidate with the largest triangle between the pick before and the mean point behind.

    A NaN area beats every number and the last NaN wins, so gaps survive. The reference has no mean point for three points out of a series and
    then takes the last candidate; here the last value is that point."""
    count, points = rows.shape[1], picks.shape[1]
    size = (count - 2) / (points - 2)
    every = np.arange(rows.shape[0])
    low, middle = 1, floor(size) + 1
    for i in range(points - 2):
        high = floor((i + 2) * size) + 1
        high = count - 2 if high >= count - 1 else high
        behind = slice(middle, high + 1) if middle <= high else slice(count - 1, count)
        mean_x = (behind.start + behind.stop - 1) / 2
        mean_y = rows[:, behind].sum(axis=1) / (behind.stop - behind.start)
        x = picks[:, i]
        y = rows[every, x]
        candidates = np.arange(low, middle)
        areas = np.abs((x[:, None] - candidates) * (mean_y - y)[:, None] - (x - mean_x)[:, None] * (rows[:, low:middle] - y[:, None]))
        missing = np.isnan(areas)
        last_missing = areas.shape[1] - 1 - missing[:, ::-1].argmax(axis=1)
        best = np.where(missing, -1.0, areas).argmax(axis=1)
        picks[:, i + 1] = low + np.where(missing.any(axis=1), last_missing, best)
        low, middle = middle, high
