"""Counters whose sums close: took = gave + refused + held, per stage; text exposition for `/metrics`."""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping

_OFFENDERS = 1000  # per stage; a host that sends a new name each time must not fill memory


class Ledger:
    """One stage. Thread-safe. `held` is what a stage has inside: took − gave − refused."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._lock = threading.Lock()
        self._took = 0
        self._gave = 0
        self._refused: Counter[str] = Counter()
        self._offenders: Counter[tuple[str, str]] = Counter()

    def took(self, n: int) -> None:
        with self._lock:
            self._took += n

    def gave(self, n: int) -> None:
        with self._lock:
            self._gave += n

    def refused(self, why: str, n: int, who: str = "") -> None:
        """`who` (host, metric …) is kept for the debug page, bounded; it is no label of the exposition."""
        with self._lock:
            self._refused[why] += n
            if who:
                key = (why, who)
                if key not in self._offenders and len(self._offenders) >= _OFFENDERS:
                    key = (why, "(others)")
                self._offenders[key] += n

    def held(self) -> int:
        took, gave, refused = self.totals()
        return took - gave - refused

    def totals(self) -> tuple[int, int, int]:
        """(took, gave, refused), of one moment."""
        with self._lock:
            return self._took, self._gave, self._refused.total()

    def reasons(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._refused)

    def offenders(self) -> Mapping[tuple[str, str], int]:
        """(why, who) → count, bounded."""
        with self._lock:
            return dict(self._offenders)


class Histogram:
    """Counts per bucket; `bounds` are the upper ends, ascending, the last bucket is open."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._lock = threading.Lock()
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        with self._lock:
            self._counts[bisect_left(self.bounds, value)] += 1
            self._sum += value

    def quantile(self, q: float) -> float:
        """Upper end of the bucket in which the quantile lies (inf in the open one); NaN when nothing was observed."""
        counts, _ = self.snapshot()
        wanted, seen = q * sum(counts), 0
        if not any(counts):
            return math.nan
        for bound, count in zip((*self.bounds, math.inf), counts, strict=True):
            seen += count
            if seen >= wanted and count:
                return bound
        return math.inf

    def snapshot(self) -> tuple[list[int], float]:
        """Counts per bucket (not cumulative) and the sum of all values."""
        with self._lock:
            return list(self._counts), self._sum


class Registry:
    """All of a daemon's ledgers, gauges and histograms; made by the application, handed down."""

    def __init__(self, name: str = "cc") -> None:
        self.prefix = _metric_name(name)
        self._lock = threading.Lock()
        self._ledgers: dict[str, Ledger] = {}
        self._reads: dict[str, tuple[str, str, list[tuple[Mapping[str, str], Callable[[], float]]]]] = {}
        self._histograms: dict[str, tuple[str, Histogram]] = {}

    def ledger(self, stage: str) -> Ledger:
        """The ledger of a stage; the same one for the same name."""
        with self._lock:
            return self._ledgers.setdefault(stage, Ledger(stage))

    def ledgers(self) -> Mapping[str, Ledger]:
        with self._lock:
            return dict(self._ledgers)

    def gauge(self, name: str, help_: str, read: Callable[[], float], labels: Mapping[str, str] | None = None) -> None:
        """A value that goes up and down, read at each exposition; the same name again with other labels adds a series."""
        self._add("gauge", name, help_, read, labels)

    def counter(self, name: str, help_: str, read: Callable[[], float], labels: Mapping[str, str] | None = None) -> None:
        """A value that only grows; the exposition appends `_total`."""
        self._add("counter", f"{name}_total", help_, read, labels)

    def histogram(self, name: str, help_: str, bounds: tuple[float, ...]) -> Histogram:
        with self._lock:
            return self._histograms.setdefault(_metric_name(name), (help_, Histogram(bounds)))[1]

    def exposition(self) -> bytes:
        """Prometheus text format 0.0.4; names start with the daemon's name."""
        with self._lock:
            ledgers, reads, histograms = list(self._ledgers.values()), dict(self._reads), dict(self._histograms)
        lines = self._ledger_lines(ledgers)
        for name, (kind, help_, series) in reads.items():
            lines += self._head(name, kind, help_)
            for labels, read in series:
                try:
                    value = float(read())
                except Exception:  # one broken gauge must not hide all the others
                    value = math.nan
                lines.append(f"{self.prefix}_{name}{_labels(labels)} {_number(value)}")
        for name, (help_, histogram) in histograms.items():
            lines += self._head(name, "histogram", help_) + self._histogram_lines(name, histogram)
        return ("\n".join(lines) + "\n").encode() if lines else b""

    def _add(self, kind: str, name: str, help_: str, read: Callable[[], float], labels: Mapping[str, str] | None) -> None:
        with self._lock:
            series = self._reads.setdefault(_metric_name(name), (kind, help_, []))[2]
            series[:] = [s for s in series if s[0] != (labels or {})] + [(dict(labels or {}), read)]

    def _head(self, name: str, kind: str, help_: str) -> list[str]:
        text = help_.replace("\\", "\\\\").replace("\n", "\\n")
        return [f"# HELP {self.prefix}_{name} {text}", f"# TYPE {self.prefix}_{name} {kind}"]

    def _ledger_lines(self, ledgers: list[Ledger]) -> list[str]:
        if not ledgers:
            return []
        taken = self._head("taken_total", "counter", "What a stage took in: given + refused + held.")
        given = self._head("given_total", "counter", "What a stage passed on.")
        refused = self._head("refused_total", "counter", "What a stage refused, by reason.")
        held = self._head("held", "gauge", "What a stage has inside.")
        for ledger in ledgers:
            took, gave, lost = ledger.totals()
            label = {"stage": ledger.stage}
            taken.append(f"{self.prefix}_taken_total{_labels(label)} {took}")
            given.append(f"{self.prefix}_given_total{_labels(label)} {gave}")
            held.append(f"{self.prefix}_held{_labels(label)} {took - gave - lost}")
            for why, n in ledger.reasons().items():
                refused.append(f"{self.prefix}_refused_total{_labels({**label, 'reason': why})} {n}")
        return taken + given + refused + held

    def _histogram_lines(self, name: str, histogram: Histogram) -> list[str]:
        counts, total = histogram.snapshot()
        lines, seen = [], 0
        for bound, count in zip((*histogram.bounds, math.inf), counts, strict=True):
            seen += count
            lines.append(f"{self.prefix}_{name}_bucket{_labels({'le': _number(bound)})} {seen}")
        return [*lines, f"{self.prefix}_{name}_sum {_number(total)}", f"{self.prefix}_{name}_count {seen}"]


def _metric_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _labels(labels: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{_metric_name(k)}="{quoted(str(v))}"' for k, v in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
