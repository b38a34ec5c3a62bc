"""Commands: limits of time and size, the whole process group ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cc_metric_collector.base import CommandFailed
from cc_metric_collector.commands import run_command


def test_output_and_stdin():
    assert run_command(["echo", "a b"], timeout=5) == b"a b\n"
    assert run_command(["cat"], timeout=5, stdin=b"x\n") == b"x\n"


def test_failures_say_what():
    with pytest.raises(CommandFailed, match="exit status 3"):
        run_command(["sh", "-c", "exit 3"], timeout=5)
    with pytest.raises(CommandFailed, match="no-such-program"):
        run_command(["no-such-program"], timeout=5)
    with pytest.raises(CommandFailed, match="more than 1000 bytes"):
        run_command(["sh", "-c", "yes"], timeout=5, limit=1000)


def test_time_limit_takes_the_children_along(tmp_path):
    pid_file = tmp_path / "pid"
    begin = time.monotonic()
    with pytest.raises(CommandFailed, match="time limit"):
        run_command(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout=0.5)
    assert time.monotonic() - begin < 5
    child = int(pid_file.read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or (Path("/proc") / str(child) / "stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("the child lives on")
