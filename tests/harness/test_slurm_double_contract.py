"""The Slurm double answers in the forms of the real one: every member it prints stands in the recordings with the same JSON type."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from cctest.processes import wait_until
from cctest.slurm_double import install

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "slurm" / "24.11"


class Double:
    def __init__(self, folder: Path) -> None:
        install(folder / "bin", folder / "state", cluster="alpha", user="alice", account="proj1", host="n1")
        self.folder = folder
        self.state = folder / "state"

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]], capture_output=True, text=True, env={**os.environ, "TZ": "UTC"}, timeout=30
        )

    def submit(self, script: str, *options: str) -> str:
        path = self.folder / "job.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        return self("sbatch", "--parsable", *options, str(path)).stdout.strip()

    def state_of(self, job: str) -> str:
        return json.loads(self("sacct", "-j", job, "--json").stdout)["jobs"][0]["state"]["current"][0]


@pytest.fixture
def double(tmp_path: Path) -> Double:
    return Double(tmp_path)


def kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def compare(ours: object, real: object, path: str) -> list[str]:
    if kind(ours) != kind(real):
        return [f"{path}: {kind(ours)}, real {kind(real)}"]
    if isinstance(ours, dict) and isinstance(real, dict):
        return [
            p
            for k, v in ours.items()
            for p in (compare(v, real[k], f"{path}.{k}") if k in real else [f"{path}.{k}: not in the real answer"])
        ]
    if isinstance(ours, list) and isinstance(real, list) and ours and real:
        return compare(ours[0], real[0], f"{path}[0]")
    return []


@pytest.mark.skipif(not RECORDED.exists(), reason="recordings of a real Slurm are not beside this checkout")
@pytest.mark.parametrize(
    ("command", "recording"),
    [
        (("sacct", "--cluster", "alpha", "--allusers", "--starttime", "uts0", "--json"), "01-running-sacct-range.json"),
        (("squeue", "--noheader", "--cluster", "alpha", "--all", "--json"), "01-running-squeue-all.json"),
        (("sacctmgr", "list", "clusters", "--noheader", "--json"), "00-sacctmgr-clusters.json"),
        (("sacctmgr", "show", "user", "ccsa", "--json"), "00-sacctmgr-user-operator.json"),
        (("scontrol", "show", "node", "--json"), "01-scontrol-show-nodes.json"),
        (("sinfo", "--cluster", "alpha", "--noheader", "--json"), "01-running-sinfo.json"),
    ],
)
def test_forms_are_those_of_real_slurm(double: Double, command: tuple[str, ...], recording: str) -> None:
    double.submit("sleep 20")
    ours = json.loads(double(*command).stdout)
    double("scancel", "1001")
    assert compare(ours, json.loads((RECORDED / recording).read_text()), "$") == []


def test_life_of_a_job(double: Double) -> None:
    job = double.submit("exit 3", "--job-name=bad")
    wait_until(lambda: double.state_of(job) == "FAILED", "the job's end")
    assert json.loads(double("squeue", "-j", job, "--states=all", "--json").stdout)["jobs"][0]["job_resources"]
    assert double("scontrol", "write", "batch_script", job, "-").stdout == "#!/bin/sh\nexit 3\n"
    assert double("scontrol", "show", "job", job).stdout.startswith(f"JobId={job} JobName=bad")


def test_cancel(double: Double) -> None:
    job = double.submit("sleep 100")
    time.sleep(0.3)
    double("scancel", job)
    wait_until(lambda: double.state_of(job) == "CANCELLED", "the cancelled job's end")


def test_exit_codes_of_real_slurm(double: Double) -> None:
    one = double("squeue", "--noheader", "-j", "77", "--json")
    assert (one.returncode, "Invalid job id specified" in one.stderr) == (1, True)
    assert double("squeue", "--noheader", "-j", "77,78", "--json").returncode == 0
    assert json.loads(double("sacct", "--cluster", "nosuch", "-j", "77", "--json").stdout)["jobs"] == []
    assert double("squeue", "--cluster", "nosuch", "--json").returncode == 1
    assert double("sacct", "--starttime", "uts20", "--endtime", "uts10", "--json").returncode == 1
    assert double("scontrol", "show", "job", "77").returncode == 1
    assert json.loads(double("scontrol", "show", "job", "77", "--json").stdout)["jobs"] == []
