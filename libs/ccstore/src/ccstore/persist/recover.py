"""From the files of a host back into memory (architecture 3, Durability 2).

Reading (`read_host`, `later_blocks`) is done by worker threads and touches no engine; `first_pass` and `later_pass` run on the engine's
thread, in steps between which its loop may do other work. Damage costs what is damaged, is told, and never ends a start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ccdaemon.files import quarantine
from ccdaemon.journal import START, Damage, JournalError
from numpy.typing import NDArray

from ..engine import Engine
from ..registry import HostKey, SeriesKey
from ..tiles import NoMemoryForTile
from . import snapshot
from .imported import FrequencyOf, read_imported
from .parts import Folder, folder_of, read_folder
from .parts import entries as part_entries
from .records import Free, Keys, Samples
from .snapshot import Block, Contents, Damaged, Table

STEP = 50_000
"""Samples applied in one step: well below a millisecond or two of the loop."""


class Finding(NamedTuple):
    """Something that is not as it should be: file, place, what, and what became of it."""

    path: Path
    text: str


class Run(NamedTuple):
    """Samples of one part between two frees; row n of `keys` is what `ids` n means."""

    keys: list[SeriesKey]
    ids: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float32]


class HostImage(NamedTuple):
    """What a host's files say. now: the newest blocks; later: the snapshot whose older blocks the second pass reads, None: it has none."""

    host: HostKey
    table: Table | None
    now: list[Block]
    later: Path | None
    log: list[Run | Free]
    log_bytes: int
    findings: list[Finding]


def list_hosts(root: Path) -> tuple[list[HostKey], list[Finding]]:
    """All host folders. Other things in their place are told and passed over (metric-store 4.7, 2)."""
    hosts: list[HostKey] = []
    findings: list[Finding] = []
    for cluster in sorted(root.iterdir()) if root.is_dir() else []:
        if cluster.name.startswith("."):
            continue  # our lock, and what no cluster can be called
        if not _is_folder(cluster):
            findings.append(Finding(cluster, "is no cluster's folder: left alone"))
            continue
        for host in sorted(cluster.iterdir()):
            if _is_folder(host):
                hosts.append(HostKey(cluster.name, host.name))
            else:
                findings.append(Finding(host, "is no host's folder: left alone"))
    return hosts, findings


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


# ---- reading, in a worker


def read_host(root: Path, host: HostKey, *, since: int = 0, frequency_of: FrequencyOf = lambda metric: None) -> HostImage:
    """Newest good snapshot, then the parts from its `next_part` on; without a snapshot what the reference left since a time comes first.

    Never raises for what stands in files; OSError: a disk that fails."""
    folder = folder_of(root, host)
    found = read_folder(folder)
    findings: list[Finding] = []
    for path in found.leftovers:
        path.unlink(missing_ok=True)
    contents = _newest_snapshot(found, findings)
    log: list[Run | Free] = []
    log_bytes = 0
    if contents is None and found.foreign:
        log_bytes = _import(folder, since, frequency_of, log, findings)
    next_part = contents.head.next_part if contents else 0
    for part in found.parts:
        if part.size < START:
            continue  # a writer was killed while it began the part: nothing was promised of it
        if part.number is None or part.number >= next_part:
            try:
                log += _read_part(part.path, findings)
                log_bytes += part.size
            except JournalError as e:
                _put_aside(part.path, e.text, findings)
    table = contents.table if contents else None
    now: list[Block] = []
    later: Path | None = None
    if contents is not None:
        # Frees in the log must meet all older data, so nothing is put off then.
        whole = any(isinstance(entry, Free) for entry in log)
        for newest, payload in contents.blocks:
            if newest or whole:
                now += _decode(payload, contents, findings)
            else:
                later = contents.path
    return HostImage(host, table, now, later, log, log_bytes, findings)


def _import(folder: Path, since: int, frequency_of: FrequencyOf, log: list[Run | Free], findings: list[Finding]) -> int:
    """Bytes that were read."""
    imported = read_imported(folder, since, frequency_of)
    if imported is None:
        return 0
    findings += [Finding(path, text) for path, text in imported.notes]
    if imported.keys:
        log.append(Run(imported.keys, imported.ids, imported.times, imported.values))
    return imported.bytes


def _newest_snapshot(found: Folder, findings: list[Finding]) -> Contents | None:
    """By `next_part` and time taken, not by name: clocks step back. One that cannot be read is put aside for the next older."""
    heads: list[tuple[int, int, Path]] = []
    for path in found.snapshots:
        try:
            heads.append((*snapshot.read_head(path), path))
        except Damaged as e:
            _put_aside(path, str(e), findings)
    for _, _, path in sorted(heads, reverse=True):
        try:
            contents = snapshot.read(path)
        except Damaged as e:
            _put_aside(path, str(e), findings)
            continue
        findings += [_lost(path, d) for d in contents.damage]
        if contents.damage:
            _keep_evidence(path)
        return contents
    return None


