"""The benchmark runs and prints its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_table_comes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "wire"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    head = next(line for line in printed if line.startswith("what "))
    rows = [line for line in printed if line.startswith("wire: ")]
    assert head.split()[:5] == ["what", "unit", "ours", "other", "ratio"]
    assert len(rows) == 3
    for row in rows:
        assert float(row[head.index("unit") + 16 : head.index("ours") + 4].replace(",", "")) > 0


@pytest.mark.slow
def test_a_wrong_name_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.bench", "--only", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "wire" in done.stderr
