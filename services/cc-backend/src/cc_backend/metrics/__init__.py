"""Where time series come from: the protocol of a source and the words its questions and answers use.

A question names one metric of one host in one form (`SeriesQuery`); `scopes.plan` writes the questions, a `MetricSource` answers them, `shape`
makes job data of both, and `dispatch` decides who is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from ccschema.scopes import Scope
from numpy.typing import NDArray


class Span(NamedTuple):
    """A range of one cluster's time: seconds UTC, `to` exclusive."""

    cluster: str
    from_: int
    to: int


class SeriesQuery(NamedTuple):
    """One metric of one host as the store is asked for it.

    scope: the scope that is delivered. type None: the host as a whole, without ids. aggregate: all ids become one series, which is called `name`
    (index of the socket, domain or core; None at node scope); else one series per id, called as the id. resolution: seconds per value, 0 = native.
    """

    metric: str
    scope: Scope
    host: str
    type: str | None = None
    ids: tuple[str, ...] = ()
    aggregate: bool = False
    name: str | None = None
    resolution: int = 0


class Stats(NamedTuple):
    """Of native data, NaN ignored."""

    avg: float
    min: float
    max: float


class Found(NamedTuple):
    """One series of an answer: its id, seconds per value, values (float32, NaN = gap, index 0 at the begin of the span; empty if no data was asked
    for) and statistics (None: not one value)."""

    id: str | None
    timestep: int
    values: NDArray[np.float32]
    stats: Stats | None


class SeriesResult(NamedTuple):
    """The answer to one query: what was found (series that do not exist are absent) and what went wrong, in the source's words."""

    found: Sequence[Found]
    errors: Sequence[str] = ()


class MetricSource(Protocol):
    """A store of time series. PeerError: nothing at all could be had; a part that fails is a result with errors."""

    async def fetch(self, queries: Sequence[SeriesQuery], span: Span, *, data: bool) -> list[SeriesResult]:
        """One result per query, in order. data False: statistics only."""
        ...

    async def hosts(self, cluster: str, metrics: Sequence[str]) -> list[str]:
        """The hosts that the store has under the cluster, naturally sorted."""
        ...
