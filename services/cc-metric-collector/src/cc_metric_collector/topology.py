"""Topology of the node, read from sysfs below a root path.

Ids are those of the kernel. Core ids are unique only within a socket and die, so a core is (socket, die, core). Only
processors that are online count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

K = TypeVar("K", int, tuple[int, int], tuple[int, int, int])

CPUS = "sys/devices/system/cpu"


class HWThread(msgspec.Struct, frozen=True):
    """A hardware thread. -1 = the kernel does not say; `smt` is its position among the threads of its core."""

    id: int
    core: int
    socket: int
    die: int
    memory_domain: int
    smt: int


class NodeTopology(msgspec.Struct, frozen=True):
    """All online hardware threads, ascending."""

    threads: tuple[HWThread, ...]

    def sockets(self) -> dict[int, list[int]]:
        """Socket id → threads."""
        return _group(self.threads, lambda t: t.socket)

    def dies(self) -> dict[tuple[int, int], list[int]]:
        """(socket, die) → threads; die ids repeat on every socket."""
        return _group(self.threads, lambda t: (t.socket, t.die))

    def memory_domains(self) -> dict[int, list[int]]:
        """NUMA domain → threads; threads whose domain is unknown are left out."""
        return _group((t for t in self.threads if t.memory_domain >= 0), lambda t: t.memory_domain)

    def cores(self) -> dict[tuple[int, int, int], list[int]]:
        """(socket, die, core id) → threads."""
        return _group(self.threads, lambda t: (t.socket, t.die, t.core))

    def thread(self, id: int) -> HWThread | None:
        return next((t for t in self.threads if t.id == id), None)

    def smt_width(self) -> int:
        """Largest number of threads of a core."""
        return max((len(threads) for threads in self.cores().values()), default=0)


def _group(threads: Iterable[HWThread], key: Callable[[HWThread], K]) -> dict[K, list[int]]:
    groups: dict[K, list[int]] = {}
    for thread in threads:
        groups.setdefault(key(thread), []).append(thread.id)
    return dict(sorted(groups.items(), key=lambda item: item[0]))


def parse_cpu_list(text: str) -> list[int]:
    """`0-3,8,10-11` → ids, ascending. ValueError names the text. Empty text: no processor."""
    ids: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        try:
            ids.update(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise ValueError(f"{text!r} is no list of processors") from None
    return sorted(ids)


def read_topology(root: Path) -> NodeTopology:
    """Read `/sys/devices/system/cpu` below `root`. Processors without a topology directory are left out."""
    base = root / CPUS
    ids = sorted(int(p.name[3:]) for p in base.glob("cpu[0-9]*") if p.name[3:].isdigit())
    online = _text(base / "online")
    if online is not None:
        allowed = set(parse_cpu_list(online))
        ids = [i for i in ids if i in allowed]
    return NodeTopology(tuple(_thread(base / f"cpu{i}", i) for i in ids if (base / f"cpu{i}" / "topology").is_dir()))


def _thread(directory: Path, id: int) -> HWThread:
    topology = directory / "topology"
    socket = _number(topology / "physical_package_id")
    die = _number(topology / "die_id")
    siblings = _text(topology / "core_cpus_list") or _text(topology / "thread_siblings_list") or ""
    threads = parse_cpu_list(siblings)
    domains = [int(p.name[4:]) for p in directory.glob("node[0-9]*") if p.name[4:].isdigit()]
    return HWThread(
        id=id,
        core=_number(topology / "core_id"),
        socket=socket,
        die=die if die >= 0 else socket,
        memory_domain=domains[0] if len(domains) == 1 else -1,
        smt=threads.index(id) if id in threads else -1,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> int:
    text = _text(path)
    try:
        return int(text) if text is not None else -1
    except ValueError:
        return -1