def _lost(path: Path, damage: Damage) -> Finding:
    return Finding(path, f"bytes {damage.offset} to {damage.offset + damage.length} are damaged: what stood there is lost")


def _read_part(path: Path, findings: list[Finding]) -> list[Run | Free]:
    """Samples gathered between frees. Samples whose key frames are both lost are told by number."""
    log: list[Run | Free] = []
    keys: list[SeriesKey] = []
    place: dict[int, int] = {}
    gathered: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]] = []
    lookup = np.full(0, -1, np.int32)
    nameless = 0
    damaged = False

    def close() -> None:
        if gathered:
            ids, times, values = (np.concatenate(c) for c in zip(*gathered, strict=True))
            log.append(Run(list(keys), ids, times, values))
            gathered.clear()

    for content in part_entries(path):
        if isinstance(content, Damage):
            if not content.tail:  # a torn end is what a killed writer leaves, and nothing of it was promised
                damaged = True
                findings.append(_lost(path, content))
        elif isinstance(content, Keys):
            for number, key in zip(content.ids, content.keys, strict=True):
                if number not in place:
                    place[number] = len(keys)
                    keys.append(key)
            lookup = np.full(max(place, default=-1) + 1, -1, np.int32)
            lookup[list(place)] = list(place.values())
        elif isinstance(content, Samples):
            known = content.ids < len(lookup)
            ids = np.where(known, lookup[np.where(known, content.ids, 0)], -1) if len(lookup) else np.full(len(content.ids), -1)
            good = ids >= 0
            nameless += int(len(ids) - good.sum())
            gathered.append((ids[good].astype(np.int32), content.times[good], content.values[good]))
        else:
            close()
            log.append(content)
    close()
    if nameless:
        findings.append(Finding(path, f"{nameless} samples of series whose names are lost"))
    if damaged or nameless:
        _keep_evidence(path)
    return log


def _decode(payload: bytes, contents: Contents, findings: list[Finding]) -> list[Block]:
    try:
        return snapshot.decode_block(payload, contents.table)
    except Damaged as e:
        findings.append(Finding(contents.path, f"a block is lost: {e}"))
        return []


def later_blocks(path: Path, findings: list[Finding]) -> Iterator[tuple[Table, list[Block]]]:
    """The older blocks of a snapshot, newest first, decoded one at a time. OSError."""
    try:
        contents = snapshot.read(path)
    except Damaged as e:
        findings.append(Finding(path, f"cannot be read a second time: {e}"))
        return
    for newest, payload in contents.blocks:
        if not newest:
            yield contents.table, _decode(payload, contents, findings)


def _put_aside(path: Path, why: str, findings: list[Finding]) -> None:
    """Out of the way, kept for whoever wants to look at it."""
    try:
        aside = quarantine(path)
    except OSError as e:
        findings.append(Finding(path, f"cannot be used ({why}), and not be put aside: {e}"))
    else:
        findings.append(Finding(path, f"cannot be used ({why}): kept as {aside.name}"))


def _keep_evidence(path: Path) -> None:
    """A second name, so that the damaged file outlives the next snapshot."""
    with contextlib.suppress(OSError):
        os.link(path, path.with_name(path.name + ".damaged"))


# ---- applying, on the engine's thread


def first_pass(engine: Engine, image: HostImage) -> Iterator[int | None]:
    """Key table, newest blocks, log; then the host is open. Yields after each step what it applied (values); None: memory was full."""
    host = image.host
    if image.table is not None:
        ids = _declare(engine, host, image.table)
        for block in image.now:
            yield _put(engine, host, image.table, ids, block)
    for entry in image.log:
        if isinstance(entry, Free):
            engine.free([(host.cluster, host.host, *entry.levels)], entry.before)
            yield 0
            continue
        row_ids = engine.restore_series(host, entry.keys)
        for at in range(0, len(entry.ids), STEP):
            part = slice(at, at + STEP)
            try:
                engine.replay(host, row_ids[entry.ids[part]], entry.times[part], entry.values[part])
            except NoMemoryForTile:  # what found room is there; older data than the cap holds goes (design S6)
                yield None
            else:
                yield len(entry.ids[part])
    engine.host_opened(host)


def later_pass(engine: Engine, host: HostKey, table: Table, blocks: list[Block]) -> Iterator[int | None]:
    """Older blocks into what is still NaN."""
    ids = engine.restore_series(host, table.keys)
    for block in blocks:
        yield _put(engine, host, table, ids, block)


def _declare(engine: Engine, host: HostKey, table: Table) -> NDArray[np.int32]:
    ids = engine.restore_series(host, table.keys)
    engine.restore_spans(host, ids, table.first, table.last)
    return ids


def _put(engine: Engine, host: HostKey, table: Table, ids: NDArray[np.int32], block: Block) -> int | None:
    try:
        return engine.restore_block(host, ids[table.rows[block.group]], block.first_bin, block.values)
    except NoMemoryForTile:
        return None
