"""`<timestamp>.bin`: all that memory holds of one host, and the first log part that it does not contain (docs/formats/snapshot.md).

A journal of frames: key table twice, then blocks of up to 16 tiles from the newest to the oldest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import numpy as np
import zstandard
from ccdaemon.journal import Damage, JournalError, Reader, Writer
from numpy.typing import NDArray

from ..arena import BINS
from ..registry import SeriesKey
from .parts import SNAPSHOT

if TYPE_CHECKING:
    from ..registry import GroupView, HostView

_HEAD = struct.Struct("<Qq")  # next part, taken
TABLE, BLOCK = 1, 2
_BLOCK = struct.Struct("<BBHIqI")  # kind, codec, mask of present tiles, group, first tile, rows
TILES = 16
"""Tiles of one block: first tile number is a multiple of it."""
SHUFFLED_ZSTD = 1
LEVEL = 1


class Head(NamedTuple):
    """next_part: first log part that the snapshot does not contain; taken: when, seconds."""

    next_part: int
    taken: int


class Table(NamedTuple):
    """keys in order of appearance (older generations first); rows[g]: indices of keys that are the rows of group g."""

    keys: list[SeriesKey]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    rows: list[NDArray[np.int32]]


class Block(NamedTuple):
    """values[row][bin] from `first_bin` on; a run of bins without a hole of whole tiles."""

    group: int
    first_bin: int
    values: NDArray[np.float32]


class Damaged(Exception):
    """Not to be used as a whole: head or both key tables are damaged, or of a version that this program does not know."""


class Contents(NamedTuple):
    """blocks: (newest of its group?, encoded), decoded when asked for. damage: frames that are lost."""

    path: Path
    head: Head
    table: Table
    blocks: list[tuple[bool, bytes]]
    damage: list[Damage]


# ---- writing


def write_snapshot(view: HostView, next_part: int, tmp: Path, taken: int) -> None:
    """Writes `tmp`; the caller syncs (many at once) and renames it. OSError: the file is gone again.

    Samples that come while it is written may or may not be in it: they stand in the log behind the cut."""
    tmp.parent.mkdir(parents=True, exist_ok=True)
    tmp.unlink(missing_ok=True)
    writer = Writer.create(tmp, SNAPSHOT, head=_HEAD.pack(next_part, taken), mode=0o644)
    try:
        for payload in payloads(view):
            writer.append(payload)
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise
    finally:
        writer.close()


def payloads(view: HostView) -> Iterator[bytes]:
    """The frames of the file."""
    table = _encode_table(view)
    yield table
    yield table
    for group, first_tile in _newest_first(view):
        block = _encode_block(group, view.groups[group], first_tile)
        if block is not None:
            yield block


def _encode_table(view: HostView) -> bytes:
    """Keys by id, so that generations keep their order; which of them are whose rows stands beside them."""
    held = [_held(g) for g in view.groups]
    ids = _together([g.ids[h] for g, h in zip(view.groups, held, strict=True)], np.int32)
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(ids), "<i4")
    place[order] = np.arange(len(ids), dtype="<i4")
    keys = [g.keys[i] for g, h in zip(view.groups, held, strict=True) for i in h]
    by_id = [keys[i] for i in order]
    first = _together([g.first[h] for g, h in zip(view.groups, held, strict=True)], np.int64)[order].astype("<i8")
    last = _together([g.last[h] for g, h in zip(view.groups, held, strict=True)], np.int64)[order].astype("<i8")
    ends = np.cumsum([0, *(len(h) for h in held)])
    rows = [place[ends[n] : ends[n + 1]].tobytes() for n in range(len(held))]
    names = [[list(k.levels) for k in by_id], [k.metric for k in by_id], [k.frequency for k in by_id], [k.phase for k in by_id]]
    return bytes([TABLE]) + bytes(msgpack.packb([names, rows, first.tobytes(), last.tobytes()]))


def _held(group: GroupView) -> NDArray[np.intp]:
    """Rows of series that hold something; what is retired need not be saved."""
    return np.flatnonzero(group.first <= group.last)


def _together(arrays: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _newest_first(view: HostView) -> list[tuple[int, int]]:
    """(group, first tile) of every block, the newest time first."""
    found = {(g, number - number % TILES) for g, group in enumerate(view.groups) for number, _ in group.tiles}
    return sorted(found, key=lambda b: -(b[1] + TILES) * view.groups[b[0]].frequency)


def _encode_block(number: int, group: GroupView, first_tile: int) -> bytes | None:
    """None: nothing but gaps in it."""
    held = _held(group)
    rows = len(held)
    present = [(n, values) for n, values in group.tiles if first_tile <= n < first_tile + TILES]
    block = np.full((rows, len(present), BINS), np.nan, np.float32)
    mask = 0
    for column, (n, values) in enumerate(present):
        here = held[held < len(values)]  # newer series have no row in an older tile; rows ascend
        block[: len(here), column] = values[here]
        mask |= 1 << (n - first_tile)
    if np.isnan(block).all():
        return None
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(shuffle(block.reshape(-1)))
    return _BLOCK.pack(BLOCK, SHUFFLED_ZSTD, mask, number, first_tile, rows) + packed


def shuffle(values: NDArray[np.float32]) -> bytes:
    """All first bytes, then all second bytes …: equal exponents stand together."""
    return np.ascontiguousarray(values.astype("<f4", copy=False).view(np.uint8).reshape(-1, 4).T).tobytes()


def unshuffle(data: bytes) -> NDArray[np.float32]:
    planes = np.frombuffer(data, np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<f4").reshape(-1).astype(np.float32, copy=False)


# ---- reading


def read_head(path: Path) -> Head:
    """Damaged says what is wrong."""
    try:
        with Reader(path, SNAPSHOT) as reader:
            return _head(reader)
    except JournalError as e:
        raise Damaged(e.text) from e


def _head(reader: Reader) -> Head:
    try:
        return Head(*_HEAD.unpack(reader.header.head))
    except struct.error as e:
        raise Damaged(f"head of a snapshot: {e}") from e


def next_part_of(path: Path) -> int:
    """0 where the file has no readable head of ours."""
    try:
        return read_head(path).next_part
    except (OSError, Damaged):
        return 0


def read(path: Path) -> Contents:
    """Everything but the values. Damaged: neither of the key tables can be read."""
    try:
        with Reader(path, SNAPSHOT) as reader:
            head = _head(reader)
            table: Table | None = None
            blocks: list[tuple[bool, bytes]] = []
            seen: set[int] = set()
            for found in reader:
                payload = bytes(found.payload)
                if payload[:1] == bytes([TABLE]):
                    table = table or _decode_table(payload)
                elif payload[:1] == bytes([BLOCK]):
                    blocks.append((_is_newest(payload, seen), payload))
            damage = list(reader.damage)
    except JournalError as e:
        raise Damaged(e.text) from e
    if table is None:
        raise Damaged("both key tables")
    return Contents(path, head, table, blocks, damage)


def _is_newest(payload: bytes, seen: set[int]) -> bool:
    group = _BLOCK.unpack_from(payload)[3]
    newest = group not in seen
    seen.add(group)
    return newest


def _decode_table(payload: bytes) -> Table:
    try:
        (levels, metrics, frequencies, phases), rows, first, last = msgpack.unpackb(payload[1:])
        keys = [SeriesKey(tuple(lev), m, f, p) for lev, m, f, p in zip(levels, metrics, frequencies, phases, strict=True)]
        table = Table(
            keys,
            np.frombuffer(first, "<i8").astype(np.int64),
            np.frombuffer(last, "<i8").astype(np.int64),
            [np.frombuffer(r, "<i4").astype(np.int32) for r in rows],
        )
    except (ValueError, TypeError, msgpack.UnpackException) as e:
        raise Damaged(f"key table: {e}") from e
    if not len(keys) == len(table.first) == len(table.last) or any(len(r) and r.max() >= len(keys) for r in table.rows):
        raise Damaged("key table: columns of unequal length")
    return table


def decode_block(payload: bytes, table: Table) -> list[Block]:
    """The runs of tiles in a block. Damaged: it does not fit the table or does not unpack."""
    _, codec, mask, group, first_tile, rows = _BLOCK.unpack_from(payload)
    if codec != SHUFFLED_ZSTD:
        raise Damaged(f"codec {codec} is not known")
    if group >= len(table.rows) or rows != len(table.rows[group]):
        raise Damaged(f"block of {rows} rows for group {group}")
    present = [n for n in range(TILES) if mask >> n & 1]
    size = rows * len(present) * BINS * 4
    try:
        raw = zstandard.ZstdDecompressor().decompress(payload[_BLOCK.size :], max_output_size=size)
    except zstandard.ZstdError as e:
        raise Damaged(f"block: {e}") from e
    if len(raw) != size:
        raise Damaged(f"block of {len(raw)} bytes instead of {size}")
    values = unshuffle(raw).reshape(rows, len(present), BINS)
    runs: list[Block] = []
    start = 0
    for n in range(1, len(present) + 1):
        if n == len(present) or present[n] != present[n - 1] + 1:
            run = values[:, start:n].reshape(rows, -1)
            runs.append(Block(group, (first_tile + present[start]) * BINS, run))
            start = n
    return runs


def path_of(folder: Path, taken: int) -> Path:
    """`<timestamp>.bin`, later than every one there and never the name of another file (clocks step back)."""
    there = (p.stem for pattern in ("*.bin", "*.json") for p in folder.glob(pattern))
    names = [int(stem) for stem in there if stem.isdigit()] if folder.is_dir() else []
    return folder / f"{max([taken, *(n + 1 for n in names)])}.bin"
