"""The Parquet archive: columns, order, scopes, spans; nothing twice, nothing half."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.persist.parquet import Archive, marks, remove_leftovers, scope_of
from ccstore.registry import HostKey

NOW = 1_700_000_000


@pytest.fixture
def engine() -> Engine:
    made = Engine(default=MetricTable({"clock": MetricSpec(60, "avg"), "mem_bw": MetricSpec(60, "sum")}), clock=lambda: float(NOW))
    lines = []
    for host in ("f2", "f10"):
        for n in range(5):
            time = NOW - 1000 + 60 * n
            lines += [f"clock,hostname={host},type=hwthread,type-id={i} value={n + i / 2} {time}" for i in (10, 2)]
            lines.append(f"mem_bw,hostname={host} value={n} {time}")
    got = made.ingest("\n".join(lines).encode(), cluster="fritz", now=NOW)
    assert got.stored == 30
    return made


def write(engine: Engine, directory: Path, cutoff: int, since: int = 0) -> Archive:
    archive = Archive(directory, "fritz", cutoff)
    for host in ("f10", "f2"):
        with engine.view(HostKey("fritz", host)) as view:
            archive.add(view, since)
    archive.close()
    return archive


@pytest.mark.parametrize(
    ("levels", "scope"),
    [
        ((), ("node", "")),
        (("socket1",), ("socket", "1")),
        (("cpu4",), ("hwthread", "4")),
        (("hwthread12",), ("hwthread", "12")),
        (("memoryDomain0",), ("memoryDomain", "0")),
        (("accelerator00000000:49:00.0",), ("accelerator", "00000000:49:00.0")),
        (("socketX",), ("socketX", "")),
        (("die0",), ("die0", "")),
        (("unknown",), ("unknown", "")),
        (("socket0", "x1"), ("socket", "0/x1")),
    ],
)
def test_scopes(levels: tuple[str, ...], scope: tuple[str, str]) -> None:
    """Also PITFALL metric-store 4.9: level 4 rows lose the id of level 3."""
    assert scope_of(levels) == scope


def test_file(engine: Engine, tmp_path: Path) -> None:
    path = write(engine, tmp_path, NOW).path
    assert path == tmp_path / "fritz" / f"{NOW}.parquet"
    table = pq.read_table(path)
    assert table.column_names == ["cluster", "hostname", "metric", "scope", "scope_id", "timestamp", "frequency", "value"]
    assert [str(f.type) for f in table.schema] == ["string"] * 5 + ["int64", "int64", "float"] and not any(f.nullable for f in table.schema)
    assert table.num_rows == 30
    rows = [tuple(r[c] for c in ("cluster", "hostname", "metric", "timestamp", "scope", "scope_id")) for r in table.to_pylist()]
    assert rows == sorted(rows)
    assert table.to_pylist()[0] == {"cluster": "fritz", "hostname": "f10", "metric": "clock", "scope": "hwthread", "scope_id": "10",
                                    "timestamp": NOW - 1000, "frequency": 60, "value": 5.0}  # fmt: skip
    column = pq.ParquetFile(path).metadata.row_group(0)
    assert column.column(0).compression == "ZSTD" and len(column.sorting_columns) == 6


def test_each_run_takes_what_the_last_one_left(engine: Engine, tmp_path: Path) -> None:
    first = write(engine, tmp_path, NOW - 900)
    assert marks(tmp_path) == {("fritz", "f10"): NOW - 900, ("fritz", "f2"): NOW - 900}
    second = write(engine, tmp_path, NOW, since=NOW - 900)
    assert (first.rows, second.rows) == (12, 18)
    assert marks(tmp_path)["fritz", "f2"] == NOW


def test_nothing_to_write_is_no_file(engine: Engine, tmp_path: Path) -> None:
    assert write(engine, tmp_path, NOW - 5000).rows == 0
    assert not list(tmp_path.rglob("*.parquet*"))


def test_a_crash_leaves_no_file_with_a_final_name(engine: Engine, tmp_path: Path) -> None:
    """PITFALL metric-store 4.9: written directly to its final name."""
    archive = Archive(tmp_path, "fritz", NOW)
    with engine.view(HostKey("fritz", "f2")) as view:
        archive.add(view, 0)
    archive._flush()
    assert [p.name for p in (tmp_path / "fritz").iterdir()] == [f"{NOW}.parquet.tmp"]
    assert marks(tmp_path) == {}
    remove_leftovers(tmp_path)
    assert not list((tmp_path / "fritz").iterdir())
    (tmp_path / "fritz" / "1.parquet").write_text("not one")
    assert marks(tmp_path) == {}
