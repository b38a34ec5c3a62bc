"""A host as the reference's JSON checkpoint (metric-store 4.2): `file-format: json`, human-readable, values with all their digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from ccdaemon.files import write_atomic
from numpy.typing import NDArray

from ..arena import BINS

if TYPE_CHECKING:
    from ..registry import GroupView, HostView


def write_json(view: HostView, path: Path) -> None:
    """Writes and renames; the newest generation of a series stands for it. OSError."""
    write_atomic(path, orjson.dumps(tree(view), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def tree(view: HostView) -> dict[str, Any]:
    """`start` is the time of the first value; `from` and `to` span the host."""
    series = [(int(id_), group, row) for group in view.groups for row, id_ in enumerate(group.ids) if group.first[row] <= group.last[row]]
    begin = min((_start(group, row) for _, group, row in series), default=0)
    end = max((_start(group, row) + (int(group.last[row] - group.first[row]) + 1) * group.frequency for _, group, row in series), default=0)
    root = _level(begin, end)
    for _, group, row in sorted(series, key=lambda s: s[0]):
        level = root
        for name in group.keys[row].levels:
            level = level["children"].setdefault(name, _level(begin, end))
        data = values_of(group, row)
        level["metrics"][group.keys[row].metric] = {"frequency": group.frequency, "start": _start(group, row), "data": data}
    return root


def _level(begin: int, end: int) -> dict[str, Any]:
    return {"metrics": {}, "children": {}, "from": begin, "to": end}


def _start(group: GroupView, row: int) -> int:
    return int(group.first[row]) * group.frequency + group.keys[row].phase + group.frequency // 2


def values_of(group: GroupView, row: int) -> NDArray[np.float32]:
    """From the first to the last bin of a series, gaps as NaN."""
    first, last = int(group.first[row]), int(group.last[row])
    values = np.full(last - first + 1, np.nan, np.float32)
    for number, tile in group.tiles:
        low, high = max(first, number * BINS), min(last + 1, (number + 1) * BINS)
        if row < len(tile) and low < high:
            values[low - first : high - first] = tile[row][low - number * BINS : high - number * BINS]
    return values
