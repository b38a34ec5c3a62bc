"""Data that leaves the retention, as Parquet: `<directory>/<cluster>/<cutoff>.parquet` (metric-store 4.9, design T7).

One file per cluster and run, zstd, sorted by hostname, metric, timestamp, scope, scope_id. Which span of which host it holds stands
in its metadata, so that a start knows what is archived already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from ccdaemon.files import sync_directory
from numpy.typing import NDArray

from ..arena import BINS

if TYPE_CHECKING:
    from ..registry import GroupView, HostView

COLUMNS = ("cluster", "hostname", "metric", "scope", "scope_id", "timestamp", "frequency", "value")
ORDER = ("cluster", "hostname", "metric", "timestamp", "scope", "scope_id")
SPANS = b"cc-spans"
"""Key of the metadata: JSON, host → [from, to)."""
ROWS = 1 << 20
"""Rows of a row group at least, so that many small hosts do not pass the format's 32,767 groups."""
_SCOPES = re.compile(r"(socket|memoryDomain|core|hwthread|cpu|accelerator)(?=[0-9])(.*)")


def scope_of(levels: tuple[str, ...]) -> tuple[str, str]:
    """(scope, scope_id): node; `hwthread12` → hwthread, 12; anything unknown → itself, "". Level 4 is kept behind a slash."""
    if not levels:
        return "node", ""
    found = _SCOPES.fullmatch(levels[0])
    scope, id_ = (found[1].replace("cpu", "hwthread"), found[2]) if found else (levels[0], "")
    return scope, "/".join([id_, *levels[1:]])


class Archive:
    """One file being written, host by host in order of their names. `close` gives it its name; without it nothing remains."""

    def __init__(self, directory: Path, cluster: str, cutoff: int) -> None:
        self.path = directory / cluster / f"{cutoff}.parquet"
        while self.path.exists():
            self.path = self.path.with_name(f"{int(self.path.stem) + 1}.parquet")
        self.rows = 0
        self._tmp = self.path.with_name(self.path.name + ".tmp")
        self._cluster = cluster
        self._cutoff = cutoff
        self._spans: dict[str, tuple[int, int]] = {}
        self._held: list[Any] = []
        self._held_rows = 0
        self._writer: Any = None

    def add(self, view: HostView, since: int) -> None:
        """What the host holds in [since, cutoff). OSError."""
        table = host_table(view, self._cluster, since, self._cutoff)
        self._spans[view.host.host] = (since, self._cutoff)
        if table is None:
            return
        self._held.append(table)
        self._held_rows += table.num_rows
        self.rows += table.num_rows
        if self._held_rows >= ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        table = pa.concat_tables(self._held)
        if self._writer is None:
            self._tmp.parent.mkdir(parents=True, exist_ok=True)
            sorting = pq.SortingColumn.from_ordering(table.schema, [(name, "ascending") for name in ORDER])
            self._writer = pq.ParquetWriter(str(self._tmp), table.schema, compression="zstd", sorting_columns=sorting)
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._held, self._held_rows = [], 0

    def close(self) -> bool:
        """Syncs and renames; False: there was nothing to write, and there is no file."""
        self._flush()
        if self._writer is None:
            return False
        self._writer.add_key_value_metadata({SPANS: msgspec.json.encode(self._spans)})
        self._writer.close()
        fd = os.open(self._tmp, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self._tmp.rename(self.path)
        sync_directory(self.path.parent)
        return True

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._tmp.unlink(missing_ok=True)


def host_table(view: HostView, cluster: str, since: int, before: int) -> Any:
    """A sorted pyarrow table of one host's values in [since, before); None: there are none."""
    import pyarrow as pa

    keys = [k for group in view.groups for k in group.keys]
    found = []
    at = 0
    for group in view.groups:
        found += [(rows + at, times, values) for rows, times, values in _group_columns(group, since, before)]
        at += len(group.keys)
    if not found:
        return None
    series = np.concatenate([c[0] for c in found])
    times = np.concatenate([c[1] for c in found])
    values = np.concatenate([c[2] for c in found])
    scopes = [scope_of(k.levels) for k in keys]
    metric_rank, metrics = _ranks([k.metric for k in keys])
    scope_rank, scope_names = _ranks([s for s, _ in scopes])
    id_rank, ids = _ranks([i for _, i in scopes])
    order = np.lexsort((id_rank[series], scope_rank[series], times, metric_rank[series]))
    series, times, values = series[order], times[order], values[order]
    frequency = np.array([k.frequency for k in keys], np.int64)
    one = np.zeros(len(series), np.int32)
    columns = [
        pa.array([cluster]).take(pa.array(one)),
        pa.array([view.host.host]).take(pa.array(one)),
        pa.array(metrics).take(pa.array(metric_rank[series])),
        pa.array(scope_names).take(pa.array(scope_rank[series])),
        pa.array(ids).take(pa.array(id_rank[series])),
        pa.array(times),
        pa.array(frequency[series]),
        pa.array(values),
    ]
    fields = [pa.field(name, column.type, nullable=False) for name, column in zip(COLUMNS, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _ranks(names: list[str]) -> tuple[NDArray[np.int32], list[str]]:
    """Place of each name among the sorted distinct ones (by their UTF-8 bytes, as Parquet orders them)."""
    distinct = sorted(set(names), key=lambda n: n.encode())
    place = {name: n for n, name in enumerate(distinct)}
    return np.array([place[n] for n in names], np.int32), distinct


def _group_columns(group: GroupView, since: int, before: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """(row, time, value) of every value in the span, tile by tile."""
    middle = np.array([k.phase for k in group.keys], np.int64) + group.frequency // 2
    for number, tile in group.tiles:
        first = number * BINS * group.frequency
        if first >= before or first + (BINS + 2) * group.frequency < since:
            continue
        rows, columns = np.nonzero(~np.isnan(tile[: len(group.keys)]))
        times = (number * BINS + columns) * group.frequency + middle[rows]
        inside = (times >= since) & (times < before)
        if inside.any():
            yield rows[inside], times[inside], tile[rows[inside], columns[inside]]


def marks(directory: Path) -> Mapping[tuple[str, str], int]:
    """(cluster, host) → up to when it is archived, from all files below `directory`. Files that are no Parquet are passed over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[tuple[str, str], int] = {}
    for path in sorted(directory.glob("*/*.parquet")):
        try:
            metadata = pq.read_metadata(path).metadata or {}
            spans = msgspec.json.decode(metadata.get(SPANS, b"{}"), type=dict[str, tuple[int, int]])
        except (OSError, pa.ArrowException, msgspec.MsgspecError):
            continue
        for host, (_, until) in spans.items():
            key = (path.parent.name, host)
            found[key] = max(found.get(key, until), until)
    return found


def remove_leftovers(directory: Path) -> None:
    """Files that a crash left unfinished."""
    for path in directory.glob("*/*.parquet.tmp"):
        path.unlink(missing_ok=True)
