"""The metric list of a cluster: which names are stored, how often they come, how they aggregate (metric-store 1.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

Aggregation = Literal["sum", "avg"]


class MetricSpec(NamedTuple):
    """frequency: seconds between samples (> 0); aggregation: None = several series cannot be made one."""

    frequency: int
    aggregation: Aggregation | None = None


class MetricTable(Mapping[str, MetricSpec]):
    """Immutable list of one cluster. ValueError names every metric whose name is empty or whose frequency is not positive."""

    def __init__(self, specs: Mapping[str, MetricSpec]) -> None:
        wrong = [
            f"metric '{name}': frequency must be a positive number of seconds, got {spec.frequency}"
            for name, spec in specs.items()
            if spec.frequency <= 0
        ]
        if "" in specs:
            wrong.append("a metric has an empty name")
        if wrong:
            raise ValueError("; ".join(wrong))
        self._specs = dict(specs)

    def __getitem__(self, name: str) -> MetricSpec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"MetricTable({self._specs!r})"


def aggregation(word: str | None) -> tuple[Aggregation | None, str | None]:
    """(strategy, warning) for a configured word: sum, avg, or none ("" and None); any other word is none with a warning."""
    if word == "sum":
        return "sum", None
    if word == "avg":
        return "avg", None
    return None, f"unknown aggregation strategy: {word}" if word else None


class Change(NamedTuple):
    """What `Engine.set_metrics` changed for a metric of a cluster ("" = the default table). None = not in the list."""

    cluster: str
    metric: str
    old: MetricSpec | None
    new: MetricSpec | None


def changes(cluster: str, old: Mapping[str, MetricSpec], new: Mapping[str, MetricSpec]) -> list[Change]:
    """The metrics in which two lists differ, by name."""
    return [Change(cluster, name, old.get(name), new.get(name)) for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
