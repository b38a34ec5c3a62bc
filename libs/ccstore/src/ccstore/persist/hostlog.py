"""The log of one host as the writer thread sees it: its parts, which of them is open, what that one has declared.

All methods belong to one thread. They raise OSError; what was written before the error stays readable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ccdaemon.files import quarantine
from ccdaemon.journal import START, Header, Writer
from numpy.typing import NDArray

from ..registry import HostKey, SeriesKey
from .parts import CURRENT, PART, REFERENCE, folder_of, part_head, read_folder
from .records import encode_keys, encode_samples
from .snapshot import next_part_of

if TYPE_CHECKING:
    from ..ingest import Record


class HostLog:
    """One host's row of parts. `total`: bytes of all of them; `is_open`: holds a file descriptor."""

    def __init__(self, root: Path, host: HostKey) -> None:
        self.folder = folder_of(root, host)
        self._writer: Writer | None = None
        self._parked: tuple[Header, int] | None = None  # head and size of a current.wal whose file was closed to save descriptors
        self._closed: list[tuple[int, int]] = []  # number, bytes; ascending
        self._declared: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._whole = 0  # all ids below it are declared
        self.number = 1  # of current.wal, or of the part that would be begun next
        self._look()

    def _look(self) -> None:
        """What a former process left: its parts are closed, the next one gets a number above everything."""
        found = read_folder(self.folder)
        if CURRENT in found.foreign:
            (self.folder / CURRENT).rename(self.folder / REFERENCE)
        numbers = [p.number for p in found.parts if p.number is not None]
        highest = max([*numbers, *(next_part_of(path) - 1 for path in found.snapshots)], default=0)
        for part in found.parts:
            number = part.number
            if part.size < START:
                part.path.unlink()
                continue
            if number is None:
                quarantine(part.path)
                continue
            if part.path.name == CURRENT:
                if numbers.count(number) > 1:
                    number = highest = highest + 1
                part.path.rename(self.folder / f"{number}.wal")
            self._closed.append((number, part.size))
        self.number = highest + 1

    @property
    def size(self) -> int:
        """Bytes of current.wal; 0: there is none."""
        if self._writer is not None:
            return self._writer.size
        return self._parked[1] if self._parked else 0

    @property
    def total(self) -> int:
        return self.size + sum(size for _, size in self._closed)

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def encode(self, record: Record, top: int, keys: Sequence[SeriesKey], declared: set[int]) -> list[bytes]:
        """Payloads of one record; series that the open part has not named yet come first, twice, so that no single damaged frame
        costs a series. `declared` collects them until the write has succeeded (`declare`). top: the record's highest id."""
        _, ids, times, values = record
        if top < self._whole and self.size:
            return [encode_samples(ids, times, values, top)]
        if top >= len(self._declared):
            grown = np.zeros(max(top + 1, 2 * len(self._declared)), np.bool_)
            grown[: len(self._declared)] = self._declared
            self._declared = grown
        pieces: list[bytes] = []
        known = self._declared[ids] if self.size else np.zeros(len(ids), np.bool_)
        if not known.all():
            new = [i for i in np.unique(ids[~known]).tolist() if i not in declared]
            if new:
                declared.update(new)
                pieces += [encode_keys(new, [keys[i] for i in new])] * 2
        pieces.append(encode_samples(ids, times, values, top))
        return pieces

    def write(self, pieces: Sequence[bytes]) -> None:
        """Appends to current.wal, which is begun where there is none. All or nothing: a short write is cut off again, and where that
        fails too the part is closed as it is and the next write begins another."""
        writer = self._open()
        fresh = writer.size == START
        try:
            writer.append(*pieces)
        except OSError:
            if fresh:
                self._abandon(writer)
            elif writer.broken:
                with suppress(OSError):
                    self.cut()
            raise

    def declare(self, ids: set[int]) -> None:
        if ids:
            self._declared[np.fromiter(ids, np.int64, len(ids))] = True
            missing = np.flatnonzero(~self._declared)
            self._whole = int(missing[0]) if missing.size else len(self._declared)

    def _open(self) -> Writer:
        if self._writer is None:
            path = self.folder / CURRENT
            if self._parked is not None:
                header, size = self._parked
                self._writer = Writer(path, header, os.open(path, os.O_RDWR | os.O_CLOEXEC), size)
                self._parked = None
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    path.unlink()  # what an abandoned begin could not remove: it holds nothing that was promised
                self._writer = Writer.create(path, PART, head=part_head(self.number), mode=0o644)
                self._declared[:] = False
                self._whole = 0
        return self._writer

    def _abandon(self, writer: Writer) -> None:
        """A part that holds nothing yet, where not even its first write succeeded."""
        writer.close()
        self._writer = None
        with suppress(OSError):
            (self.folder / CURRENT).unlink()

    def park(self) -> None:
        """Closes the file, keeps the part."""
        if self._writer is not None:
            self._parked = (self._writer.header, self._writer.size)
            self._writer.close()
            self._writer = None

    def cut(self) -> int:
        """Closes current.wal; the number of the first part behind the cut."""
        size = self.size
        if size:
            self.park()
            (self.folder / CURRENT).rename(self.folder / f"{self.number}.wal")
            self._parked = None
            self._closed.append((self.number, size))
            self.number += 1
        return self.number

    def drop(self, before: int) -> None:
        """Removes closed parts below `before`, ascending: what is left is always a row without holes."""
        while self._closed and self._closed[0][0] < before:
            (self.folder / f"{self._closed[0][0]}.wal").unlink(missing_ok=True)
            self._closed.pop(0)

    def publish(self, tmp: Path, final: Path) -> bool:
        """Gives a written snapshot its name; False: the host was erased meanwhile, and with it the file."""
        try:
            tmp.rename(final)
        except FileNotFoundError:
            return False
        return True

    def supersede(self, by: Path, next_part: int) -> None:
        """Removes what the safe snapshot `by` contains: older own snapshots, then the parts below `next_part`."""
        for path in read_folder(self.folder).snapshots:
            if path != by and next_part_of(path) <= next_part:
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)  # its readable twin, with `file-format: json`
        self.drop(next_part)

    def erase(self) -> None:
        """All of a host that holds nothing any more: snapshots before parts, else freed data would come back; then the folder."""
        behind = self.cut()
        found = read_folder(self.folder)
        for path in [*found.snapshots, *(s.with_suffix(".json") for s in found.snapshots), *found.leftovers]:
            path.unlink(missing_ok=True)
        self.drop(behind)
        with suppress(OSError):
            self.folder.rmdir()  # what is not ours keeps it
            self.folder.parent.rmdir()
