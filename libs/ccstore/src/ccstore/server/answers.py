"""Answers of query and health check as JSON, made in slices: no call holds the interpreter for long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

import orjson
from ccschema.api import ApiQuery, QueryRequest, query_to_builtins

from ..health import Health
from ..query import Row

SLICE = 64 << 10
VALUES = 16_384
"""Values encoded in one call: about 0.1 ms."""


async def query_answer(
    queries: Sequence[ApiQuery] | None, rows: Sequence[Sequence[Row]], asked: QueryRequest, loading: bool
) -> AsyncIterator[bytes]:
    """The body of an answer in pieces of about SLICE bytes, giving way to other work between them."""
    held: list[bytes] = []
    size = 0
    for piece in encode(queries, rows, asked.with_data, loading):
        held.append(piece)
        size += len(piece)
        if size >= SLICE:
            yield b"".join(held)
            held, size = [], 0
            await asyncio.sleep(0)
    yield b"".join(held)


def encode(queries: Sequence[ApiQuery] | None, rows: Sequence[Sequence[Row]], with_data: bool, loading: bool) -> Iterator[bytes]:
    """`{"queries":[…],"results":[[…],…],"loading":true}`; queries only where given, loading only while it is so."""
    yield b"{"
    if queries is not None:
        yield b'"queries":['
        yield from _joined(orjson.dumps(query_to_builtins(q)) for q in queries)
        yield b"],"
    yield b'"results":['
    for n, found in enumerate(rows):
        yield b"[" if n == 0 else b",["
        for m, row in enumerate(found):
            if m:
                yield b","
            yield from encode_row(row, with_data)
        yield b"]"
    yield b'],"loading":true}' if loading else b"]}"


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for n, piece in enumerate(pieces):
        yield b"," + piece if n else piece


def encode_row(row: Row, with_data: bool) -> Iterator[bytes]:
    """One entry. Values are the shortest decimals that give the same float32; NaN and infinities are null (metric-store 3.9)."""
    yield b"{"
    if row.error is not None:
        yield b'"error":' + orjson.dumps(row.error) + b","
    if row.id is not None:
        yield b'"id":' + orjson.dumps(row.id) + b","
    if with_data and row.error is None and len(row.values):
        yield b'"data":['
        for at in range(0, len(row.values), VALUES):
            part = orjson.dumps(row.values[at : at + VALUES], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
            yield b"," + part if at else part
        yield b"],"
    avg, least, most = row.stats if row.stats is not None else (0.0, 0.0, 0.0)
    yield b'"from":%d,"to":%d,"resolution":%d,"avg":%b,"min":%b,"max":%b}' % (
        row.from_,
        row.to,
        row.resolution,
        _number(avg),
        _number(least),
        _number(most),
    )


def _number(value: float) -> bytes:
    """Two decimals where they are exact, else all that the number needs; null for what JSON cannot say."""
    if not math.isfinite(value):
        return b"null"
    two = b"%.2f" % value
    return two if float(two) == value else orjson.dumps(float(value))


def health_answer(found: Mapping[str, Health]) -> bytes:
    """One key per host: State and HealthMetrics, the latter a string that holds JSON (metric-store 3.6)."""
    return orjson.dumps({host: {"State": h.state, "HealthMetrics": h.details} for host, h in found.items()})
