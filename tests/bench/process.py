"""What a process costs, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from cctest.processes import Process

_TICK = os.sysconf("SC_CLK_TCK")


def pid_of(process: Process) -> int:
    assert process.child is not None
    return int(process.child.pid)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far; waited-for children too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(int(x) for x in fields[11:15]) / _TICK


def resident_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")) * 1024


def bytes_below(folder: Path, pattern: str = "*") -> int:
    return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())
