"""Append-only files of framed records with checksums: WAL parts and sink spools (format: docs/formats/journal.md).

A cut at any byte or a flipped bit costs the records it hits and no other. This module does not know what is in a record.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

MAGIC = b"CCjrnl\r\n"
VERSION = 1
BLOCK = 64  # one copy of the header
START = 2 * BLOCK  # offset of the first frame
MARK = b"\xcc\x4a\x9e\x5b"
FRAME = struct.Struct("<4sII")  # mark, length, checksum
MAX_RECORD = 64 << 20
MAX_HEAD = 31
_HEADER = struct.Struct("<8sHH8s8sB31s")
_CRC = struct.Struct("<I")


class JournalError(Exception):
    """The file is no journal of this kind, or of a version that we do not know; `path`, `text`."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text


class Full(Exception):
    """The record would take the file over its limit; nothing was written."""


class Header(msgspec.Struct, frozen=True):
    """`kind` (8 bytes at most) and `version` belong to whoever writes the records, so does `head` (31 bytes at most)."""

    kind: bytes
    version: int
    head: bytes
    salt: bytes


class Frame(NamedTuple):
    """`payload` is a view into the file: valid while the Reader is open. `end` is the offset behind the frame."""

    offset: int
    end: int
    payload: memoryview


class Damage(msgspec.Struct, frozen=True):
    """Bytes that hold no whole record. `tail`: nothing whole lies behind them (a torn last write looks so)."""

    offset: int
    length: int
    tail: bool


def _pack_header(header: Header) -> bytes:
    if len(header.kind) > 8 or len(header.head) > MAX_HEAD:
        raise ValueError("kind or head too long")
    block = _HEADER.pack(MAGIC, VERSION, header.version, header.kind, header.salt, len(header.head), header.head)
    block += _CRC.pack(crc32(block))
    return block * 2


def _parse_header(data: bytes | memoryview, path: Path, kind: bytes, versions: Sequence[int]) -> Header:
    for start in (0, BLOCK):
        block = bytes(data[start : start + BLOCK])
        if len(block) == BLOCK and crc32(block[:-4]) == _CRC.unpack(block[-4:])[0]:
            magic, version, kind_version, its_kind, salt, size, head = _HEADER.unpack(block[:-4])
            if magic != MAGIC:
                break
            if version != VERSION:
                raise JournalError(path, f"is a journal of version {version}, this program knows {VERSION}")
            if its_kind.rstrip(b"\0") != kind:
                raise JournalError(path, f"holds {its_kind.rstrip(bytes(1))!r}, not {kind!r}")
            if kind_version not in versions:
                raise JournalError(path, f"holds {kind!r} of version {kind_version}, this program knows {max(versions)}")
            return Header(kind, kind_version, head[:size], salt)
    raise JournalError(path, "is no journal, or its beginning is damaged")


def _checksum(seed: int, offset: int, length: int, payload: bytes | memoryview) -> int:
    # The file's salt and the frame's offset are part of it: a frame that stands inside the payload of another is never taken for one.
    return crc32(payload, crc32(struct.pack("<QI", offset, length), seed))


