"""`gres_detail` and `gres_used`: which GPUs of a node a job holds.

Forms seen on real Slurm: `gpu:a100:2(IDX:0-1)`, untyped `gpu:2(IDX:0-1)`, types with hyphen or dot, several entries joined by comma,
other GRES beside it `nic(CNT:1)`, older `gpu:(null):2(IDX:0-1)`; without binding `gpu:2(CNT:2)`.
"""

from __future__ import annotations

import re

_COUNT = re.compile(r":(\d+)(?:\(|$)")


def entries(text: str) -> list[str]:
    """Split at commas outside brackets."""
    found, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            found.append(text[start:i])
            start = i + 1
    return [e.strip() for e in [*found, text[start:]] if e.strip()]


def is_gpu(entry: str) -> bool:
    return re.match(r"gpu(?::|\(|$)", entry) is not None


def gpu_indices(text: str) -> list[int]:
    """Indices of all `gpu` entries with an IDX list, ascending; they count over all GPUs of the node, whatever the type."""
    found: set[int] = set()
    for entry in entries(text):
        if is_gpu(entry) and (listed := re.search(r"\(IDX:([\d,\-]+)\)", entry)):
            for part in listed[1].split(","):
                first, _, last = part.partition("-")
                if first.isdecimal() and (not last or last.isdecimal()):
                    found.update(range(int(first), min(int(last or first), int(first) + 4096) + 1))
    return sorted(found)


def gpu_count(text: str) -> int:
    """Number of GPUs in a `gres_used` text."""
    return sum(int(m[1]) for entry in entries(text) if is_gpu(entry) and (m := _COUNT.search(entry)))
