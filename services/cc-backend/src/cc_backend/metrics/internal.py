"""The built-in store as a source: the same questions as over HTTP, without HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from ccstore.query import Row
from ccstore.server.store import Store

from . import Found, SeriesQuery, SeriesResult, Span
from .questions import request, statistics


class InternalSource:
    """A MetricSource over the store of this process. Queries run in the store's reader threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def fetch(self, queries: Sequence[SeriesQuery], span: Span, *, data: bool) -> list[SeriesResult]:
        if not queries:
            return []
        rows = await self._store.query(request(queries, span, data=data))
        return [_result(query, found) for query, found in zip(queries, rows, strict=True)]

    async def hosts(self, cluster: str, metrics: Sequence[str]) -> list[str]:
        with self._store.engine.read() as reader:
            return reader.hosts(cluster)


def _result(query: SeriesQuery, rows: Sequence[Row]) -> SeriesResult:
    good = [row for row in rows if row.error is None]
    return SeriesResult(
        found=[Found(_name(query, row), row.resolution, row.values, statistics(*row.stats) if row.stats else None) for row in good],
        errors=[row.error for row in rows if row.error is not None],
    )


def _name(query: SeriesQuery, row: Row) -> str | None:
    return query.name if query.aggregate or query.type is None else row.id
