"""Bodies and answers of the REST interfaces: /api/query, free, debug, health check of a store; start_job and stop_job of the backend."""

from __future__ import annotations

from typing import Any

import msgspec

from .fields import Int32, Int64, empty_list
from .jobs import Job
from .jsonin import BodyError, decode

__all__ = ["ApiMetricData", "ApiQuery", "BodyError", "HealthRequest", "NodeHealth", "QueryRequest", "QueryResponse", "Selector",
           "StartJob", "StopJob", "decode_free", "decode_health", "decode_query", "decode_start_job", "decode_stop_job",
           "parse_selector", "selector_candidates"]  # fmt: skip

Selector = tuple[str, ...]
"""Path in a store: cluster, host, level, level below. () is the root."""


class ApiQuery(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One query of /api/query, in the key order in which the reference echoes it. resolution: seconds, 0 = native."""

    type: str | None = None
    subtype: str | None = None
    metric: str = msgspec.field(default_factory=str)
    host: str = msgspec.field(default_factory=str)
    resolution: Int64 = msgspec.field(default_factory=int)
    type_ids: list[str] | None = None
    subtype_ids: list[str] | None = None
    scale_by: float | None = 0.0
    aggreg: bool = msgspec.field(name="aggreg", default_factory=bool)


class QueryRequest(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Body of /api/query. from_, to: seconds, `to` exclusive. The three switches are on by default and always written."""

    cluster: str = msgspec.field(default_factory=str)
    from_: Int64 = msgspec.field(name="from", default_factory=int)
    to: Int64 = msgspec.field(default_factory=int)
    with_stats: bool = msgspec.field(default_factory=lambda: True)
    with_data: bool = msgspec.field(default_factory=lambda: True)
    with_padding: bool = msgspec.field(default_factory=lambda: True)
    for_all_nodes: list[str] | None = None
    queries: list[ApiQuery] | None = None


class ApiMetricData(msgspec.Struct, omit_defaults=True):
    """One entry of a result, for clients. With error the other fields are zero. avg, min, max: None without a value.

    id (ours): which type-id the entry belongs to; a store of the reference sends none, then position counts."""

    error: str | None = None
    id: str | None = None
    data: list[float | None] = []
    from_: Int64 = msgspec.field(name="from", default_factory=int)
    to: Int64 = msgspec.field(default_factory=int)
    resolution: Int64 = msgspec.field(default_factory=int)
    avg: float | None = msgspec.field(default_factory=float)
    min: float | None = msgspec.field(default_factory=float)
    max: float | None = msgspec.field(default_factory=float)


class EchoedQuery(ApiQuery, rename="kebab", forbid_unknown_fields=False, kw_only=True):
    """A query as an answer repeats it."""


class QueryResponse(msgspec.Struct, omit_defaults=True):
    """Answer of /api/query: results[query][series found]; loading (ours): the store is still reading its files."""

    queries: list[EchoedQuery] = []
    results: list[list[ApiMetricData]] = msgspec.field(default_factory=empty_list)
    loading: bool = False


class HealthRequest(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """Body of GET /api/healthcheck (strict)."""

    cluster: str = ""
    nodes: list[str] = []
    metric_names: list[str] = []


class NodeHealth(msgspec.Struct, kw_only=True):
    """One value of the answer: `State` is full, partial or failed; `HealthMetrics` is a string that holds JSON, or empty."""

    state: str = msgspec.field(name="State", default="")
    health_metrics: str = msgspec.field(name="HealthMetrics", default="")


class StartJob(Job, rename="camel", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Body of start_job: a job, strict, with two presets."""

    shared: str = msgspec.field(default_factory=lambda: "none")
    monitoring_status: Int32 = msgspec.field(default_factory=lambda: 1)


class StopJob(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Body of stop_job, strict. None = not given; jobState empty = completed."""

    job_id: Int64 | None = None
    cluster: str | None = None
    start_time: Int64 | None = None
    job_state: str = ""
    stop_time: Int64 = 0


def decode_query(body: bytes) -> QueryRequest:
    """Body of /api/query, lenient. BodyError: the decoder's text, `EOF` for an empty body."""
    return decode(body, QueryRequest)


def decode_health(body: bytes) -> HealthRequest:
    """BodyError as the reference answers it: `json: unknown field "x"`, `EOF`; the caller puts `parsing request body failed: ` before."""
    return decode(body, HealthRequest, strict=True)


def decode_start_job(body: bytes) -> StartJob:
    """BodyError for anything that is no job object, unknown keys included."""
    return decode(body, StartJob, strict=True)


def decode_stop_job(body: bytes) -> StopJob:
    """BodyError as in `decode_start_job`."""
    return decode(body, StopJob, strict=True)


def decode_free(body: bytes) -> list[Selector]:
    """Body of /api/free: a list of selectors; `[[]]` is the whole store, `[]` nothing."""
    value: list[list[str]] | None = decode(body, list[list[str]])
    return [tuple(selector) for selector in value or []]


def parse_selector(text: str | None) -> Selector:
    """The query parameter `selector` of /api/debug: parts separated by `:`; absent or empty: the root."""
    return tuple(text.split(":")) if text else ()


def selector_candidates(text: str | None) -> list[Selector]:
    """Readings of a debug selector in the order to try: all parts apart, then the rest joined from the third or fourth part on,
    as accelerator levels contain `:` themselves (`alex:a0603:accelerator00000000:49:00.0`)."""
    parts = parse_selector(text)
    joined = [(*parts[:at], ":".join(parts[at:])) for at in (2, 3) if len(parts) > at + 1]
    below = [(*parts[:2], ":".join(parts[2:at]), ":".join(parts[at:])) for at in range(4, len(parts))]
    return [parts, *joined, *below]


def query_to_builtins(query: ApiQuery) -> dict[str, Any]:
    """A query as the answer echoes it: empty members left out."""
    tree: dict[str, Any] = msgspec.to_builtins(query)
    return {key: value for key, value in tree.items() if value not in (None, [], "") or key in ("metric", "host")}
