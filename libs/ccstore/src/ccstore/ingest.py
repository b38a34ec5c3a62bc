"""A batch of line protocol → samples in tiles and records for the log (metric-store 2).

The kernel does what is usual; every other line is done here, one at a time and in order, by `ccmessage.decode`. A line is *logical*: a quoted
string may hold line ends.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from ccmessage.decode import LineError
from ccmessage.message import FieldValue, Message
from numpy.typing import NDArray

from . import kernels
from .keys import Keys
from .lines import decoded, host_name, host_of, levels_of, logical_end, measurement, plain_key, plain_line
from .metrics import MetricSpec, MetricTable
from .policy import BEGIN_OF_TIME, Marks
from .registry import Host, HostKey, Registry, SeriesKey, all_equal, level_name, path_element
from .tiles import SHIFT, NoMemoryForTile, Tiles

MAX_LINE = 64 * 1024
MAX_ERRORS = 10
MAX_UNKNOWN = 1000
TEXTS_PER_SERIES = 4
ASIDE = 8
"""Samples in a row off the middle of their bins after which a series continues with a new phase at a tile border (design S1)."""


class Reason(StrEnum):
    """Why a line was not stored. Those with `malformed` make the answer 400; all others are counted and answered 200."""

    SYNTAX = "syntax"
    FIELD = "field"
    VALUE = "value"
    LENGTH = "length"
    METRIC = "unknown-metric"
    HOST = "no-host"
    CLUSTER = "no-cluster"
    NAME = "bad-name"
    PAST = "past"
    OLD = "old"
    FUTURE = "future"
    SERIES = "max-series"
    MEMORY = "memory"

    @property
    def malformed(self) -> bool:
        return self in (Reason.SYNTAX, Reason.FIELD, Reason.VALUE, Reason.LENGTH)


class Record(NamedTuple):
    """What a batch stored for one host, in order: equal-length arrays. New ids are declared by `Engine.series_keys`."""

    host: HostKey
    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(slots=True)
class Ingested:
    """stored: samples applied; errors: texts of the first ten malformed lines, `at line L…`; notices: what an operator should know, rarely
    any; rest: lines of `closed` hosts, nothing of them applied, to be ingested again when those hosts are open; gone: hosts that the
    memory cap emptied meanwhile, whose ids begin anew."""

    stored: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    closed: set[HostKey] = field(default_factory=set)
    rest: bytes = b""
    gone: list[HostKey] = field(default_factory=list)

    @property
    def malformed(self) -> int:
        return sum(n for reason, n in self.refused.items() if reason.malformed)


class Refused(Exception):
    """One line is not stored. text: for the sender, without its line number."""

    def __init__(self, reason: Reason, text: str = "", metric: str = "", host: str = "") -> None:
        super().__init__(text)
        self.reason, self.text, self.metric, self.host = reason, text, metric, host


class Place(NamedTuple):
    """Where a sample belongs, by its tags and the metric list."""

    host: HostKey
    levels: tuple[str, ...]
    metric: str
    spec: MetricSpec


@dataclass(slots=True)
class Limits:
    """retention: seconds, 0 = accepted back to the series' first bin; max_series: 0 = no bound."""

    retention: int
    max_series: int


