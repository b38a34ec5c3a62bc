"""What a sink keeps on disk while its peer is away (format: docs/formats/spool.md).

A spool is a row of journal files (segments); each record is an encoded batch with its precision, so a changed configuration
never reinterprets it. The file `cursor` says where the oldest batch that was not accepted begins. Over its size the oldest segment goes.

All methods block and are called in one thread; nothing here is for two processes (the file `lock` sees to that).
"""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from pathlib import Path
from zlib import crc32

import msgspec
from ccdaemon.files import locked, quarantine, write_atomic
from ccdaemon.journal import START, JournalError, Reader, Writer
from ccmessage.encode import Batch, Precision

KIND = b"ccspool"
SUFFIX = ".spool"
RECORD = struct.Struct("<BIq")  # precision, lines, time of the first line (ns); then the body
CURSOR = struct.Struct("<8sQQI")  # magic, segment, offset, checksum of what stands before
CURSOR_MAGIC = b"CCcursor"
SEGMENT = 8 << 20  # bytes after which a new segment begins
PRECISIONS = (Precision.S, Precision.MS, Precision.US, Precision.NS)


class Segment(msgspec.Struct):
    """A file of the row and what of it is still to be sent."""

    number: int
    path: Path
    size: int
    batches: int
    lines: int


class Entry(msgspec.Struct, frozen=True):
    """A batch of the first segment: where it lies."""

    offset: int
    end: int
    lines: int


