"""Files of the reference store: `current.wal` and `<from>.bin` (metric-store 4.3, 4.4). Reads; never trusts a count."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WAL_MAGIC = 0xCC1DA701
RECORD_MAGIC = 0xCC1DA7A1
BIN_MAGIC = 0xCC5B0001
LONGEST_RECORD = 1 << 20
DEEPEST = 8


class Broken(ValueError):
    """The file is not as its format says; the text is that of the reference's reader where it has one."""


class Record(NamedTuple):
    time: int
    metric: str
    levels: tuple[str, ...]
    value: float


class Values(NamedTuple):
    frequency: int
    start: int
    values: NDArray[np.float32]


class Level(NamedTuple):
    metrics: dict[str, Values]
    children: dict[str, Level]


class Snapshot(NamedTuple):
    from_: int
    to: int
    root: Level


def wal_records(data: bytes) -> Iterator[Record]:
    """Records of a log up to the first bad one, where Broken says why. Wrong magic of the file: Broken at once."""
    if not data:
        return
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != WAL_MAGIC:
        raise Broken("invalid file magic")
    at = 4
    while at < len(data):
        payload, at = _payload(data, at)
        yield _record(payload)


def _payload(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 8 > len(data):
        raise Broken("read payload: unexpected EOF")
    magic, length = struct.unpack_from("<II", data, at)
    if magic != RECORD_MAGIC:
        raise Broken(f"invalid record magic 0x{magic:08X} (expected 0x{RECORD_MAGIC:08X})")
    if length > LONGEST_RECORD:
        raise Broken(f"record payload too large: {length} bytes")
    end = at + 8 + length
    if end > len(data):
        raise Broken("read payload: unexpected EOF")
    if end + 4 > len(data):
        raise Broken("read CRC: unexpected EOF")
    payload = data[at + 8 : end]
    if struct.unpack_from("<I", data, end)[0] != zlib.crc32(payload):
        raise Broken("CRC mismatch (truncated write or corruption)")
    return payload, end + 4


def _record(payload: bytes) -> Record:
    if len(payload) < 15:
        raise Broken(f"payload too short: {len(payload)} bytes")
    time, length = struct.unpack_from("<qH", payload)
    at = 10 + length
    if at + 5 > len(payload):
        raise Broken("metric name overflows payload")
    metric = payload[10:at].decode(errors="replace")
    number = payload[at]
    at += 1
    levels: list[str] = []
    for _ in range(number):
        if at >= len(payload) or at + 1 + payload[at] + 4 > len(payload):
            raise Broken("selector overflows payload")
        levels.append(payload[at + 1 : at + 1 + payload[at]].decode(errors="replace"))
        at += 1 + payload[at]
    if at + 4 > len(payload):
        raise Broken("value overflows payload")
    return Record(time, metric, tuple(levels), float(np.frombuffer(payload, "<f4", 1, at)[0]))


def read_bin(data: bytes) -> Snapshot:
    """Broken: wrong magic, a count beyond the end of the file."""
    cursor = _Cursor(data)
    if cursor.take("<I") != BIN_MAGIC:
        raise Broken("invalid magic")
    begin, end = cursor.take("<q"), cursor.take("<q")
    return Snapshot(begin, end, cursor.level(0))


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _claim(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        at = self._at
        if size > len(self._data) - at:
            raise Broken(f"unexpected end of file: {size} bytes asked for at offset {at}")
        self._at += size
        return at

    def take(self, form: str) -> int:
        value: int = struct.unpack_from(form, self._data, self._claim(struct.calcsize(form)))[0]
        return value

    def name(self) -> str:
        length = self.take("<H")
        at = self._claim(length)
        return self._data[at : at + length].decode(errors="replace")

    def level(self, depth: int) -> Level:
        if depth > DEEPEST:
            raise Broken("levels are nested too deeply")
        metrics: dict[str, Values] = {}
        for _ in range(self.take("<I")):
            name = self.name()
            frequency, start, number = self.take("<q"), self.take("<q"), self.take("<I")
            at = self._claim(number * 4)
            metrics[name] = Values(frequency, start, np.frombuffer(self._data, "<f4", number, at).astype(np.float32))
        children: dict[str, Level] = {}
        for _ in range(self.take("<I")):
            name = self.name()
            children[name] = self.level(depth + 1)
        return Level(metrics, children)
