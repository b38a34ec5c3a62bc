"""`binaryCheckpointReader FILE`: a log part or snapshot as text, ours and the reference's in one layout (metric-store 4.10)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from ccdaemon.journal import Damage, JournalError, Reader
from numpy.typing import NDArray

from ..registry import SeriesKey
from . import reference, snapshot
from .parts import PART, REFERENCE_MAGICS, SNAPSHOT, entries, part_number
from .records import Free, Keys
from .reference import Level, Values

PER_ROW = 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        print("Usage: binaryCheckpointReader <file.wal|file.bin>", file=sys.stderr)
        return 1
    path = Path(arguments[0])
    kind = path.suffix.lower()
    if kind not in (".wal", ".bin"):
        print(f'Error: file must have .wal or .bin extension, got "{path.suffix}"', file=sys.stderr)
        return 1
    target = path.with_suffix(".txt")
    try:
        data = path.read_bytes()
    except OSError as e:
        print(f"Error opening {path}: {e.strerror}", file=sys.stderr)
        return 1
    try:
        with target.open("w") as out:
            (dump_wal if kind == ".wal" else dump_bin)(path, data, out)
    except OSError as e:
        print(f"Error creating output {target}: {e.strerror}", file=sys.stderr)
        return 1
    except (reference.Broken, JournalError, snapshot.Damaged) as e:
        print(f"Error reading {path}: {e}", file=sys.stderr)
        return 1
    print(f"Output written to {target}")
    return 0


def dump_wal(path: Path, data: bytes, out: TextIO) -> None:
    out.write(f"=== WAL File Dump ===\nFile:        {path}\n")
    if not data:
        out.write("WAL file is empty (0 bytes).\n")
    elif data[:4] in REFERENCE_MAGICS:
        _reference_wal(data, out)
    else:
        _own_wal(path, out)


def _reference_wal(data: bytes, out: TextIO) -> None:
    out.write(f"File Magic:  0x{reference.WAL_MAGIC:08X} (valid)\n\n")
    number = 0
    try:
        for record in reference.wal_records(data):
            number += 1
            _write_record(out, number, record.time, record.metric, record.levels, record.value)
    except reference.Broken as e:
        out.write(f"--- Record #{number + 1}: ERROR ---\n  Error: {e}\n  (stopping replay — likely truncated trailing record)\n\n")
    out.write(f"=== Total valid records: {number} ===\n")


def _own_wal(path: Path, out: TextIO) -> None:
    with Reader(path, PART) as reader:
        version = reader.header.version
    out.write(f"File Magic:  {PART.decode()} version {version} (valid)\nPart:        {part_number(path)}\n\n")
    names: dict[int, SeriesKey] = {}
    number = 0
    for content in entries(path):
        if isinstance(content, Keys):
            names |= dict(zip(content.ids, content.keys, strict=True))
        elif isinstance(content, Free):
            out.write(f"--- Freed ---\n  Before:      {_time(content.before)}\n  Selectors:   {_levels(content.levels)}\n\n")
        elif isinstance(content, Damage):
            out.write(f"--- ERROR ---\n  Error: bytes {content.offset} to {content.offset + content.length} hold no whole record\n\n")
        else:
            for id_, time, value in zip(content.ids.tolist(), content.times.tolist(), content.values, strict=True):
                number += 1
                key = names.get(id_)
                _write_record(out, number, time, key.metric if key else f"(series {id_}, name lost)", key.levels if key else (), value)
    out.write(f"=== Total valid records: {number} ===\n")


def _write_record(out: TextIO, number: int, time: int, metric: str, levels: Sequence[str], value: float) -> None:
    out.write(f"--- Record #{number} ---\n  Timestamp:   {_time(time)}\n  Metric:      {metric}\n")
    out.write(f"  Selectors:   {_levels(levels)}\n  Value:       {float_text(value)}\n\n")


def _levels(levels: Sequence[str]) -> str:
    return f"[{', '.join(levels)}]" if levels else "(none)"


def dump_bin(path: Path, data: bytes, out: TextIO) -> None:
    out.write(f"=== Binary Snapshot Dump ===\nFile:    {path}\n")
    if data[:4] in REFERENCE_MAGICS:
        found = reference.read_bin(data)
        out.write(f"Magic:   0x{reference.BIN_MAGIC:08X} (valid)\nFrom:    {_time(found.from_)}\nTo:      {_time(found.to)}\n\n")
        _write_level(out, found.root, 0)
        return
    contents = snapshot.read(path)
    root, begin, end = _tree(contents)
    out.write(f"Magic:   {SNAPSHOT.decode()} version 1 (valid)\nTaken:   {_time(contents.head.taken)}\n")
    out.write(f"Log:     from part {contents.head.next_part} on\nFrom:    {_time(begin)}\nTo:      {_time(end)}\n\n")
    for damage in contents.damage:
        out.write(f"ERROR: bytes {damage.offset} to {damage.offset + damage.length} hold no whole frame\n")
    _write_level(out, root, 0)


def _tree(contents: snapshot.Contents) -> tuple[Level, int, int]:
    """A snapshot of ours as levels; every series from its first to its last bin, a second generation behind its name."""
    table = contents.table
    arrays = [np.full(max(0, int(last - first) + 1), np.nan, np.float32) for first, last in zip(table.first, table.last, strict=True)]
    for _, payload in contents.blocks:
        for block in snapshot.decode_block(payload, table):
            for row, index in enumerate(table.rows[block.group]):
                _lay(arrays[index], block.first_bin - int(table.first[index]), block.values[row])
    root = Level({}, {})
    begin, end = 2**62, 0
    for key, first, values in zip(table.keys, table.first.tolist(), arrays, strict=True):
        level = root
        for name in key.levels:
            level = level.children.setdefault(name, Level({}, {}))
        start = first * key.frequency + key.phase + key.frequency // 2
        name = key.metric if key.metric not in level.metrics else f"{key.metric} (every {key.frequency} s, phase {key.phase})"
        level.metrics[name] = Values(key.frequency, start, values)
        begin, end = min(begin, start), max(end, start + len(values) * key.frequency)
    return root, begin if table.keys else 0, end


def _lay(onto: NDArray[np.float32], at: int, values: NDArray[np.float32]) -> None:
    low, high = max(0, at), min(len(onto), at + len(values))
    if low < high:
        onto[low:high] = values[low - at : high - at]


def _write_level(out: TextIO, level: Level, depth: int) -> None:
    pad = "  " * depth
    if level.metrics:
        out.write(f"{pad}Metrics ({len(level.metrics)}):\n")
        for name, series in level.metrics.items():
            out.write(f"{pad}  [{name}]\n{pad}    Frequency:  {series.frequency} s\n{pad}    Start:      {_time(series.start)}\n")
            if not len(series.values):
                out.write(f"{pad}    Values (0): (none)\n")
                continue
            out.write(f"{pad}    Values ({len(series.values)}):\n")
            for row in _rows(series):
                out.write(f"{pad}      {row}\n")
    if level.children:
        out.write(f"{pad}Children ({len(level.children)}):\n")
        for name, child in level.children.items():
            out.write(f"{pad}  [{name}]\n")
            _write_level(out, child, depth + 2)


def _rows(series: Values) -> Iterator[str]:
    for at in range(0, len(series.values), PER_ROW):
        clock = datetime.fromtimestamp(series.start + at * series.frequency, UTC).strftime("%H:%M:%S")
        yield f"[{clock}] " + "".join(f"{float_text(v)} " for v in series.values[at : at + PER_ROW])


def _time(seconds: int) -> str:
    try:
        return f"{seconds} ({datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')})"
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def float_text(value: float | np.float32) -> str:
    """Shortest decimals that name the float32; exponent form below 1e-4 and from 1e6 on, two digits at least (4.10)."""
    single = np.float32(value)
    if np.isnan(single):
        return "NaN"
    if np.isinf(single):
        return "+Inf" if single > 0 else "-Inf"
    if single == 0:
        return "-0" if np.signbit(single) else "0"
    scientific = np.format_float_scientific(single, unique=True, trim="-", exp_digits=2)
    exponent = int(scientific.split("e")[1])
    return scientific if exponent < -4 or exponent >= 6 else str(np.format_float_positional(single, unique=True, trim="-"))
