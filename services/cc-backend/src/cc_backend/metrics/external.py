"""A store elsewhere as a source: `GET /api/query` of cc-metric-store, ours or the reference's.

Stores of ours name each entry by its id. The reference's do not, and leave out what they do not have: then an answer with fewer entries than ids
cannot be labelled, and those ids are asked once more, one by one.
"""

from __future__ import annotations

import http
from collections.abc import Sequence

import msgspec
import numpy as np
import orjson
from ccdaemon.errors import PeerError
from ccdaemon.net.http_client import HttpClient
from ccschema.api import QueryRequest
from numpy.typing import NDArray

from . import Found, SeriesQuery, SeriesResult, Span
from .questions import request, statistics

PATH = "/api/query"
NO_VALUES: NDArray[np.float32] = np.empty(0, np.float32)


class Entry(msgspec.Struct):
    """One series of an answer. `data` stays text until numpy takes it."""

    id: str | None = None
    error: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    resolution: int = 0
    avg: float | None = None
    min: float | None = None
    max: float | None = None


class Echo(msgspec.Struct):
    """A query that the store made of for-all-nodes."""

    host: str = ""


class Answer(msgspec.Struct):
    queries: list[Echo] | None = None
    results: list[list[Entry] | None] | None = None


class ExternalSource:
    """A MetricSource over a remote store. PeerError names its address; nothing is asked for twice but what cannot be labelled."""

    def __init__(self, client: HttpClient, name: str) -> None:
        """name: the store's address, for messages."""
        self._client = client
        self._name = name

    async def fetch(self, queries: Sequence[SeriesQuery], span: Span, *, data: bool) -> list[SeriesResult]:
        if not queries:
            return []
        rows = await self._rows(queries, span, data)
        unclear = [n for n, (query, entries) in enumerate(zip(queries, rows, strict=True)) if not _clear(query, entries)]
        singles = [query._replace(ids=(one,)) for query in (queries[n] for n in unclear) for one in query.ids]
        answers = iter(await self._rows(singles, span, data) if singles else [])
        for n in unclear:
            rows[n] = [_named(entry, one) for one in queries[n].ids for entry in next(answers)]
        return [_result(query, entries) for query, entries in zip(queries, rows, strict=True)]

    async def hosts(self, cluster: str, metrics: Sequence[str]) -> list[str]:
        asked = QueryRequest(
            cluster=cluster, from_=0, to=0, with_stats=False, with_data=False, with_padding=False, for_all_nodes=list(metrics), queries=None
        )
        return list(dict.fromkeys(echo.host for echo in (await self._ask(asked)).queries or ()))

    async def _rows(self, queries: Sequence[SeriesQuery], span: Span, data: bool) -> list[list[Entry]]:
        answer = await self._ask(request(queries, span, data=data))
        rows = [row or [] for row in answer.results or ()]
        if len(rows) != len(queries):
            raise PeerError(self._name, f"{len(queries)} queries got {len(rows)} results")
        return rows

    async def _ask(self, asked: QueryRequest) -> Answer:
        answer = await self._client.request(
            "GET", PATH, query={"version": "v2"}, body=msgspec.json.encode(asked), headers={"Content-Type": "application/json"}
        )
        if answer.status != 200:
            raise PeerError(self._name, f"'{PATH}': HTTP Status: {answer.status} {_phrase(answer.status)}")
        try:
            return msgspec.json.decode(answer.body, type=Answer)
        except msgspec.DecodeError as e:
            raise PeerError(self._name, f"'{PATH}': answer is not understood: {e}") from e


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""


def _clear(query: SeriesQuery, entries: Sequence[Entry]) -> bool:
    """Whether each entry's id is known: there is one at most, or the store named them, or none is missing."""
    if query.type is None or query.aggregate or len(query.ids) == 1:
        return True
    return len(entries) in (0, len(query.ids)) or all(entry.id is not None for entry in entries)


def _named(entry: Entry, id_: str) -> Entry:
    return msgspec.structs.replace(entry, id=id_)


def _result(query: SeriesQuery, entries: Sequence[Entry]) -> SeriesResult:
    found: list[Found] = []
    errors: list[str] = []
    for at, entry in enumerate(entries):
        if entry.error:
            errors.append(entry.error)
            continue
        stats = None if entry.avg is None or entry.min is None or entry.max is None else statistics(entry.avg, entry.min, entry.max)
        found.append(Found(_id(query, entry, at), entry.resolution, _values(entry.data), stats))
    return SeriesResult(found, errors)


def _id(query: SeriesQuery, entry: Entry, at: int) -> str | None:
    if query.type is None or query.aggregate:
        return query.name
    return entry.id if entry.id is not None else query.ids[at]


def _values(data: msgspec.Raw) -> NDArray[np.float32]:
    values = orjson.loads(bytes(data))
    return np.array(values, np.float32) if values else NO_VALUES
