"""The shipped systemd units are valid: `systemd-analyze verify` complains about nothing but programs that are not installed here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_unit_is_valid(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line and line.startswith(unit.name)]
    assert complaints == []


def test_each_daemon_has_one() -> None:
    assert {u.stem for u in UNITS} == {"clustercockpit", "cc-metric-store", "cc-metric-collector", "cc-slurm-adapter"}
