"""Names ⇄ numbers: hosts, their levels and series, slots (one generation of one series) and groups (host × frequency).

What the kernel reads stands in two record arrays, `slots` and `groups`. They are replaced when they grow, never resized, so a reader that
holds one keeps a valid array. Everything else is Python objects that only the writer changes; readers copy dictionaries before they walk them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
NOTHING_FIRST = np.iinfo(np.int64).max
NOTHING_LAST = np.iinfo(np.int64).min
"""First and last bin of a slot that holds nothing."""
NO_TILE = np.iinfo(np.int64).min
MAX_NAME = 255
"""Bytes of a cluster, host, metric or level name."""

MAX_WORDS = 1 << 17

SLOT = np.dtype(
    [
        ("group", "i4"),
        ("row", "i4"),
        ("frequency", "i8"),
        ("phase", "i8"),
        ("first", "i8"),
        ("last", "i8"),
        ("host", "i4"),
        ("local", "i4"),
        ("drift", "i8"),
    ]
)
"""drift: samples in a row that lay more than f/4 behind (+) or before (-) the middle of their bin, at most 8 (design S1)."""

GROUP = np.dtype(
    [("tile0", "i8"), ("base0", "i8"), ("rows0", "i8"), ("tile1", "i8"), ("base1", "i8"), ("rows1", "i8")],
)
"""The two hot tiles of a group: number (NO_TILE: none), index of the first value in the arena, rows."""


class HostKey(NamedTuple):
    cluster: str
    host: str


class SeriesKey(NamedTuple):
    """One generation of one series of a host. levels: () host level, ("hwthread12",), ("socket0", "x1"); 0 <= phase < frequency."""

    levels: tuple[str, ...]
    metric: str
    frequency: int
    phase: int


class Tile(NamedTuple):
    base: int
    rows: int


@dataclass(slots=True, eq=False)
class Series:
    """One metric at one level. slots: its generations, oldest first; the last one is fed."""

    levels: tuple[str, ...]
    metric: str
    slots: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Level:
    series: dict[str, Series] = field(default_factory=dict)
    children: dict[str, Level] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.series and not self.children


@dataclass(slots=True, eq=False)
class Group:
    """All series of a host with one frequency. slots: row → slot; tiles: sparse directory by tile number."""

    index: int
    host: Host
    frequency: int
    slots: list[int] = field(default_factory=list)
    tiles: dict[int, Tile] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Host:
    """slots: by local id. Retired series keep their ids until the host is gone."""

    key: HostKey
    index: int
    root: Level = field(default_factory=Level)
    slots: list[int] = field(default_factory=list)
    by_metric: dict[str, list[Series]] = field(default_factory=dict)
    retired: dict[tuple[tuple[str, ...], str], Series] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)


def all_equal(values: NDArray[Any]) -> bool:
    """Whether a contiguous, not empty array holds one value only; by its bytes, a fifth of a numpy reduction where it is short."""
    return values.tobytes() == values[:1].tobytes() * len(values)


def path_element(name: str) -> bool:
    """Whether a cluster or host name may become a directory name (metric-store 2.6)."""
    return _PATH_ELEMENT.match(name) is not None and ".." not in name and _short(name)


def level_name(name: str) -> bool:
    """Whether a level or metric name may be kept; it is never part of a path."""
    return bool(name) and _short(name) and "\0" not in name


_PATH_ELEMENT = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]+\Z")


def _short(name: str) -> bool:
    return len(name if name.isascii() else name.encode(errors="surrogatepass")) <= MAX_NAME


def _grown(array: NDArray[Any], blank: Callable[[NDArray[Any]], None]) -> NDArray[Any]:
    bigger = np.zeros(2 * array.size, array.dtype)
    bigger[: array.size] = array
    blank(bigger[array.size :])
    return bigger


def _blank_slots(slots: NDArray[Any]) -> None:
    slots["group"] = -1
    slots["frequency"] = 1
    slots["first"] = NOTHING_FIRST
    slots["last"] = NOTHING_LAST


def _blank_groups(groups: NDArray[Any]) -> None:
    groups["tile0"] = NO_TILE
    groups["tile1"] = NO_TILE


class Registry:
    """All hosts. Methods that change something belong to the writer."""

    def __init__(self) -> None:
        self.clusters: dict[str, dict[str, Host]] = {}
        self.closed: set[HostKey] = set()
        self.slots: NDArray[Any] = np.zeros(1024, SLOT)
        self.groups: NDArray[Any] = np.zeros(256, GROUP)
        _blank_slots(self.slots)
        _blank_groups(self.groups)
        self.series_of: list[Series | None] = []
        self.host_of: list[Host | None] = []
        self.group_of: list[Group | None] = []
        self._free_slots: list[int] = []
        self._free_groups: list[int] = []
        self._free_hosts: list[int] = []
        self._words: dict[Any, Any] = {}
        self.series = 0

    # ---- looking

    def host(self, key: HostKey) -> Host | None:
        return self.clusters.get(key.cluster, {}).get(key.host)

    def hosts(self) -> Iterator[Host]:
        for cluster in list(self.clusters.values()):
            yield from list(cluster.values())

    def find(self, host: Host, levels: Sequence[str]) -> Level | None:
        level: Level | None = host.root
        for name in levels:
            level = level.children.get(name) if level else None
        return level

    def key(self, slot: int) -> SeriesKey:
        """What a slot is, as the log and snapshots name it."""
        series = self.series_of[slot]
        assert series is not None
        entry = self.slots[slot]
        return SeriesKey(series.levels, series.metric, int(entry["frequency"]), int(entry["phase"]))

    def slot_of(self, host: Host, key: SeriesKey) -> int | None:
        """The slot of exactly this generation, whether its series is in the tree or retired."""
        level = self.find(host, key.levels)
        series = level.series.get(key.metric) if level is not None else None
        if series is None:
            series = host.retired.get((key.levels, key.metric))
        for slot in series.slots if series is not None else ():
            if self.slots["phase"][slot] == key.phase and self.slots["frequency"][slot] == key.frequency:
                return slot
        return None

    # ---- making

    def make_host(self, key: HostKey) -> Host:
        found = self.host(key)
        if found is None:
            found = Host(key, _taken(self._free_hosts, self.host_of))
            self.host_of[found.index] = found
            self.clusters.setdefault(key.cluster, {})[key.host] = found
        return found

    def add_slot(self, host: Host, key: SeriesKey) -> int:
        """A new generation of a series, empty; the series and its levels are made when they are missing."""
        group = host.groups.get(key.frequency) or self._make_group(host, key.frequency)
        slot = _taken(self._free_slots, self.series_of)
        if slot >= self.slots.size:
            self.slots = _grown(self.slots, _blank_slots)
        series = self.series_at(host, key.levels, key.metric)
        local = len(host.slots)
        self.slots[slot] = (group.index, len(group.slots), key.frequency, key.phase, NOTHING_FIRST, NOTHING_LAST, host.index, local, 0)
        self.series_of[slot] = series
        group.slots.append(slot)
        host.slots.append(slot)
        series.slots.append(slot)
        return slot

    def series_at(self, host: Host, levels: tuple[str, ...], metric: str) -> Series:
        """The series, made or taken out of retirement when it is not in the tree."""
        level = host.root
        for name in levels:
            child = level.children.get(name)
            if child is None:
                child = level.children[name] = Level()
            level = child
        series = level.series.get(metric)
        if series is None:
            series = host.retired.pop((levels, metric), None) or Series(self.shared(levels), self.shared(metric))
            level.series[series.metric] = series
            host.by_metric.setdefault(series.metric, []).append(series)
            self.series += 1
        return series

    def shared(self, word: T) -> T:
        """One object for equal words: hosts have the same levels, metrics and keys. Names that come and go do not fill memory."""
        if len(self._words) >= MAX_WORDS:
            self._words.clear()
        shared: T = self._words.setdefault(word, word)
        return shared

    def _make_group(self, host: Host, frequency: int) -> Group:
        index = _taken(self._free_groups, self.group_of)
        if index >= self.groups.size:
            self.groups = _grown(self.groups, _blank_groups)
        _blank_groups(self.groups[index : index + 1])
        group = host.groups[frequency] = self.group_of[index] = Group(index, host, frequency)
        return group

    # ---- taking away

    def retire(self, host: Host, series: Series) -> None:
        """Takes a series that holds nothing out of the tree, with levels that are empty then. Its ids stay known to the host."""
        path = [host.root]
        for name in series.levels:
            path.append(path[-1].children[name])
        del path[-1].series[series.metric]
        for parent, name, child in zip(path[-2::-1], reversed(series.levels), path[:0:-1], strict=True):
            if child.empty:
                del parent.children[name]
        host.by_metric[series.metric].remove(series)
        if not host.by_metric[series.metric]:
            del host.by_metric[series.metric]
        host.retired[series.levels, series.metric] = series
        self.series -= 1

    def remove_host(self, host: Host) -> None:
        """Takes an empty host out of the tree. Its numbers are used again after `release`."""
        hosts = self.clusters[host.key.cluster]
        del hosts[host.key.host]
        if not hosts:
            del self.clusters[host.key.cluster]

    def release(self, host: Host) -> None:
        """Gives the numbers of a removed host back; no reader may look at it any more."""
        for slot in host.slots:
            self.series_of[slot] = None
            _blank_slots(self.slots[slot : slot + 1])
        for group in host.groups.values():
            self.group_of[group.index] = None
            _blank_groups(self.groups[group.index : group.index + 1])
        self.host_of[host.index] = None
        self._free_slots += host.slots
        self._free_groups += [group.index for group in host.groups.values()]
        self._free_hosts.append(host.index)


def _taken(free: list[int], table: list[Any]) -> int:
    """A number out of `free`, or a new one at the end of `table`."""
    if free:
        return free.pop()
    table.append(None)
    return len(table) - 1


# ---- what a snapshot sees of a host


class GroupView(NamedTuple):
    """All series of one frequency. Row r of every tile belongs to ids[r]; a tile may have fewer rows (newer series have nothing in it).

    tiles: (number, values[rows][64]) ascending; values are references into live memory: samples accepted after `view` may appear.
    Bin of column c in tile t = t * 64 + c; time of a bin = bin * frequency + phase + frequency // 2. first > last: series holds nothing."""

    frequency: int
    ids: NDArray[np.int32]
    keys: Sequence[SeriesKey]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    tiles: Sequence[tuple[int, NDArray[np.float32]]]


class HostView:
    """What a snapshot writes. Readable from any thread until `close` (idempotent; also a context manager)."""

    def __init__(self, host: HostKey, groups: Sequence[GroupView], done: Callable[[], None]) -> None:
        self.host = host
        self.groups = groups
        self._done: Callable[[], None] | None = done

    def close(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            self.groups = ()
            done()

    def __enter__(self) -> HostView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def group_view(registry: Registry, group: Group, matrix: Callable[[Tile], NDArray[np.float32]]) -> GroupView:
    entries = registry.slots[group.slots]
    rows = len(group.slots)
    tiles = [(number, matrix(group.tiles[number])[:rows]) for number in sorted(group.tiles)]
    ids = entries["local"].astype(np.int32)
    keys = [registry.key(slot) for slot in group.slots]
    return GroupView(group.frequency, ids, keys, entries["first"].copy(), entries["last"].copy(), tiles)
