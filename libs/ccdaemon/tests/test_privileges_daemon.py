"""A real daemon that starts as root and becomes a service user: who it is then, and whose files it makes."""

import contextlib
import grp
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
SOURCES = Path(__file__).parents[3]
USER, GROUP = "nobody", "daemon"


def interpreter():
    """This one where every user may execute it, else the system's of the same version (they share the installed packages)."""
    real = Path(sys.executable).resolve()
    if all(p.stat().st_mode & 1 for p in (real, *real.parents)):
        return sys.executable
    other = shutil.which(f"python3.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin")
    return other if other and Path(other).resolve().stat().st_mode & 1 else None


@pytest.fixture
def open_folder():
    """Not tmp_path: pytest keeps that for its own user."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_pitfall_cc_metric_store_has_the_configured_user_and_group_and_none_of_roots(open_folder):
    python = interpreter()
    if python is None:
        pytest.skip("no interpreter that another user may execute")
    if not all(p.stat().st_mode & 1 for p in (SOURCES, *SOURCES.parents)):
        pytest.skip("the checkout lies in a folder that another user may not enter")
    account = pwd.getpwnam(USER)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    data = open_folder / "data"
    data.mkdir()
    gid = grp.getgrnam(GROUP).gr_gid
    os.chown(data, account.pw_uid, gid)
    config = {
        "main": {"addr": f"127.0.0.1:{port}", "allow-unauthenticated": True, "user": USER, "group": GROUP},
        "metrics": {"load": {"frequency": 1}},
        "metric-store": {"retention-in-memory": "1h", "memory-cap": 1, "checkpoints": {"directory": str(data / "checkpoints")}},
    }
    (open_folder / "config.json").write_text(json.dumps(config))
    os.chmod(open_folder / "config.json", 0o600)  # read as root
    packages = [sysconfig.get_paths()["purelib"], *(str(p) for p in SOURCES.glob("libs/*/src")), *map(str, SOURCES.glob("services/*/src"))]
    env = {"PYTHONPATH": ":".join(packages), "PATH": os.environ["PATH"], "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", "cc_metric_store", "-config", "config.json", "-loglevel", "info"]
    with (open_folder / "log").open("wb") as log:
        # With supplementary groups of root's, as a login shell has them.
        child = subprocess.Popen(command, cwd=open_folder, env=env, stdout=log, stderr=log, extra_groups=[0, 4, 6])
    said = (open_folder / "log").read_text
    try:
        wait(child, said, lambda: post(port, b"load,cluster=c,hostname=h,type=node value=1 %d\n" % time.time()) == 200)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines() if ":\t" in line)
        assert status["Uid"].split() == [str(account.pw_uid)] * 4
        assert status["Gid"].split() == [str(gid)] * 4
        assert status["Groups"].split() == [str(g) for g in sorted(os.getgrouplist(USER, gid))]
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        for task in Path(f"/proc/{child.pid}/task").iterdir():  # no thread was started before the drop
            assert f"Uid:\t{account.pw_uid}\t{account.pw_uid}" in (task / "status").read_text()
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    assert child.returncode == 0, said()
    made = [p for p in data.rglob("*") if p != data]
    assert any(p.suffix == ".bin" for p in made), made
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(account.pw_uid, gid)}


def wait(child, said, ready):
    for _ in range(300):
        assert child.poll() is None, said()
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.1)
    raise AssertionError(said())


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/api/write", body)
    status = connection.getresponse().status
    connection.close()
    return status
