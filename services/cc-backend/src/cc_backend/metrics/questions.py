"""`SeriesQuery` as the store's query interface says it (metric-store 3.3), and which answer belongs to which id."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ccschema.api import ApiQuery, QueryRequest

from . import SeriesQuery, Span, Stats


def request(queries: Sequence[SeriesQuery], span: Span, *, data: bool) -> QueryRequest:
    """One request for all queries. Padding is on: the first value is at the begin of the span, whenever the series began."""
    return QueryRequest(
        cluster=span.cluster,
        from_=span.from_,
        to=span.to,
        with_stats=True,
        with_data=data,
        with_padding=True,
        queries=[_entry(query) for query in queries],
    )


def _entry(query: SeriesQuery) -> ApiQuery:
    if query.type is None:
        return ApiQuery(metric=query.metric, host=query.host, resolution=query.resolution)
    return ApiQuery(
        metric=query.metric, host=query.host, resolution=query.resolution, type=query.type, type_ids=list(query.ids), aggreg=query.aggregate
    )


def statistics(avg: float, least: float, most: float) -> Stats | None:
    """None where one of them is no number: there was not one value."""
    return None if math.isnan(avg) or math.isnan(least) or math.isnan(most) else Stats(avg, least, most)
