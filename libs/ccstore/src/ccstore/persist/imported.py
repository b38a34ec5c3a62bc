"""Files of the reference store in a host's folder, as samples (design T5, metric-store 4.7).

They are read while the host has no snapshot of ours; the first one contains them, and from then on they are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..registry import SeriesKey
from . import reference
from .parts import CURRENT, REFERENCE, is_foreign

FrequencyOf = Callable[[str], int | None]
"""Metric name → seconds between samples; None: not in the list."""
MAX_LEVELS = 2


class JsonSeries(msgspec.Struct):
    frequency: int
    start: int
    data: list[float | None] = []


class JsonLevel(msgspec.Struct, rename={"from_": "from"}):
    """One level of a `.json` checkpoint."""

    metrics: dict[str, JsonSeries] = {}
    children: dict[str, JsonLevel] = {}
    from_: int = 0
    to: int = 0


class Imported(NamedTuple):
    """Row n of `keys` is what `ids` n means; notes: (file, what could not be taken)."""

    keys: list[SeriesKey]
    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    bytes: int
    notes: list[tuple[Path, str]]


class _Gather:
    """Samples of all files; a series keeps the phase of its first sample, whatever the later files begin with."""

    def __init__(self) -> None:
        self.keys: list[SeriesKey] = []
        self.place: dict[tuple[tuple[str, ...], str, int], int] = {}
        self.frequency: dict[tuple[tuple[str, ...], str], int] = {}
        self.ids: list[NDArray[np.int32]] = []
        self.times: list[NDArray[np.int64]] = []
        self.values: list[NDArray[np.float32]] = []

    def add(self, levels: tuple[str, ...], metric: str, frequency: int, times: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        there = ~np.isnan(values)
        if frequency <= 0 or len(levels) > MAX_LEVELS or not there.any():
            return
        times, values = times[there], values[there]
        place = self.place.setdefault((levels, metric, frequency), len(self.keys))
        if place == len(self.keys):
            self.keys.append(SeriesKey(levels, metric, frequency, int(times[0] - frequency // 2) % frequency))
        self.frequency[levels, metric] = frequency
        self.ids.append(np.full(len(times), place, np.int32))
        self.times.append(times)
        self.values.append(values)


def read_imported(folder: Path, since: int, frequency_of: FrequencyOf) -> Imported | None:
    """All that the reference left of a host since a time; None: nothing. A file that cannot be read is told and passed over. OSError."""
    gather = _Gather()
    notes: list[tuple[Path, str]] = []
    size = 0
    for path in _files(folder):
        data = path.read_bytes()
        size += len(data)
        try:
            if path.suffix == ".wal":
                _take_wal(gather, data, since, frequency_of)
            elif path.suffix == ".bin":
                found = reference.read_bin(data)
                if not 0 < found.to < since:
                    _take_bin(gather, found.root, ())
            else:
                level = msgspec.json.decode(data, type=JsonLevel)
                if not 0 < level.to < since:
                    _take_json(gather, level, ())
        except (reference.Broken, msgspec.MsgspecError, ValueError) as e:
            notes.append((path, f"what the reference left is damaged or of another kind, the rest of it is passed over: {e}"))
    if not gather.keys and not notes:
        return None
    return Imported(
        gather.keys, _joined(gather.ids, np.int32), _joined(gather.times, np.int64), _joined(gather.values, np.float32), size, notes
    )


def _joined(arrays: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _files(folder: Path) -> Iterator[Path]:
    """Snapshots by the number in their name, then the log."""
    snapshots = [p for p in folder.glob("*.bin") if is_foreign(p)] + list(folder.glob("*.json"))
    yield from sorted((p for p in snapshots if p.stem.lstrip("-").isdigit()), key=lambda p: int(p.stem))
    for name in (REFERENCE, CURRENT):
        if (folder / name).is_file() and is_foreign(folder / name):
            yield folder / name


def _take_bin(gather: _Gather, level: reference.Level, path: tuple[str, ...]) -> None:
    for metric, series in level.metrics.items():
        times = series.start + np.arange(len(series.values), dtype=np.int64) * series.frequency
        gather.add(path, metric, series.frequency, times, series.values)
    for name, child in level.children.items():
        _take_bin(gather, child, (*path, name))


def _take_json(gather: _Gather, level: JsonLevel, path: tuple[str, ...]) -> None:
    for metric, series in level.metrics.items():
        values = np.array([np.nan if v is None else v for v in series.data], np.float32)
        gather.add(path, metric, series.frequency, series.start + np.arange(len(values), dtype=np.int64) * series.frequency, values)
    for name, child in level.children.items():
        _take_json(gather, child, (*path, name))


def _take_wal(gather: _Gather, data: bytes, since: int, frequency_of: FrequencyOf) -> None:
    """Records do not say how often a metric comes: the list does, else the snapshots."""
    unknown: dict[str, int] = {}
    found: dict[tuple[tuple[str, ...], str], list[tuple[int, float]]] = {}
    broken: reference.Broken | None = None
    try:
        for record in reference.wal_records(data):
            if record.time >= since:
                found.setdefault((record.levels, record.metric), []).append((record.time, record.value))
    except reference.Broken as e:
        broken = e if "magic" in str(e) and not found else None  # a torn end is what a killed process leaves
    for (levels, metric), samples in found.items():
        frequency = frequency_of(metric) or gather.frequency.get((levels, metric))
        if frequency is None:
            unknown[metric] = unknown.get(metric, 0) + len(samples)
            continue
        times, values = zip(*samples, strict=True)
        gather.add(levels, metric, frequency, np.array(times, np.int64), np.array(values, np.float32))
    if broken is not None:
        raise broken
    if unknown:
        raise ValueError(f"samples of metrics that are in no list: {_counts(unknown)}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
