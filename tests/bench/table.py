"""Rows of the benchmark, how they are measured, and how they are printed."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One line. other None: nothing is compared; `against` then may say why. lower: a lower value is better."""

    what: str
    unit: str
    ours: float
    other: float | None = None
    against: str = ""
    lower: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better ours is, whichever way is better; below 1: worse."""
        if self.other is None or not self.ours or not self.other:
            return None
        return self.other / self.ours if self.lower else self.ours / self.other


def seconds_of(call: Callable[[], object]) -> float:
    """CPU seconds of this thread: what other programs take meanwhile does not count."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def alternate(*calls: Callable[[], object], rounds: int) -> list[float]:
    """The median of each call's CPU seconds; in every round each is called once, so that what else the machine does meets all of them."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, taken, strict=True):
            times.append(seconds_of(call))
    return [statistics.median(times) for times in taken]


def number(value: float) -> str:
    """Three significant digits."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def title() -> str:
    """The machine, and how busy it is: absolute values are worth as much as this line says."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), os.uname().machine)
    load = os.getloadavg()[0]
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {load:.1f}, {time.strftime('%Y-%m-%d')}. Ratio: how many times better; below 1: worse."


HEAD = f"{'what':<62}{'unit':<16}{'ours':>10}{'other':>10}{'ratio':>8}  compared with"


def line(row: Row) -> str:
    other = number(row.other) if row.other is not None else ""
    ratio = number(row.ratio) if row.ratio is not None else ""
    return f"{row.what:<62}{row.unit:<16}{number(row.ours):>10}{other:>10}{ratio:>8}  {row.against}".rstrip()


def show(rows: Iterable[Row]) -> None:
    for row in rows:
        print(line(row), flush=True)
