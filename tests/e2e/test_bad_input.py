"""What goes wrong at a start: a taken port, a missing key, a wrong token, a stray comma, an unreadable file, a full disk.

Each ends in one message that names the place and says what to do, never in a traceback.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cctest.newcomer import REPOSITORY
from cctest.processes import SCRIPTS, Process, free_port, http, running, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
KEY = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="
STORE = {
    "main": {"addr": "127.0.0.1:0", "jwt-public-key": KEY},
    "metrics": {"load": {"frequency": 5, "aggregation": None}},
    "metric-store": {"retention-in-memory": "1h", "memory-cap": 1},
}
COLLECTOR = {
    "main": {"interval": "5s"},
    "collectors": {"loadavg": {}},
    "router": {"interval_timestamp": True},
    "sinks": {"out": {"type": "stdout"}},
}
ADAPTER = {
    "ccRestUrl": "http://127.0.0.1:1",
    "ccRestJwt": "x",
    "pidFilePath": "run/pid",
    "prepSockListenPath": "run/sock",
    "lastRunPath": "run/lastrun",
}
START = {
    "cc-metric-store": ["-config", "config.json"],
    "cc-metric-collector": ["-config", "config.json"],
    "cc-slurm-adapter": ["-daemon", "-config", "config.json"],
    "cc-backend": ["-server", "-config", "config.json"],
}


def say(program: str, folder: Path, *arguments: str, text: str | None = None) -> tuple[int, str]:
    """Run a program that is expected to end by itself; (exit code, all that it said)."""
    if text is not None:
        (folder / "config.json").write_text(text)
    done = subprocess.run([SCRIPTS / program, *(arguments or START[program])], cwd=folder, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield s.getsockname()[1]


@pytest.fixture
def backend_folder(tmp_path: Path) -> Path:
    code, said = say("cc-backend", tmp_path, "-init")
    assert code == 0, said
    return tmp_path


def test_taken_port_of_the_store(tmp_path: Path, taken: int) -> None:
    code, said = say("cc-metric-store", tmp_path, text=json.dumps({**STORE, "main": {"addr": f"127.0.0.1:{taken}", "jwt-public-key": KEY}}))
    assert code == 1
    assert str(taken) in said
    assert "main.addr" in said


def test_taken_port_of_the_backend(backend_folder: Path, taken: int) -> None:
    code, said = say("cc-backend", backend_folder, text=json.dumps({"main": {"addr": f"127.0.0.1:{taken}"}}))
    assert code == 1
    assert str(taken) in said


@pytest.mark.parametrize(
    ("program", "text", "names"),
    [
        ("cc-metric-store", json.dumps({**STORE, "main": {"addr": "127.0.0.1:0"}}), ["main.jwt-public-key", "config.json:1:"]),
        ("cc-metric-store", json.dumps({"main": {}, "metric-store": {}}), ["addr", "retention-in-memory", "memory-cap"]),
        ("cc-metric-collector", json.dumps({k: v for k, v in COLLECTOR.items() if k != "main"}), ["main"]),
        ("cc-metric-collector", json.dumps({**COLLECTOR, "sinks": {"a": {"type": "http"}}}), ["url"]),
        ("cc-slurm-adapter", "{}", ["ccRestUrl", "ccRestJwt"]),
    ],
)
def test_missing_key(program: str, text: str, names: list[str], tmp_path: Path) -> None:
    code, said = say(program, tmp_path, text=text)
    assert code == 1
    for name in names:
        assert name in said


@pytest.mark.parametrize("program", sorted(START))
def test_missing_comma_is_named_with_its_place(program: str, tmp_path: Path) -> None:
    code, said = say(program, tmp_path, text='{\n  "main": {}\n  "x": 1\n}\n')
    assert code == 1
    assert "config.json:3:3" in said


@pytest.mark.parametrize("program", sorted(START))
def test_missing_configuration_file(program: str, tmp_path: Path) -> None:
    arguments = [a.replace("config.json", "nowhere.json") for a in START[program]]
    code, said = say(program, tmp_path, *arguments)
    assert code == 1
    assert "nowhere.json" in said


@pytest.mark.parametrize("program", sorted(START))
def test_configuration_that_is_no_file(program: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    code, said = say(program, tmp_path)
    assert code == 1
    assert "config.json" in said


@pytest.mark.parametrize("program", sorted(START))
def test_wrong_flag(program: str, tmp_path: Path) -> None:
    done = subprocess.run([SCRIPTS / program, "-nosuchflag"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nosuchflag" in done.stderr


def test_wrong_token_is_said_by_both_sides(tmp_path: Path) -> None:
    """The store refuses with 401; the collector keeps its data in the spool and says why."""
    port = free_port()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "config.json").write_text(json.dumps({**STORE, "main": {"addr": f"127.0.0.1:{port}", "jwt-public-key": KEY}}))
    store = Process("cc-metric-store", [SCRIPTS / "cc-metric-store", "-config", "config.json"], tmp_path / "store")
    sink = {"rest": {"type": "http", "url": f"http://127.0.0.1:{port}/api/write?cluster=c", "jwt": "a.b.c", "flush_delay": "200ms"}}
    agent = tmp_path / "agent"
    agent.mkdir()
    (agent / "config.json").write_text(
        json.dumps({**COLLECTOR, "main": {"interval": "1s", "state_dir": str(agent / "state")}, "sinks": sink})
    )
    collector = Process("cc-metric-collector", [SCRIPTS / "cc-metric-collector", "-config", "config.json"], agent)
    with running(store, collector):
        store.start(lambda: http(f"http://127.0.0.1:{port}/api/healthcheck/")[0])
        collector.start()
        wait_until(lambda: "401" in collector.said(), "the collector says why", 20)
        assert collector.running()
        spooled = [p for p in (agent / "state").rglob("*") if p.is_file()]
        assert spooled
        assert collector.stop() == 0
        assert store.stop() == 0
    assert "Traceback" not in collector.said() + store.said()
    assert "a.b.c" not in collector.said()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
def test_full_disk_in_the_demos_folder(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        env = {**os.environ, "DEMO_DIR": str(small / "demo"), "DEMO_PORT": str(free_port()), "DEMO_NATS_PORT": str(free_port())}
        done = subprocess.run(
            [sys.executable, REPOSITORY / "deploy" / "demo" / "demo.py"], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert "full" in (done.stdout + done.stderr).lower() or "no space" in (done.stdout + done.stderr).lower()
    finally:
        time.sleep(0.2)
        subprocess.run(["umount", "-l", small], check=False)


@pytest.mark.parametrize("text", ["http", "0", "70000", "-1"])
def test_demo_port_that_is_none(text: str, tmp_path: Path) -> None:
    env = {**os.environ, "DEMO_DIR": str(tmp_path / "d"), "DEMO_PORT": text}
    done = subprocess.run([sys.executable, REPOSITORY / "deploy" / "demo" / "demo.py"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "DEMO_PORT" in done.stderr
    assert "Traceback" not in done.stderr
