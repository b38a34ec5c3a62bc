"""What a daemon costs before it does anything: time and peak resident memory of one call, the modules it imports.

Memory and modules are limits; times are printed only, since a busy machine makes them grow (speed is a benchmark, not a test).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cctest.processes import Process, running

HOOK = {"SLURM_JOB_ID": "1", "SLURM_CLUSTER_NAME": "none", "SLURM_SCRIPT_CONTEXT": "prolog_slurmctld"}
MEASURE = """
import resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(code, time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
# what, arguments to python, environment, MB
CALLS = [
    ("cc-metric-collector -version", ["-m", "cc_metric_collector", "-version"], {}, 40),
    ("cc-metric-store -version", ["-m", "cc_metric_store", "-version"], {}, 80),
    ("cc-backend -version", ["-m", "cc_backend", "-version"], {}, 60),
    ("cc-slurm-adapter -version", ["-m", "cc_slurm_adapter", "-version"], {}, 60),
    ("cc-slurm-adapter (hook)", ["-m", "cc_slurm_adapter"], HOOK, 20),
]


@pytest.mark.parametrize(("what", "arguments", "env", "limit"), CALLS, ids=[c[0] for c in CALLS])
def test_cost_of_a_call(
    what: str, arguments: list[str], env: dict[str, str], limit: int, record_property: Callable[[str, object], None]
) -> None:
    # Between fork and exec a child has the memory of its parent, which counts as its peak: so a bare interpreter stands between.
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, sys.executable, *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds, megabytes = (float(x) for x in done.stdout.splitlines()[-1].split())
    record_property("budget", (what, seconds, megabytes, limit))
    assert code == 0
    assert megabytes < limit


@pytest.mark.slow
def test_idle_collector(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """The typical set of collectors with an HTTP sink whose peer is away: what a node pays for being watched."""
    typical = ("loadavg", "cpustat", "memstat", "netstat", "diskstat", "schedstat", "topprocs", "self")
    config = {
        "main": {"interval": "1s", "state_dir": str(tmp_path / "state")},
        "router": {"interval_timestamp": True},
        "sinks": {"rest": {"type": "http", "url": "http://127.0.0.1:9/api/write?cluster=c", "jwt": "x"}},
        "collectors": {name: {"include_devices": ["lo"]} if name == "netstat" else {} for name in typical},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    collector = Process("collector", [sys.executable, "-m", "cc_metric_collector", "-config", "config.json", "-loglevel", "info"], tmp_path)
    began = time.monotonic()
    with running(collector):
        collector.start(lambda: "started" in collector.said())
        seconds = time.monotonic() - began
        time.sleep(3.5)
        assert collector.child is not None
        status = dict(line.split(":", 1) for line in Path(f"/proc/{collector.child.pid}/status").read_text().splitlines())
        megabytes = int(status["VmRSS"].split()[0]) / 1024
    record_property("budget", ("cc-metric-collector, typical set, http sink", seconds, megabytes, 45))
    assert megabytes < 45


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("cc_metric_collector", {"numpy", "numba", "jwt", "sqlalchemy", "pyarrow", "prometheus_client", "ccstore"}),
        ("cc_slurm_adapter", {"numpy", "numba", "jwt", "sqlalchemy", "pyarrow", "prometheus_client", "ccstore"}),
        ("cc_metric_store", {"sqlalchemy", "numba", "pyarrow"}),
        ("cc_backend", {"numba", "pyarrow", "alembic", "ldap3", "boto3"}),
    ],
)
def test_what_a_daemon_imports(package: str, forbidden: set[str]) -> None:
    script = f"import sys\nfrom {package}.__main__ import main\ntry:\n    main(['-version'])\nexcept SystemExit:\n    pass\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split("MODULES", 1)[1].split())
    assert not modules & forbidden
