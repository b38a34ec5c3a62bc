"""Pages of file formats name the magics and versions that the programs write: taken from files that they write here."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from cc_backend import archive
from cc_metric_collector.sinks import spool
from ccclient import catalog
from ccdaemon import journal
from ccmessage.encode import Encoder
from ccmessage.message import Message, head
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.persist import hostlog, parts, snapshot
from ccstore.registry import HostKey

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
HOST = HostKey("c", "h")


def page(name: str) -> str:
    return re.sub(r"\s+", " ", (FORMATS / name).read_text())


def header(file: Path) -> tuple[bytes, int, str, int]:
    """(magic, version of the journal, kind, version of the kind), by the layout that journal.md gives."""
    data = file.read_bytes()[:64]
    magic, version, kind_version, kind = struct.unpack_from("<8sHH8s", data)
    assert struct.unpack_from("<I", data, 60)[0] == zlib.crc32(data[:60])
    return magic, version, kind.rstrip(b"\0").decode(), kind_version


def a_spool(folder: Path) -> Path:
    kept = spool.Spool(folder, 1 << 20)
    encoder = Encoder("s")
    for value in (1.0, 2.0):
        encoder.add(Message(head("m", {"hostname": "h"}, {}), {"value": value}, 10**18))
        kept.append(encoder.take())
    first = kept.head()
    assert first is not None
    kept.pop(first[0])
    kept.close()
    return next(folder.glob(f"*{spool.SUFFIX}"))


def a_log(folder: Path) -> Path:
    log = hostlog.HostLog(folder, HOST)
    log.write([b"x"])
    log.park()
    return parts.folder_of(folder, HOST) / parts.CURRENT


def a_snapshot(folder: Path) -> Path:
    engine = Engine(default=MetricTable({"m": MetricSpec(60, None)}))
    assert engine.ingest(b"m,hostname=h value=1 1700000000\n", cluster="c", now=1700000000).stored == 1
    file = folder / "1.bin"
    with engine.view(HOST) as view:
        snapshot.write_snapshot(view, 1, file, 1700000000)
    return file


@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [("spool.md", a_spool, spool.KIND), ("wal.md", a_log, parts.PART), ("snapshot.md", a_snapshot, parts.SNAPSHOT)],
)
def test_kind_and_version_of_a_journal(name: str, write: object, kind: bytes, tmp_path: Path) -> None:
    magic, version, its_kind, kind_version = header(write(tmp_path))  # type: ignore[operator]
    assert its_kind == kind.decode()
    assert f"`{its_kind}`" in page(name)
    assert re.search(rf"version(?: \|)? {kind_version}\b", page(name))
    assert f"`{magic.decode().encode('unicode_escape').decode()}`" in page("journal.md")
    assert f"Version of this format: **{version}**" in page("journal.md")


def test_limits_and_magics() -> None:
    assert f"{journal.MAX_RECORD >> 20} MiB (`MAX_RECORD`)" in page("journal.md")
    assert journal.MARK.hex(" ").upper() in page("journal.md")
    assert f"magic `{spool.CURSOR_MAGIC.decode()}`" in page("spool.md")
    log, dump = (magic.hex(" ") for magic in parts.REFERENCE_MAGICS)
    assert f"`{log}`" in page("wal.md")
    assert f"`{dump}`" in page("snapshot.md")
    assert f"up to {snapshot.TILES} tiles" in page("snapshot.md")


def test_cursor_begins_with_its_magic(tmp_path: Path) -> None:
    a_spool(tmp_path)
    data = (tmp_path / "cursor").read_bytes()
    assert data.startswith(spool.CURSOR_MAGIC) and f"{len(data)} bytes" in page("spool.md")


def test_version_of_the_archive() -> None:
    assert f"(version {archive.VERSION})" in page("job-archive.md")
    assert f'"{archive.VERSION}\\n"' in page("job-archive.md")


def test_format_of_the_metric_list() -> None:
    assert f"| `format` | integer | {catalog._FORMAT} |" in page("metric-list.md")


def test_every_page_is_held_to_the_code() -> None:
    assert {p.name for p in FORMATS.glob("*.md")} == {"journal.md", "wal.md", "snapshot.md", "spool.md", "job-archive.md", "metric-list.md"}
