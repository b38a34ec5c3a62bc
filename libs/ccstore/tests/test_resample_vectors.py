"""Messages 17 and metric-store 1.7."""

from __future__ import annotations

import numpy as np
import pytest
from ccstore.resample import lttb, resample
from hypothesis import given
from hypothesis import strategies as st

N = float("nan")
PLAIN = [0, 1, 5, 2, 8, 3, 9, 1, 4, 7, 2, 6]
GAP = [0, 1, 5, N, 8, 3, 9, 1, 4, 7, 2, 6]
SQUARES = [i * i % 17 for i in range(20)]


@pytest.mark.parametrize(
    ("data", "old", "new", "expected"),
    [
        (PLAIN, 10, 20, [0, 5, 8, 1, 7, 6]),
        (PLAIN, 10, 30, [0, 8, 1, 6]),
        (PLAIN, 10, 60, [0, 6]),
        (GAP, 10, 20, [0, 5, N, 1, 7, 6]),
        (GAP, 10, 30, [0, N, 7, 6]),
        (SQUARES, 1, 2, [0, 1, 16, 2, 15, 2, 16, 4, 1, 4]),
        (SQUARES, 1, 4, [0, 16, 2, 16, 4]),
        (SQUARES, 1, 5, [0, 16, 16, 4]),
    ],
)
def test_lttb_vectors(data: list[float], old: int, new: int, expected: list[float]) -> None:
    values, frequency = resample(np.array(data, np.float32), old, new, minimum_points=3)
    np.testing.assert_array_equal(values, np.array(expected, np.float32))
    assert frequency == new


def test_three_points_pitfall() -> None:
    """The reference has no mean point for the only bucket and takes the value before the last (2); ours aims at the last value."""
    values, _ = resample(np.array(PLAIN, np.float32), 10, 40, minimum_points=3)
    assert values.tolist() == [0, 8, 6]


@pytest.mark.parametrize(("new", "minimum"), [(130, 3), (0, 3), (10, 3), (5, 3), (-20, 3), (20, 13)])
def test_left_alone(new: int, minimum: int) -> None:
    values, frequency = resample(np.array(PLAIN, np.float32), 10, new, minimum_points=minimum)
    assert values.tolist() == PLAIN
    assert frequency == 10


def test_no_multiple_is_refused_even_for_short_data() -> None:
    with pytest.raises(ValueError, match=r"^new sampling frequency \(90\) must be a multiple of old frequency \(60\)$"):
        resample(np.zeros(1, np.float32), 60, 90)


def test_other_algorithms() -> None:
    data = np.array([1, 2, 3, 4, 5, 6, 7], np.float32)
    assert resample(data, 1, 2, algorithm="average", minimum_points=1)[0].tolist() == [1.5, 3.5, 5.5]
    assert resample(data, 1, 2, algorithm="simple", minimum_points=1)[0].tolist() == [1, 3, 5]
    gaps = np.array([N, 2, N, N], np.float32)
    np.testing.assert_array_equal(resample(gaps, 1, 2, algorithm="average", minimum_points=1)[0], np.array([2, N], np.float32))
    with pytest.raises(ValueError, match="^unknown resampler algorithm: wavelet$"):
        resample(data, 1, 2, algorithm="wavelet")


def _by_the_book(data: list[float], points: int) -> list[float]:
    """The text of the specification, one value at a time."""
    n, a, low, out = len(data), 0, 1, [data[0]]
    size = (n - 2) / (points - 2)
    mid = int(size) + 1
    for i in range(points - 2):
        high = int((i + 2) * size) + 1
        if high >= n - 1:
            high = n - 2
        behind = range(mid, high + 1) or [n - 1]
        cx, cy = sum(behind) / len(behind), sum(data[k] for k in behind) / len(behind)
        best, chosen = -1.0, low
        for j in range(low, mid):
            area = abs((a - j) * (cy - data[a]) - (a - cx) * (data[j] - data[a])) / 2
            if area > best or area != area:
                best, chosen = area, j
        out.append(data[chosen])
        a, low, mid = chosen, mid, high
    return [*out, data[-1]]


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.integers(-9, 9) | st.just(N), min_size=40, max_size=40), min_size=k, max_size=k)
    ),
    st.sampled_from([2, 3, 4, 5, 7, 13]),
)
def test_many_series_at_once_are_each_by_the_book(rows: list[list[float]], step: int) -> None:
    values = lttb(np.array(rows, np.float32), step)
    for row, got in zip(rows, values, strict=True):
        np.testing.assert_array_equal(got, np.array(_by_the_book(row, 40 // step), np.float32))
