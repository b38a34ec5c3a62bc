"""Metric data of jobs as archive and answers have it, and the documents `meta.json` and `data.json`.

Samples stay raw JSON on reading (`Series.data`): who draws or copies them never needs Python numbers, who computes calls `samples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from .fields import empty_list
from .jobs import Job, JobLinks
from .jsonin import BodyError, first_value, shaped
from .numbers import nan_from_none
from .scopes import Scope
from .units import MetricUnit

if TYPE_CHECKING:
    Sample = float
else:
    # In JSON a sample without a value is null; in memory NaN, made by `__post_init__`.
    Sample = float | None

NAN = float("nan")


class DocumentError(ValueError):
    """An archive document cannot be read; the text says what is wrong and where."""


class Statistics(msgspec.Struct):
    """Minimum, average, maximum of one series; zeros where an old file has none, NaN for null."""

    min: Sample = 0.0
    avg: Sample = 0.0
    max: Sample = 0.0

    def __post_init__(self) -> None:
        self.min, self.avg, self.max = nan_from_none(self.min), nan_from_none(self.avg), nan_from_none(self.max)


class Series(msgspec.Struct, omit_defaults=True):
    """Samples of one part of one host. id: number of thread, core, socket, domain, or accelerator id; none at node scope (read
    files may have one). data: JSON list of numbers and nulls."""

    hostname: str
    id: str | None = None
    statistics: Statistics = msgspec.field(default_factory=Statistics)
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"[]"))


class StatsSeries(msgspec.Struct, omit_defaults=True):
    """Per sample over the series of a metric. mean is null in new files, median missing in old ones. Gaps are None."""

    percentiles: dict[str, list[float | None]] = {}
    mean: list[float | None] | None = None
    median: list[float | None] | None = None
    min: list[float | None] = msgspec.field(default_factory=empty_list)
    max: list[float | None] = msgspec.field(default_factory=empty_list)


class JobMetric(msgspec.Struct, rename="camel", omit_defaults=True):
    """Series of one metric at one scope. timestep: seconds; sample i belongs to job start + i · timestep."""

    statistics_series: StatsSeries | None = None
    unit: MetricUnit = msgspec.field(default_factory=MetricUnit)
    series: list[Series] = msgspec.field(default_factory=empty_list)
    timestep: int = msgspec.field(default_factory=int)


JobData = dict[str, dict[Scope, JobMetric]]
"""metric → scope → series."""

# What msgspec raises for bytes that are no JSON text of the type: invalid UTF-8 in keys and too deep nesting are classes of their own.
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SAMPLES = msgspec.json.Decoder(list[float | None])
_METRIC = msgspec.json.Decoder(JobMetric)
_RAW_METRICS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_META = msgspec.json.Decoder(Job)


def samples(series: Series) -> list[float]:
    """Values of a series, NaN for null. DocumentError: the data is no list of numbers."""
    try:
        return [NAN if value is None else value for value in _SAMPLES.decode(series.data)]
    except _BROKEN as e:
        raise DocumentError(f"data of {series.hostname}: {e}") from None


def decode_data(document: bytes, metrics: Iterable[str] | None = None, scopes: Iterable[Scope] | None = None) -> JobData:
    """A `data.json` (unpacked), all of it or the asked metrics and scopes.

    `filesystems`, which old schemas suggest as an array, and unknown scopes are left out. DocumentError names metric and scope.
    """
    wanted, asked = set(metrics) if metrics is not None else None, set(scopes) if scopes is not None else None
    try:
        tree = _RAW_METRICS.decode(document)
    except _BROKEN as e:
        raise DocumentError(f"data document: {e}") from None
    result: JobData = {}
    for metric, raw in tree.items():
        if (wanted is not None and metric not in wanted) or bytes(raw).lstrip()[:1] == b"[":
            continue
        found = _decode_scopes(metric, raw, asked)
        if found:
            result[metric] = found
    return result


def _decode_scopes(metric: str, raw: msgspec.Raw, asked: set[Scope] | None) -> dict[Scope, JobMetric]:
    try:
        by_scope = _RAW_METRICS.decode(raw)
    except _BROKEN as e:
        raise DocumentError(f"data document: {metric}: {e}") from None
    result = {}
    for word, entry in by_scope.items():
        scope = Scope.of(word)
        if scope is None or (asked is not None and scope not in asked):
            continue
        try:
            result[scope] = _METRIC.decode(entry)
        except _BROKEN as e:
            raise DocumentError(f"data document: {metric}, {word}: {e}") from None
    return result


def encode_data(data: Mapping[str, Mapping[Scope, JobMetric]]) -> bytes:
    """Bytes of a `data.json`; metrics and scopes without series are left out; NaN and ±Inf in statistics become null."""
    tree = {
        metric: {scope: entry for scope, entry in sorted(by_scope.items()) if entry.series}
        for metric, by_scope in sorted(data.items())
        if any(entry.series for entry in by_scope.values())
    }
    return msgspec.json.encode(tree) + b"\n"


def decode_meta(document: bytes) -> Job:
    """A `meta.json`. Unknown keys (`stopTime`, `exclusive` …) and `statistics.filesystems` are ignored. DocumentError says what is
    wrong."""
    try:
        return _META.decode(document)
    except _BROKEN:
        pass
    try:  # nulls, keys in another case, `filesystems`
        return msgspec.convert(_without_lists(shaped(first_value(document), Job)), type=Job)
    except (msgspec.ValidationError, BodyError, RecursionError) as e:
        raise DocumentError(f"meta document: {e}") from None


def _without_lists(meta: Any) -> Any:
    """Without the array `filesystems` that old schemas suggest among the statistics."""
    if isinstance(meta, dict) and isinstance(meta.get("statistics"), dict):
        meta["statistics"] = {metric: entry for metric, entry in meta["statistics"].items() if not isinstance(entry, list)}
    return meta


def encode_meta(job: Job) -> bytes:
    """Bytes of a `meta.json`: like the REST form of a job, but nulls are left out, as the schema refuses them, and tags have id 0."""
    links = JobLinks(items=job.concurrent_jobs.items or [], count=job.concurrent_jobs.count)
    tree: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(job, concurrent_jobs=links))
    for tag in tree.get("tags", ()):
        tag["id"] = 0
    return msgspec.json.encode({key: value for key, value in tree.items() if value is not None}) + b"\n"
