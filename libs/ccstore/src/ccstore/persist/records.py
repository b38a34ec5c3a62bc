"""What stands in the frames of a log part: key tables, samples, frees. Pure; the page is docs/formats/wal.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..registry import SeriesKey, all_equal

KEYS, SAMPLES, FREE = 1, 2, 3

_SAMPLES = struct.Struct("<BBHIq")  # kind, flags, unused, number, base time
WIDE_IDS = 1  # ids are u32, else u16
TIMES = 2  # a column of offsets follows, else every sample has the base time
WIDE_TIMES = 4  # offsets are i64, else i32


class Keys(NamedTuple):
    """Names series: key of ids[n] is keys[n]."""

    ids: Sequence[int]
    keys: Sequence[SeriesKey]


class Samples(NamedTuple):
    """Samples in the order in which they were taken; ids as this part's key tables name them."""

    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float32]


class Free(NamedTuple):
    """All tiles below `levels` (of the part's host) that end at or before `before` were freed."""

    levels: tuple[str, ...]
    before: int


class Malformed(ValueError):
    """A frame whose checksum is right and whose content is not: written by something else, or a bug."""


def encode_keys(ids: Sequence[int], keys: Sequence[SeriesKey]) -> bytes:
    """A key table. Columns rather than rows, so that equal node types give equal bytes."""
    table = [list(ids), [list(k.levels) for k in keys], [k.metric for k in keys], [k.frequency for k in keys], [k.phase for k in keys]]
    return bytes([KEYS]) + bytes(msgpack.packb(table))


def encode_samples(ids: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float32], top: int | None = None) -> bytes:
    """6 bytes a sample where all have one time and the host has less than 65,536 series, else up to 16. top: the highest id, if known."""
    base = int(times[0]) if len(times) else 0
    flags = 0
    top = int(ids.max(initial=0)) if top is None else top
    columns: list[NDArray[Any]] = [ids.astype("<u2" if top < 2**16 else "<u4")]
    if top >= 2**16:
        flags |= WIDE_IDS
    if not all_equal(times):
        flags |= TIMES
        offsets = times - base
        low, high = int(offsets.min()), int(offsets.max())
        if low < -(2**31) or high >= 2**31:
            flags |= WIDE_TIMES
            columns.append(offsets.astype("<i8"))
        else:
            columns.append(offsets.astype("<i4"))
    columns.append(values.astype("<f4", copy=False))
    return _SAMPLES.pack(SAMPLES, flags, 0, len(ids), base) + b"".join(c.tobytes() for c in columns)


def encode_free(levels: Sequence[str], before: int) -> bytes:
    return bytes([FREE]) + bytes(msgpack.packb([list(levels), before]))


def decode(payload: bytes) -> Keys | Samples | Free:
    """One frame's content. Malformed says what is wrong."""
    kind = payload[0] if payload else 0
    if kind == SAMPLES:
        return _decode_samples(payload)
    try:
        if kind == KEYS:
            ids, levels, metrics, frequencies, phases = msgpack.unpackb(payload[1:])
            rows = zip(levels, metrics, frequencies, phases, strict=True)
            keys = [SeriesKey(tuple(lev), m, int(f), int(p)) for lev, m, f, p in rows]
            if len(ids) != len(keys):
                raise Malformed(f"key table with {len(ids)} ids for {len(keys)} keys")
            return Keys([int(i) for i in ids], keys)
        if kind == FREE:
            path, before = msgpack.unpackb(payload[1:])
            return Free(tuple(path), int(before))
    except (ValueError, TypeError, msgpack.UnpackException) as e:
        raise Malformed(f"frame of kind {kind}: {e}") from e
    raise Malformed(f"unknown kind of frame: {kind}")


def _decode_samples(payload: bytes) -> Samples:
    if len(payload) < _SAMPLES.size:
        raise Malformed("sample frame shorter than its head")
    _, flags, _, number, base = _SAMPLES.unpack_from(payload)
    id_type = np.dtype("<u4" if flags & WIDE_IDS else "<u2")
    time_type = np.dtype("<i8" if flags & WIDE_TIMES else "<i4")
    width = id_type.itemsize + (time_type.itemsize if flags & TIMES else 0) + 4
    if len(payload) != _SAMPLES.size + number * width:
        raise Malformed(f"sample frame of {len(payload)} bytes for {number} samples")
    at = _SAMPLES.size
    ids = np.frombuffer(payload, id_type, number, at).astype(np.int32)
    at += number * id_type.itemsize
    if flags & TIMES:
        times = np.frombuffer(payload, time_type, number, at).astype(np.int64) + base
        at += number * time_type.itemsize
    else:
        times = np.full(number, base, np.int64)
    return Samples(ids, times, np.frombuffer(payload, "<f4", number, at).astype(np.float32, copy=False))
