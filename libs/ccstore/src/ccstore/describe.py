"""The debug dump: which hosts, levels and series there are, and which time each spans (metric-store 3.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ccschema.ids import natural_key
from numpy.typing import NDArray

from .registry import HostKey, Level, Registry, Series


class NotFound(LookupError):
    """Nothing lives at a selector; the text is the one of metric-store 1.10."""


def describe(registry: Registry, slots: NDArray[Any], selector: Sequence[str]) -> Iterator[bytes]:
    """Valid JSON in slices, tab-indented. Per series one entry a generation, oldest first: start, len, end = start + frequency * len.

    selector: () = all; NotFound when nothing is there."""
    tree = _tree(registry, slots, tuple(selector))
    return _written(tree)


def _written(tree: Iterator[tuple[int, str, bytes]]) -> Iterator[bytes]:
    """(depth, name, value) with value `{` opening an object, in order of depth first → JSON."""
    yield b'{"data":{'
    depth, fresh = 0, True
    for at, name, value in tree:
        for level in range(depth, at, -1):
            yield (b"\n" + b"\t" * level if not fresh else b"") + b"}"
            fresh = False
        depth = at
        yield (b"" if fresh else b",") + b"\n" + b"\t" * (at + 1) + json.dumps(name, ensure_ascii=False).encode() + b":" + value
        fresh = value == b"{"
        depth += fresh
    for level in range(depth, 0, -1):
        yield (b"\n" + b"\t" * level if not fresh else b"") + b"}"
        fresh = False
    yield b"\n}}\n"


def _tree(registry: Registry, slots: NDArray[Any], selector: tuple[str, ...]) -> Iterator[tuple[int, str, bytes]]:
    if len(selector) < 2:
        clusters = [selector[0]] if selector else sorted(registry.clusters, key=natural_key)
        if selector and selector[0] not in registry.clusters:
            raise _not_found(selector)
        return _clusters(registry, slots, clusters, named=not selector)
    host = registry.host(HostKey(*selector[:2]))
    level = registry.find(host, selector[2:]) if host else None
    if level is None:
        raise _not_found(selector)
    return _level(slots, level, 0)


def _clusters(registry: Registry, slots: NDArray[Any], names: Sequence[str], *, named: bool) -> Iterator[tuple[int, str, bytes]]:
    for name in names:
        if named:
            yield 0, name, b"{"
        hosts = registry.clusters.get(name, {})
        for host in sorted(hosts.values(), key=lambda h: natural_key(h.key.host)):
            yield int(named), host.key.host, b"{"
            yield from _level(slots, host.root, int(named) + 1)


def _level(slots: NDArray[Any], level: Level, depth: int) -> Iterator[tuple[int, str, bytes]]:
    for series in sorted(level.series.values(), key=lambda s: natural_key(s.metric)):
        yield depth, series.metric, _chunks(slots, series)
    for name in sorted(level.children, key=natural_key):
        child = level.children.get(name)
        if child is not None:
            yield depth, name, b"{"
            yield from _level(slots, child, depth + 1)


def _chunks(slots: NDArray[Any], series: Series) -> bytes:
    chunks = []
    for slot in list(series.slots):
        if slot < slots.size and slots["first"][slot] <= slots["last"][slot]:
            entry = slots[slot]
            start = int(entry["first"]) * int(entry["frequency"]) + int(entry["phase"])
            count = int(entry["last"]) - int(entry["first"]) + 1
            chunks.append({"start": start, "len": count, "end": start + count * int(entry["frequency"])})
    return json.dumps(chunks, separators=(",", ":")).encode()


def _not_found(selector: Sequence[str]) -> NotFound:
    quoted = ", ".join(json.dumps(part, ensure_ascii=False) for part in selector)
    return NotFound(f"[METRICSTORE]> not found: []string{{{quoted}}}")
