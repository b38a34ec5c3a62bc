"""binaryCheckpointReader: the reference's files exactly as metric-store 4.10 shows them, ours in the same layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ccdaemon.journal import Writer
from ccstore.persist.dump import float_text, main
from ccstore.persist.parts import PART, part_head
from ccstore.persist.records import encode_free, encode_keys, encode_samples
from ccstore.persist.reference import Broken, read_bin
from ccstore.registry import SeriesKey

WAL = bytes.fromhex(
    "01a71dcc a1a71dcc1400000000f1536500000000 0500636c6f636b00 00081645 7ed8b41e"
    "a1a71dcc1d0000003cf1536500000000 06006d656d5f6277 01 07736f636b657430 00004441 b45a1960"
)
BIN = bytes.fromhex(
    "01005bcc00f1536500000000b4f1536500000000010000000500636c6f636b3c0000000000000000f15365000000000300000000081645"
    "0000c07f001016450100000007 00736f636b6574300100000006006d656d5f62773c000000000000003cf15365000000000100000000004441 00000000"
)
WAL_TEXT = """=== WAL File Dump ===
File:        {path}
File Magic:  0xCC1DA701 (valid)

--- Record #1 ---
  Timestamp:   1700000000 (2023-11-14T22:13:20Z)
  Metric:      clock
  Selectors:   (none)
  Value:       2400.5

--- Record #2 ---
  Timestamp:   1700000060 (2023-11-14T22:14:20Z)
  Metric:      mem_bw
  Selectors:   [socket0]
  Value:       12.25

=== Total valid records: 2 ===
"""
BIN_TEXT = """=== Binary Snapshot Dump ===
File:    {path}
Magic:   0xCC5B0001 (valid)
From:    1700000000 (2023-11-14T22:13:20Z)
To:      1700000180 (2023-11-14T22:16:20Z)

Metrics (1):
  [clock]
    Frequency:  60 s
    Start:      1700000000 (2023-11-14T22:13:20Z)
    Values (3):
      [22:13:20] 2400.5 NaN 2401␣
Children (1):
  [socket0]
    Metrics (1):
      [mem_bw]
        Frequency:  60 s
        Start:      1700000060 (2023-11-14T22:14:20Z)
        Values (1):
          [22:14:20] 12.25␣
"""


@pytest.mark.parametrize(("name", "data", "text"), [("current.wal", WAL, WAL_TEXT), ("1700000000.BIN", BIN, BIN_TEXT)])
def test_files_of_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"Output written to {path.with_suffix('.txt')}\n"
    assert path.with_suffix(".txt").read_text() == text.format(path=path).replace("␣", " ")


def test_bad_record_ends_the_list(tmp_path: Path) -> None:
    path = tmp_path / "current.wal"
    path.write_bytes(WAL[:-1])
    assert main([str(path)]) == 0
    text = path.with_suffix(".txt").read_text()
    assert "--- Record #2: ERROR ---\n  Error: read CRC: unexpected EOF\n  (stopping replay — likely truncated trailing record)\n\n" in text
    assert text.endswith("=== Total valid records: 1 ===\n")
    path.write_bytes(b"")
    assert main([str(path)]) == 0
    assert "WAL file is empty (0 bytes)." in path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("at", range(20, len(BIN), 3))
def test_a_wrong_count_asks_for_no_memory(at: int) -> None:
    """PITFALL metric-store 4.4: a corrupt count can ask for gigabytes."""
    try:
        read_bin(BIN[:at] + b"\xff\xff\xff\x7f" + BIN[at + 4 :])
    except Broken:
        pass


def test_own_log(tmp_path: Path) -> None:
    path = tmp_path / "7.wal"
    writer = Writer.create(path, PART, head=part_head(7))
    keys = encode_keys([3], [SeriesKey(("socket0",), "mem_bw", 60, 20)])
    writer.append(
        keys, keys, encode_samples(np.array([3]), np.array([1700000060]), np.array([12.25], np.float32)), encode_free(("socket0",), 5)
    )
    writer.close()
    assert main([str(path)]) == 0
    text = path.with_suffix(".txt").read_text()
    assert "Part:        7" in text and "Metric:      mem_bw" in text and "Value:       12.25" in text and "--- Freed ---" in text


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "Usage: " in capsys.readouterr().err
    assert main(["x.json"]) == 1
    assert 'must have .wal or .bin extension, got ".json"' in capsys.readouterr().err
    assert main([str(tmp_path / "none.bin")]) == 1
    assert "Error opening" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(123456789, "1.2345679e+08"), (1e6, "1e+06"), (100000, "100000"), (0.0001, "0.0001"), (0.00001, "1e-05"), (-2.5, "-2.5"), (0, "0")],
)
def test_floats(value: float, text: str) -> None:
    assert float_text(value) == text
