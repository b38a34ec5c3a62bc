"""Is a host's data fresh? (metric-store 7)"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from .registry import Host

State = Literal["full", "partial", "failed"]
STALE_BINS = 5
"""A series is fresh until the end of its newest bin is this many bins ago."""


class Health(NamedTuple):
    """details: JSON `{"degraded":[…],"missing":[…]}`, "" for an unknown host."""

    state: State
    details: str


def judge(host: Host | None, slots: NDArray[Any], known: Mapping[str, object], metrics: Sequence[str], now: int) -> Health:
    """One host. One stale series anywhere below it degrades its metric; a metric without a value, or not in the list, is missing."""
    if host is None:
        return Health("failed", "")
    stale = {metric: _is_stale(host, slots, metric, now) if metric in known else None for metric in metrics}
    degraded = [metric for metric in metrics if stale[metric]]
    missing = [metric for metric in metrics if stale[metric] is None]
    details = json.dumps({"degraded": degraded, "missing": missing}, separators=(",", ":"), ensure_ascii=False)
    if not degraded and not missing:
        return Health("full", details)
    return Health("failed" if len(degraded) + len(missing) >= len(metrics) else "partial", details)


def _is_stale(host: Host, slots: NDArray[Any], metric: str, now: int) -> bool | None:
    """None: no series of the metric holds a value."""
    fed = [series.slots[-1] for series in list(host.by_metric.get(metric, ())) if series.slots]
    newest = slots[[slot for slot in fed if slot < slots.size]]
    newest = newest[newest["first"] <= newest["last"]]
    if not newest.size:
        return None
    ends = (newest["last"] + 1) * newest["frequency"] + newest["phase"]
    return bool((now - ends > STALE_BINS * newest["frequency"]).any())
