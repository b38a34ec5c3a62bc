"""A batch of line protocol → samples in tiles and records for the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .registry import HostKey


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
    """stored: samples applied; errors: texts of the first ten malformed lines, `at line L…`; rest: lines of `closed` hosts, nothing of
    them applied, to be ingested again when those hosts are open."""

    stored: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    closed: set[HostKey] = field(default_factory=set)
    rest: bytes = b""

    @property
    def malformed(self) -> int:
        return sum(n for reason, n in self.refused.items() if reason.malformed)