class Reader:
    """A journal as it lies on disk: iterate for its frames; `damage` is complete after the iteration.

    The writer may append meanwhile: what is read is what was there at opening. Nobody may cut the file while it is read (it is mapped).
    JournalError, OSError.
    """

    def __init__(self, path: Path, kind: bytes, *, versions: Sequence[int] = (1,), start: int = START) -> None:
        self.path = path
        self.damage: list[Damage] = []
        self.end = start  # behind the last whole frame that was read
        self._start = max(start, START)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else None
        self._view = memoryview(self._map) if self._map else memoryview(b"")
        try:
            self.header = _parse_header(self._view, path, kind, versions)
        except JournalError:
            self.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Views of frames must be gone by then (BufferError otherwise is swallowed; the map goes with the last view)."""
        with contextlib.suppress(BufferError):
            self._view.release()
            if self._map is not None:
                self._map.close()

    def __iter__(self) -> Iterator[Frame]:
        view, size, seed = self._view, len(self._view), crc32(self.header.salt)
        self.end = position = self._start
        while position < size:
            payload = _frame_at(view, position, size, seed)
            if payload is None:
                following = self._next_whole(position + 1, size, seed)
                self.damage.append(Damage(position, (following or size) - position, following is None))
                if following is None:
                    return
                position = following
                continue
            start, position = position, position + FRAME.size + len(payload)
            self.end = position
            yield Frame(start, position, payload)

    def _next_whole(self, position: int, size: int, seed: int) -> int | None:
        assert self._map is not None
        while (position := self._map.find(MARK, position)) >= 0:
            if _frame_at(self._view, position, size, seed) is not None:
                return position
            position += 1
        return None


def _frame_at(view: memoryview, position: int, size: int, seed: int) -> memoryview | None:
    if position + FRAME.size > size:
        return None
    mark, length, checksum = FRAME.unpack_from(view, position)
    end = position + FRAME.size + length
    if mark != MARK or length > MAX_RECORD or end > size:
        return None
    payload = view[position + FRAME.size : end]
    return payload if _checksum(seed, position, length, payload) == checksum else None


class Writer:
    """One process appends. `size` is the offset of the next frame; `limit` (bytes of the whole file, 0 = none) raises Full.

    After a failed write the file is cut back to its last whole frame; where that fails too, `broken` is set and the writer takes no more.
    """

    def __init__(self, path: Path, header: Header, file: int, size: int, limit: int = 0) -> None:
        self.path = path
        self.header = header
        self.size = size
        self.limit = limit
        self.broken = False
        self._file = file
        self._seed = crc32(header.salt)

    @classmethod
    def create(cls, path: Path, kind: bytes, *, version: int = 1, head: bytes = b"", mode: int = 0o640, limit: int = 0) -> Writer:
        """A new file; FileExistsError when there is one. The directory is not synced."""
        header = Header(kind, version, head, os.urandom(8))
        block = _pack_header(header)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if os.pwrite(file, block, 0) != len(block):
                raise OSError(28, "No space left on device")
        except OSError:
            os.close(file)
            path.unlink()
            raise
        return cls(path, header, file, START, limit)

    @classmethod
    def resume(cls, path: Path, kind: bytes, *, versions: Sequence[int] = (1,), limit: int = 0) -> tuple[Writer, list[Damage]]:
        """Go on behind the last whole frame; what lies behind that (a torn write) is cut off. JournalError, OSError."""
        with Reader(path, kind, versions=versions) as reader:
            for frame in reader:
                del frame
            header, end, damage = reader.header, reader.end, list(reader.damage)
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(file, end)
            os.pwrite(file, _pack_header(header), 0)  # heals a copy that was cut off or damaged
        except OSError:
            os.close(file)
            raise
        return cls(path, header, file, end, limit), damage

    def append(self, *records: bytes | memoryview) -> int:
        """Write records in one go; the offset behind them. Full, OSError: then none of them is in the file."""
        if self.broken:
            raise OSError(5, "this journal could not be cut back after a failed write", str(self.path))
        parts: list[bytes | memoryview] = []
        position = self.size
        for record in records:
            if len(record) > MAX_RECORD:
                raise ValueError(f"a record of {len(record)} bytes; at most {MAX_RECORD}")
            parts += [FRAME.pack(MARK, len(record), _checksum(self._seed, position, len(record), record)), record]
            position += FRAME.size + len(record)
        if self.limit and position > self.limit:
            raise Full
        data = b"".join(parts)
        try:
            self._write(data)
        except OSError:
            self._cut_back()
            raise
        self.size = position
        return position

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            n = os.pwrite(self._file, memoryview(data)[written:], self.size + written)
            if n == 0:
                raise OSError(28, "No space left on device")
            written += n

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self.broken = True

    def sync(self) -> None:
        """To the disk (fdatasync); OSError."""
        os.fdatasync(self._file)

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
