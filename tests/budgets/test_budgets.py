"""What a daemon costs before it does anything: time and peak resident memory of one call, the modules it imports.

Memory and modules are limits; times are printed only, since a busy machine makes them grow (speed is a benchmark, not a test).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

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