class Spool:
    """`appended`: calls of append so far. `lines`: what it held when it was opened. `damaged`: files put aside, for the log.

    A place that was found damaged at opening counts as one of these lines: how many there were cannot be told.
    """

    def __init__(self, directory: Path, max_size: int) -> None:
        """Open or make; OSError, OperatorError when another process has it."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._directory = directory
        self._max = max_size
        self._segment_size = max(START + 1, min(SEGMENT, max_size // 4))
        self._guard = contextlib.ExitStack()
        self._guard.enter_context(locked(directory / "lock"))
        self._segments: deque[Segment] = deque()
        self._entries: deque[Entry] = deque()  # of the first segment
        self._writer: Writer | None = None  # of the last segment, once this process has begun it
        self._first = 0  # number of the oldest batch
        self.appended = 0
        self.damaged: list[Path] = []
        self._lost = 0  # lines found damaged and not yet reported
        self._recover()
        self.lines = sum(segment.lines for segment in self._segments) + self._lost

    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    def batches(self) -> int:
        return sum(segment.batches for segment in self._segments)

    def append(self, batch: Batch) -> tuple[int, int]:
        """Behind everything else, on disk when this returns; (number of the batch, lines dropped to make room). OSError."""
        self.appended += 1
        record = RECORD.pack(PRECISIONS.index(batch.precision), batch.lines, batch.first_ns) + batch.body
        if START + len(record) + 64 > self._max:
            raise OSError(27, "the batch is larger than the spool", str(self._directory))
        dropped = 0
        while self._segments and self.size() + len(record) + START + 64 > self._max:
            dropped += self._drop_segment()
        writer, segment = self._writable()
        offset = writer.size
        end = writer.append(record)
        writer.sync()
        segment.size, segment.batches, segment.lines = end, segment.batches + 1, segment.lines + batch.lines
        if segment is self._segments[0]:
            self._entries.append(Entry(offset, end, batch.lines))
        return self._first + self.batches() - 1, dropped

    def head(self) -> tuple[int, Batch] | None:
        """The oldest batch and its number."""
        while self._segments:
            if self._entries:
                batch = self._read(self._segments[0], self._entries[0])
                if batch is not None:
                    return self._first, batch
                self._lost += self._entries[0].lines  # damaged meanwhile
                self._forget_entry()
            else:
                self._next_segment()
        return None

    def pop(self, number: int) -> bool:
        """The oldest batch was accepted; False if it is not there any more."""
        if number != self._first or not self._entries:
            return False
        self._forget_entry()
        if not self._entries:
            self._next_segment()
        if self._segments:
            self._save_cursor(self._segments[0].number, self._entries[0].offset if self._entries else START)
        return True

    def lost(self) -> int:
        """Lines found damaged since the last call."""
        lines, self._lost = self._lost, 0
        return lines

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._guard.close()

    # the row of segments

    def _recover(self) -> None:
        number, offset = self._load_cursor()
        found = sorted((int(p.stem), p) for p in self._directory.glob(f"*{SUFFIX}") if p.stem.isdigit())
        for its_number, path in found:
            if its_number < number:
                path.unlink()
                continue
            entries, places = self._scan(path, offset if its_number == number else START, last=path == found[-1][1])
            self._lost += places
            if not entries:
                path.unlink(missing_ok=True)
                continue
            if not self._segments:
                self._entries = deque(entries)
            self._segments.append(Segment(its_number, path, path.stat().st_size, len(entries), sum(e.lines for e in entries)))

    def _scan(self, path: Path, start: int, *, last: bool) -> tuple[list[Entry], int]:
        """Batches of a segment from an offset on, and the number of damaged places. A file that is none of ours is put aside.

        The torn end of the last segment is none: that batch was never said to be on disk.
        """
        try:
            with Reader(path, KIND, start=start) as reader:
                entries = [Entry(f.offset, f.end, RECORD.unpack_from(f.payload)[1]) for f in reader if len(f.payload) >= RECORD.size]
                return entries, sum(1 for damage in reader.damage if not (last and damage.tail))
        except JournalError:
            self.damaged.append(quarantine(path))
            return [], 1

    def _writable(self) -> tuple[Writer, Segment]:
        if self._writer is not None and (self._writer.size >= self._segment_size or self._writer.broken):
            self._writer.close()
            self._writer = None
        if self._writer is None:
            number = max(self._segments[-1].number if self._segments else 0, self._load_cursor()[0]) + 1
            path = self._directory / f"{number:010d}{SUFFIX}"
            self._writer = Writer.create(path, KIND)
            self._segments.append(Segment(number, path, START, 0, 0))
        return self._writer, self._segments[-1]

    def _read(self, segment: Segment, entry: Entry) -> Batch | None:
        try:
            with Reader(segment.path, KIND, start=entry.offset) as reader:
                for frame in reader:
                    precision, lines, first_ns = RECORD.unpack_from(frame.payload)
                    body = bytes(frame.payload[RECORD.size :])
                    found = frame.offset == entry.offset
                    del frame
                    return Batch(body, lines, first_ns, PRECISIONS[precision]) if found else None
        except (JournalError, OSError):
            return None
        return None

    def _forget_entry(self) -> None:
        entry, segment = self._entries.popleft(), self._segments[0]
        segment.batches -= 1
        segment.lines -= entry.lines
        self._first += 1

    def _next_segment(self) -> None:
        """The first segment is done with: remove it, open the one behind it."""
        segment = self._segments.popleft()
        if not self._segments and self._writer is not None:
            self._writer.close()
            self._writer = None
        self._save_cursor(segment.number + 1, START)
        segment.path.unlink(missing_ok=True)
        self._entries = deque(self._open_segment(self._segments[0])) if self._segments else deque()

    def _open_segment(self, segment: Segment) -> list[Entry]:
        """Its batches; what it should hold and does not was damaged meanwhile."""
        entries, _ = self._scan(segment.path, START, last=False)
        lines = sum(entry.lines for entry in entries)
        self._lost += segment.lines - lines
        self._first += segment.batches - len(entries)
        segment.batches, segment.lines = len(entries), lines
        return entries

    def _drop_segment(self) -> int:
        lines, batches = self._segments[0].lines, self._segments[0].batches
        self._first += batches
        self._next_segment()
        return lines

    def _save_cursor(self, number: int, offset: int) -> None:
        block = CURSOR.pack(CURSOR_MAGIC, number, offset, 0)[:-4]
        write_atomic(self._directory / "cursor", block + struct.pack("<I", crc32(block)), mode=0o640, sync=False)

    def _load_cursor(self) -> tuple[int, int]:
        """(segment, offset); the begin of everything where the file is missing or damaged: rather twice than never."""
        try:
            data = (self._directory / "cursor").read_bytes()
        except OSError:
            return 0, START
        if len(data) != CURSOR.size or crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0] or data[:8] != CURSOR_MAGIC:
            return 0, START
        _, number, offset, _ = CURSOR.unpack(data)
        return number, offset