class Intake:
    """The writer's way in. One batch at a time, on the writer's thread."""

    def __init__(self, registry: Registry, tiles: Tiles, limits: Limits) -> None:
        self.registry = registry
        self.tiles = tiles
        self.limits = limits
        self.keys = Keys()
        self.kernel: kernels.Kernel | None = None
        self.tables: Mapping[str, MetricTable] = {}
        self.default: MetricTable | None = None
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.marks: Marks | None = None
        self._widest = 0
        self._names: frozenset[bytes] = frozenset()
        self._clusters: dict[str, int] = {}
        self._told: set[str] = set()

    def set_metrics(self, tables: Mapping[str, MetricTable], default: MetricTable | None) -> None:
        """Keys are looked up anew: a name may have gone, or come at another frequency."""
        self.tables, self.default = dict(tables), default
        lists = [table for table in (*tables.values(), default) if table]
        self._names = frozenset(name.encode() for table in lists for name in table)
        self._widest = max((spec.frequency for table in lists for spec in table.values()), default=0)
        self.keys.clear()

    def table(self, cluster: str) -> MetricTable | None:
        return self.tables.get(cluster, self.default)

    def ingest(self, body: bytes, cluster: str, now: int, first_line: int) -> Ingested:
        batch = _Batch(self, body, cluster, now, first_line)
        if self.kernel is None:
            batch.slow(len(body))
        else:
            batch.run(self.kernel)
        return batch.finish()

    def cluster_number(self, name: str) -> int:
        """Keys read under different default clusters are different keys."""
        return self._clusters.setdefault(name, len(self._clusters))

    def count_unknown(self, metric: str, host: str) -> None:
        """By name and host, as long as there are few; the rest under ("", "")."""
        key = (metric[:MAX_LINE], host)
        self.unknown[key if key in self.unknown or len(self.unknown) < MAX_UNKNOWN else ("", "")] += 1

    def knows(self, measurement: bytes) -> bool:
        return measurement in self._names

    def once(self, text: str) -> bool:
        """Whether an operator has not been told this yet (bounded: then nothing more is told)."""
        if text in self._told or len(self._told) >= MAX_UNKNOWN:
            return False
        self._told.add(text)
        return True

    # ---- from tags to a slot

    def place(self, name: str, tags: Mapping[str, str], raw: bytes, cluster: str) -> Place:
        """Refused: no cluster, unknown metric there, no host, or a name that may not be kept."""
        cluster = tags.get("cluster", cluster)
        host = host_name(tags, raw)
        if not cluster:
            raise Refused(Reason.CLUSTER, "no cluster: no such tag, and no default")
        table = self.table(cluster)
        spec = table.get(name) if table is not None else None
        if spec is None:
            raise Refused(Reason.METRIC, metric=name, host=host)
        if not host:
            raise Refused(Reason.HOST, "no tag hostname")
        if not path_element(cluster) or not path_element(host):
            raise Refused(Reason.NAME, f"cluster '{cluster[:80]}', host '{host[:80]}': not a possible name")
        levels = levels_of(tags)
        if not all(map(level_name, levels)):
            raise Refused(Reason.NAME, f"host {host}: type and id are longer than 255 bytes")
        return Place(HostKey(cluster, host), levels, name, spec)

    def known_slot(self, place: Place) -> int | None:
        """The slot that is fed for a place, if its next sample needs no new generation."""
        host = self.registry.host(place.host)
        level = self.registry.find(host, place.levels) if host is not None else None
        series = level.series.get(place.metric) if level is not None else None
        if series is None or self.registry.slots["frequency"][series.slots[-1]] != place.spec.frequency:
            return None
        return series.slots[-1]

    def store(self, place: Place, time: int, value: float, now: int) -> int:
        """Applies one sample and gives its slot. Refused: for its time, for the bound of series, for memory."""
        frequency = place.spec.frequency
        if time > now + max(3600, 10 * frequency):
            raise Refused(Reason.FUTURE)
        if self.limits.retention and time < now - self.limits.retention:
            raise Refused(Reason.OLD)
        slot = self.known_slot(place)
        if slot is None or self.registry.slots["first"][slot] > self.registry.slots["last"][slot]:
            return self._begin(place, time, value)
        entry = self.registry.slots[slot]
        bin_ = (time - int(entry["phase"])) // frequency
        if bin_ >> SHIFT > int(entry["last"]) >> SHIFT and abs(int(entry["drift"])) >= ASIDE:
            return self._begin(place, time, value)
        if bin_ < entry["first"]:
            slot, bin_ = self._older(slot, time)
        older = self.registry.slots[slot]
        self._check_archive(place.host, int(older["frequency"]), int(older["phase"]), time)
        self._put(slot, bin_, value)
        _note_drift(self.registry.slots[slot], time, bin_)
        return slot

    def oldest(self, now: int) -> int:
        """A time before which a sample may be refused as `old`: there each line is looked at."""
        oldest = now - self.limits.retention if self.limits.retention else BEGIN_OF_TIME
        return oldest if self.marks is None else max(oldest, self.marks.newest + self._widest)

    def _check_archive(self, host: HostKey, frequency: int, phase: int, time: int) -> None:
        """The archive took whole bins, by the time of each: what comes for one of them would be lost with it."""
        middle = time - (time - phase) % frequency + frequency // 2
        if self.marks is not None and middle < self.marks.closed(host):
            raise Refused(Reason.OLD)

    def _older(self, slot: int, time: int) -> tuple[int, int]:
        """The newest earlier generation in whose span a time lies."""
        series = self.registry.series_of[slot]
        assert series is not None
        for older in reversed(series.slots[:-1]):
            entry = self.registry.slots[older]
            bin_ = (time - int(entry["phase"])) // int(entry["frequency"])
            if bin_ >= entry["first"] and entry["first"] <= entry["last"]:
                return older, bin_
        raise Refused(Reason.PAST)

    def _begin(self, place: Place, time: int, value: float) -> int:
        """The first sample of a series or of its next generation: it lies in the middle of its bin."""
        registry = self.registry
        known = self.known_slot(place)
        frequency = place.spec.frequency
        revived = known is not None and registry.slots["first"][known] > registry.slots["last"][known]
        phase = int(registry.slots["phase"][known]) if revived else (time - frequency // 2) % frequency
        self._check_archive(place.host, frequency, phase, time)
        host = registry.host(place.host)
        level = registry.find(host, place.levels) if host is not None else None
        new = level is None or place.metric not in level.series
        if new and self.limits.max_series and registry.series >= self.limits.max_series:
            raise Refused(Reason.SERIES, f"max-series ({self.limits.max_series}) is reached")
        host = registry.make_host(place.host)
        key = SeriesKey(place.levels, place.metric, frequency, phase)
        slot = self._slot_for(host, key)
        try:
            self._put(slot, (time - phase) // frequency, value)
        except Refused:
            series = registry.series_of[slot]
            if new and series is not None:
                registry.retire(host, series)
                self.tiles.remove_if_empty(host)
            raise
        registry.slots["drift"][slot] = 0
        return slot

    def _slot_for(self, host: Host, key: SeriesKey) -> int:
        """A slot for the key as newest generation: the one the host has already, or a new one."""
        slot = self.registry.slot_of(host, key)
        series = self.registry.series_at(host, key.levels, key.metric)
        before = series.slots[-1] if series.slots else None
        if slot is None:
            slot = self.registry.add_slot(host, key)
        elif before != slot:
            series.slots.remove(slot)
            series.slots.append(slot)
        if before is not None and before != slot:
            self.keys.point(before, slot)
        return slot

    def _put(self, slot: int, bin_: int, value: float) -> None:
        try:
            self.tiles.put(slot, bin_, value)
        except NoMemoryForTile:
            raise Refused(Reason.MEMORY, "the memory cap is reached and nothing may be freed") from None


class _Batch:
    """One body on its way in. `state` and `out` are shared with the kernel."""

    def __init__(self, intake: Intake, body: bytes, cluster: str, now: int, first_line: int) -> None:
        self.intake, self.body, self.cluster, self.now = intake, body, cluster, now
        lines = body.count(b"\n") + 1
        self.slots = np.empty(lines, np.int32)
        self.times = np.empty(lines, np.int64)
        self.values = np.empty(lines, np.float32)
        self.state = kernels.state(first_line, intake.cluster_number(cluster), now, intake.oldest(now), len(body))
        self.answer = Ingested()
        self._rest: list[bytes] = []

    # ---- the kernel's part

    def run(self, kernel: kernels.Kernel) -> None:
        """Kernel, and slow path for the lines before which it stops."""
        state, intake = self.state, self.intake
        text = np.frombuffer(self.body, np.uint8)
        while True:
            keys, registry = intake.keys, intake.registry
            reason = kernel(
                text,
                state,
                keys.keys,
                keys.text,
                keys.table,
                registry.slots,
                registry.groups,
                intake.tiles.arena.values,
                self.slots,
                self.times,
                self.values,
            )
            if reason == kernels.DONE:
                return
            if reason != kernels.UNKNOWN or not self._learn():
                self.slow(1)

    def _learn(self) -> bool:
        """Enters the key before which the kernel stopped, when the series it means is there. Else its line is one for the slow path."""
        state, intake = self.state, self.intake
        key = self.body[int(state[kernels.POS]) : int(state[kernels.KEY_END])]
        if len(key) > MAX_LINE or not intake.knows(key.partition(b",")[0]):
            return False
        parsed = plain_key(key)
        if parsed is None:
            return False
        try:
            place = intake.place(*parsed, key, self.cluster)
        except Refused:
            return False
        slot = intake.known_slot(place)
        if slot is None or place.host in intake.registry.closed or (not place.levels and "stype" in parsed[1]):
            return False
        limit = max(TEXTS_PER_SERIES * intake.registry.series, MAX_UNKNOWN)
        if intake.keys.count >= limit:
            state[kernels.PREVIOUS] = -1
        intake.keys.add(key, int(state[kernels.HASH]), int(state[kernels.DEFAULT]), slot, limit=limit)
        return True

    # ---- the slow path

    def slow(self, count: int) -> None:
        """At most `count` lines."""
        state = self.state
        pos, line = int(state[kernels.POS]), int(state[kernels.LINE])
        for _ in range(count):
            if pos >= len(self.body):
                break
            end = logical_end(self.body, pos)
            raw = self.body[pos:end]
            self._slow_line(raw, line)
            line += raw.count(b"\n")
            pos = end
        state[kernels.POS], state[kernels.LINE] = pos, line

    def _slow_line(self, raw: bytes, line: int) -> None:
        start = raw.lstrip(b" ")
        if not start.strip(b"\r\n"):
            return
        try:
            if len(raw) > MAX_LINE:
                raise Refused(Reason.LENGTH, f"longer than {MAX_LINE} bytes")
            if not start.startswith(b"#"):
                self._check_name(start)
            plain = plain_line(raw, self.now)
            if plain is not None:
                self._store(*plain, raw)
                return
            for item in decoded(raw, self.now):
                self._slow_item(item, raw, line)
        except Refused as refused:
            self._refuse(refused, line)

    def _check_name(self, start: bytes) -> None:
        """Lines of unknown metrics are none of ours, well-formed or not."""
        name = measurement(start)
        if not self.intake.knows(name):
            host = host_of(start)
            raise Refused(Reason.METRIC, metric=name.decode(errors="replace"), host=host)

    def _slow_item(self, item: Message | LineError, raw: bytes, line: int) -> None:
        if isinstance(item, LineError):
            self._refuse(Refused(Reason.SYNTAX, item.text), line + item.line - 1, item.column)
            return
        self._store(item.head.name, item.head.tags, item.fields, item.time_ns // 1_000_000_000, raw)

    def _store(self, name: str, tags: Mapping[str, str], fields: Mapping[str, FieldValue], time: int, raw: bytes) -> None:
        place = self.intake.place(name, tags, raw, self.cluster)
        if place.host in self.intake.registry.closed:
            self.answer.closed.add(place.host)
            self._rest.append(raw if raw.endswith(b"\n") else raw + b"\n")
            return
        value = value_of(fields, place.host.host)
        if not place.levels and "stype" in tags:
            self._tell(f"metric {place.metric}: type=node with stype: all sub-instances of a host fall into one series")
        slot = self.intake.store(place, time, value, self.now)
        out = int(self.state[kernels.OUT])
        self.slots[out], self.times[out], self.values[out] = slot, time, value
        self.state[kernels.OUT] = out + 1

    def _tell(self, text: str) -> None:
        if len(self.answer.notices) < MAX_ERRORS and self.intake.once(text):
            self.answer.notices.append(text)

    def _refuse(self, refused: Refused, line: int, column: int | None = None) -> None:
        self.answer.refused[refused.reason] += 1
        if refused.reason is Reason.METRIC:
            self.intake.count_unknown(refused.metric, refused.host)
        elif refused.reason.malformed:
            if len(self.answer.errors) < MAX_ERRORS:
                at = f"{line}:{column}" if column is not None else f"{line}"
                self.answer.errors.append(f"at line {at}: {refused.text}")
        elif refused.text and len(self.answer.notices) < MAX_ERRORS:
            self.answer.notices.append(f"at line {line}: {refused.text}")

    # ---- the answer

    def finish(self) -> Ingested:
        count = int(self.state[kernels.OUT])
        self.answer.stored = count
        self.answer.rest = b"".join(self._rest)
        if count:
            self.answer.records = list(self._records(count))
        return self.answer

    def _records(self, count: int) -> Iterator[Record]:
        """By host, in order within each."""
        slots, times, values = self.slots[:count], self.times[:count], self.values[:count]
        entries = self.intake.registry.slots
        hosts = entries["host"][slots]
        if all_equal(hosts):
            yield self._record(hosts[0], slots, times, values)
            return
        if (hosts[1:] < hosts[:-1]).any():
            order = np.argsort(hosts, kind="stable")
            slots, times, values, hosts = slots[order], times[order], values[order], hosts[order]
        cuts = [0, *(np.flatnonzero(hosts[1:] != hosts[:-1]) + 1).tolist(), count]
        for start, stop in itertools.pairwise(cuts):
            yield self._record(hosts[start], slots[start:stop], times[start:stop], values[start:stop])

    def _record(self, index: int, slots: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float32]) -> Record:
        host = self.intake.registry.host_of[index]
        assert host is not None
        return Record(host.key, self.intake.registry.slots["local"][slots], times, values)


def value_of(fields: Mapping[str, FieldValue], host: str) -> float:
    """The number in the field `value`. Refused: another field, no number."""
    for key, value in fields.items():
        if key != "value":
            raise Refused(Reason.FIELD, f"host {host}: unknown field: '{key}' (value: {value})")
        if isinstance(value, bool | str):
            raise Refused(
                Reason.VALUE, f"host {host}: unsupported value type in message: {'bool' if isinstance(value, bool) else 'string'}"
            )
    return _as_float32(float(fields["value"]))


def _as_float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _note_drift(entry: np.void, time: int, bin_: int) -> None:
    """Counts samples in a row that lie more than f/4 off the middle of their bin, on one side."""
    frequency = int(entry["frequency"])
    aside = 4 * (time - int(entry["phase"]) - bin_ * frequency - frequency // 2)
    drift = int(entry["drift"])
    if aside > frequency:
        entry["drift"] = min(drift + 1, ASIDE) if drift > 0 else 1
    elif aside < -frequency:
        entry["drift"] = max(drift - 1, -ASIDE) if drift < 0 else -1
    else:
        entry["drift"] = 0
