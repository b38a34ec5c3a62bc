"""A folder of the reference is taken over at a start (design T5)."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from ccstore.engine import Engine
from ccstore.metrics import MetricTable
from ccstore.persist.recover import HostImage, first_pass, read_host
from ccstore.registry import HostKey

HOST = HostKey("alex", "a0603")
T = 1_700_000_000
BIN = bytes.fromhex(
    "01005bcc00f1536500000000b4f1536500000000010000000500636c6f636b3c0000000000000000f15365000000000300000000081645"
    "0000c07f00101645010000000700736f636b6574300100000006006d656d5f62773c000000000000003cf15365000000000100000000004441 00000000"
)


def wal(*records: tuple[int, str, tuple[str, ...], float]) -> bytes:
    out = bytes.fromhex("01a71dcc")
    for time, metric, levels, value in records:
        payload = struct.pack("<qH", time, len(metric)) + metric.encode() + bytes([len(levels)])
        payload += b"".join(bytes([len(x)]) + x.encode() for x in levels) + struct.pack("<f", value)
        out += bytes.fromhex("a1a71dcc") + struct.pack("<I", len(payload)) + payload + struct.pack("<I", zlib.crc32(payload))
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "alex" / "a0603"
    made.mkdir(parents=True)
    return made


def start(root: Path, since: int = 0) -> tuple[HostImage, dict[tuple[object, ...], float]]:
    engine = Engine(default=MetricTable({}), clock=lambda: float(T))
    image = read_host(root, HOST, since=since, frequency_of={"clock": 60, "mem_bw": 60}.get)
    for _ in first_pass(engine, image):
        pass
    found = {}
    if HOST in engine.hosts():
        with engine.view(HOST) as view:
            for group in view.groups:
                for number, tile in group.tiles:
                    for row, key in enumerate(group.keys):
                        for column, value in enumerate(tile[row]):
                            if value == value:
                                found[key.levels, key.metric, (number * 64 + column) * 60 + key.phase + 30] = float(value)
    return image, found


def test_snapshot_json_and_log_are_one_history(folder: Path, tmp_path: Path) -> None:
    """PITFALL metric-store 4.2: each load of the reference moves the data; here `start` is the time of the first value."""
    (folder / f"{T}.bin").write_bytes(BIN)
    older = {"metrics": {"clock": {"frequency": 60, "start": T - 120, "data": [1.5, None]}}, "children": {}, "from": T - 120, "to": T}
    (folder / f"{T - 120}.json").write_text(json.dumps(older) + "\n")
    (folder / "current.wal").write_bytes(wal((T + 185, "clock", (), 7.0), (T + 61, "mem_bw", ("socket0",), 9.0)) + b"\xa1\xa7")
    image, found = start(tmp_path)
    assert image.findings == []
    assert found == {
        ((), "clock", T - 120): 1.5,
        ((), "clock", T): 2400.5,
        ((), "clock", T + 120): 2401.0,
        ((), "clock", T + 180): 7.0,
        (("socket0",), "mem_bw", T + 60): 9.0,
    }


def test_damage_is_told_and_the_rest_is_taken(folder: Path, tmp_path: Path) -> None:
    """PITFALL metric-store 4.7, 4: one corrupt file and the reference does not start."""
    (folder / f"{T}.bin").write_bytes(BIN)
    (folder / f"{T + 500}.bin").write_bytes(BIN[:60])
    (folder / f"{T - 120}.json").write_text("{")
    (folder / "current.wal").write_bytes(wal((T + 180, "nobody_knows", (), 7.0)))
    image, found = start(tmp_path)
    assert len(found) == 3
    assert sorted(f.path.name for f in image.findings) == [f"{T - 120}.json", f"{T + 500}.bin", "current.wal"]


def test_what_left_the_retention_is_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / f"{T}.bin").write_bytes(BIN)
    (folder / "current.wal").write_bytes(wal((T + 180, "clock", (), 7.0)))
    assert start(tmp_path, since=T + 181)[1] == {}
    assert len(start(tmp_path, since=T + 180)[1]) == 4, "the window's end counts, not its begin (PITFALL metric-store 4.7, 3)"
