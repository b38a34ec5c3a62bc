"""Names and heads of the files in one host's folder (docs/formats/wal.md, snapshot.md)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ccdaemon.journal import Damage, JournalError, Reader

from ..registry import HostKey
from .records import Free, Keys, Malformed, Samples, decode

CURRENT = "current.wal"
REFERENCE = "reference.wal"
PART = b"ccwal"
SNAPSHOT = b"ccsnap"
_NUMBER = struct.Struct("<Q")
_PART_NAME = re.compile(r"([0-9]+)\.wal")
_SNAPSHOT_NAME = re.compile(r"([0-9]+)\.bin")
REFERENCE_MAGICS = (b"\x01\xa7\x1d\xcc", b"\x01\x00\x5b\xcc")
"""First bytes of the reference's `current.wal` and `.bin` (metric-store 4.3, 4.4)."""


def part_head(number: int) -> bytes:
    return _NUMBER.pack(number)


def part_number(path: Path) -> int:
    """JournalError: no part of ours, or its head cannot be read."""
    with Reader(path, PART) as reader:
        try:
            return int(_NUMBER.unpack(reader.header.head)[0])
        except struct.error as e:
            raise JournalError(path, f"head of a log part: {e}") from e


def is_foreign(path: Path) -> bool:
    """Whether the reference wrote it. A file that cannot be opened is not ours to touch either."""
    try:
        with path.open("rb") as f:
            return f.read(4) in REFERENCE_MAGICS
    except OSError:
        return True


class Part(NamedTuple):
    """A closed part, or current.wal. number None: that one's head is damaged, nothing of it can be read."""

    path: Path
    number: int | None
    size: int


class Folder(NamedTuple):
    """What one host's folder holds of ours; parts ascending, current.wal last. foreign: names that are not ours."""

    parts: list[Part]
    snapshots: list[Path]
    leftovers: list[Path]
    foreign: list[str]


def folder_of(root: Path, host: HostKey) -> Path:
    """Names were judged where they came in; this is the last lock before the file system."""
    for name in host:
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ValueError(f"no name for a folder: {name!r}")
    return root / host.cluster / host.host


def read_folder(folder: Path) -> Folder:
    """Lists; a missing folder is an empty one."""
    found = Folder([], [], [], [])
    current: Part | None = None
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.iterdir()):
            if path.name.endswith(".tmp"):
                found.leftovers.append(path)
            elif path.name == CURRENT and not is_foreign(path):
                current = _part(path)
            elif (name := _PART_NAME.fullmatch(path.name)) and not is_foreign(path):
                found.parts.append(Part(path, int(name[1]), path.stat().st_size))
            elif _SNAPSHOT_NAME.fullmatch(path.name) and not is_foreign(path):
                found.snapshots.append(path)
            else:
                found.foreign.append(path.name)
    found.parts.sort(key=lambda p: p.number or 0)
    if current is not None:
        found.parts.append(current)
    return found


def _part(path: Path) -> Part:
    try:
        number: int | None = part_number(path)
    except JournalError:
        number = None
    return Part(path, number, path.stat().st_size)


def entries(path: Path) -> Iterator[Keys | Samples | Free | Damage]:
    """The content of a part in order, then its damage (a frame whose content makes no sense too). JournalError, OSError."""
    with Reader(path, PART) as reader:
        strange: list[Damage] = []
        for found in reader:
            try:
                content = decode(bytes(found.payload))
            except Malformed:
                strange.append(Damage(found.offset, found.end - found.offset, False))
                continue
            yield content
        yield from strange
        yield from reader.damage
