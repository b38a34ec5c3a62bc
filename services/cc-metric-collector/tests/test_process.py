"""The whole program as a process: `-once`, signals, spool across kill -9, memory."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "cc_metric_collector"]
ALL = {
    "loadavg": {},
    "cpustat": {},
    "memstat": {"numa_stats": True},
    "netstat": {"include_devices": ["eth0"], "send_derived_values": True},
    "diskstat": {},
    "iostat": {},
    "schedstat": {},
    "numastats": {},
    "cpufreq": {},
    "tempstat": {},
    "topprocs": {},
    "self": {"read_rusage": True, "read_mem_stats": True},
    "nfsiostat": {},
    "customcmd": {"commands": ["echo custom,type=node value=1"]},
}
RESIDENT = 45  # MB
TREE = Path(__file__).parent / "trees" / "node"


def config(directory: Path, **sections) -> Path:
    document = {"main": {"interval": "1s"}, "router": {}, "collectors": {}, "sinks": {"out": {"type": "stdout"}}} | sections
    path = directory / "config.json"
    path.write_text(json.dumps(document))
    return path


def run(path: Path, *flags: str, root: Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | ({"CCMC_ROOT": str(root)} if root else {})
    return subprocess.run(
        [*PROGRAM, "-config", str(path), *flags], capture_output=True, text=True, env=environment, timeout=60, cwd=path.parent
    )


@pytest.mark.e2e
def test_once_with_all_collectors_on_a_recorded_node(tmp_path):
    router = {
        "process_messages": {
            "add_tags_if": [{"key": "cluster", "value": "fritz", "if": "true"}],
            "rename_messages": {"load_one": "cpu_load"},
        }
    }
    done = run(config(tmp_path, collectors=ALL, router=router), "-once", root=TREE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = {re.split("[, ]", line)[0] for line in lines}
    assert {
        "cpu_load",
        "cpu_user",
        "mem_used",
        "net_bytes_in",
        "net_bytes_in_bw",
        "disk_total",
        "io_reads",
        "cpu_load_core",
        "cpufreq",
    } <= names
    assert {"numastats_numa_hit", "temp_core_0", "topproc1", "rusage_user_time", "nfsio_nread", "custom"} <= names
    assert all(",cluster=fritz" in line and ",hostname=" in line for line in lines)
    assert len({line.rsplit(" ", 1)[1] for line in lines}) == 1  # one stamp for the round
    assert "skipped" not in done.stderr


@pytest.mark.e2e
def test_once_on_this_machine(tmp_path):
    done = run(config(tmp_path, collectors=ALL | {"netstat": {"include_devices": ["lo"]}}), "-once")
    assert done.returncode == 0, done.stderr
    load = next(line for line in done.stdout.splitlines() if line.startswith("load_one,"))
    assert abs(float(load.split("value=")[1].split()[0]) - os.getloadavg()[0]) < 5
    total = next(line for line in done.stdout.splitlines() if line.startswith("mem_total,") and "type=node" in line)
    kernel = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert float(total.split("value=")[1].split()[0]) == float(kernel)


@pytest.mark.e2e
def test_unknown_collector_names_what_exists_and_costs_nothing_else(tmp_path):
    done = run(config(tmp_path, collectors={"nosuch": {}, "loadavg": {}}), "-once")
    assert done.returncode == 0
    assert "there is no collector 'nosuch', there are: beegfs_meta" in done.stderr.replace('\\"', "'")
    assert "load_one" in done.stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_ticks_are_aligned_and_sigterm_ends_in_order(tmp_path):
    path = config(tmp_path, collectors={"loadavg": {}})
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(11)]
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    stamps = sorted({int(line.rsplit(" ", 1)[1]) for line in lines})
    assert len(stamps) >= 2 and all(stamp % 10**9 == 0 for stamp in stamps)


class Store(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(port: int = 0) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", port), Store)
    server.bodies = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.e2e
@pytest.mark.slow
def test_what_was_spooled_survives_kill_9_of_the_daemon(tmp_path):
    server = serve()
    port = server.server_port
    server.shutdown()
    server.server_close()
    sink = {"store": {"type": "http", "url": f"http://127.0.0.1:{port}/api/write", "flush_delay": "0s"}}
    path = config(tmp_path, collectors={"loadavg": {}}, sinks=sink, main={"interval": "200ms", "state_dir": str(tmp_path / "state")})
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stderr=subprocess.DEVNULL)
    spool = tmp_path / "state" / "spool" / "store"
    for _ in range(200):
        if sum(f.stat().st_size for f in spool.glob("*.spool")) > 2500:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    server = serve(port)
    done = run(config(tmp_path, collectors={}, sinks=sink, main={"interval": "1s", "state_dir": str(tmp_path / "state")}), "-once")
    assert done.returncode == 0
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stderr=subprocess.DEVNULL)  # goes on where it was
    for _ in range(100):
        if len(server.bodies) > 10:
            break
        time.sleep(0.05)
    process.terminate()
    process.wait(20)
    stamps = [int(line.rsplit(b" ", 1)[1]) for body in server.bodies for line in body.splitlines() if line.startswith(b"load_one,")]
    assert len(stamps) >= 5 and stamps == sorted(stamps)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


@pytest.mark.e2e
@pytest.mark.slow
def test_a_proxy_forwards_and_shows_its_counters(tmp_path):
    """No collectors, one receiver, one sink; a bad sink and a bad receiver beside them cost nothing."""
    server, port, pages = serve(), free_port(), free_port()
    path = config(
        tmp_path,
        main={"interval": "1s", "state_dir": str(tmp_path / "state"), "metrics_address": f"127.0.0.1:{pages}"},
        router={"process_messages": {"add_tags_if": [{"key": "cluster", "value": "fritz", "if": "true"}]}},
        sinks={
            "store": {"type": "http", "url": f"http://127.0.0.1:{server.server_port}/api/write", "flush_delay": "0s"},
            "bad": {"type": "stdout", "output_file": "/nowhere/x"},
        },
        receivers={
            "in": {"type": "http", "address": "127.0.0.1", "port": str(port), "durable": True},
            "taken": {"type": "http", "address": "127.0.0.1", "port": str(server.server_port)},
        },
    )
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stderr=subprocess.PIPE, text=True)
    try:
        wait_for(port)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", b"m,hostname=n7,type=node value=5 1700000000\n", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        assert server.bodies == [b"m,cluster=fritz,hostname=n7,type=node value=5.0 1700000000\n"]  # sent before it was answered
        with urllib.request.urlopen(f"http://127.0.0.1:{pages}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        process.terminate()
        errors = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    for stage in ("receiver in", "router", "sink store"):
        assert f'cc_metric_collector_given_total{{stage="{stage}"}} 1' in text
    assert "sink.skipped" in errors and "receiver.failed" in errors


@pytest.mark.e2e
def test_no_usable_sink_is_exit_1(tmp_path):
    done = run(config(tmp_path, sinks={"bad": {"type": "stdout", "output_file": "/nowhere/x"}}), "-once")
    assert done.returncode == 1 and "no usable sink" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.e2e
def test_log_file_and_bad_flags(tmp_path):
    done = run(config(tmp_path), "-once", "-log", str(tmp_path / "log"))
    assert done.returncode == 0 and "started" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644
    assert run(config(tmp_path), "-once", "-log", "/nowhere/log").returncode == 1
    assert run(config(tmp_path), "-nonsense").returncode == 2


def resident(process: subprocess.Popen) -> tuple[float, int]:
    """(MiB, threads)"""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, int(re.search(r"Threads:\s+(\d+)", status)[1])


@pytest.mark.e2e
@pytest.mark.slow
def test_memory_of_an_idle_collector(tmp_path, capsys):
    """Budget of a guest: below 45 MB with all collectors and an HTTP sink. Prints what it takes."""
    server = serve()
    sink = {"store": {"type": "http", "url": f"http://127.0.0.1:{server.server_port}/api/write", "flush_delay": "0s"}}
    path = config(tmp_path, collectors=ALL, sinks=sink, main={"interval": "500ms", "state_dir": str(tmp_path / "state")})
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stderr=subprocess.DEVNULL, env=os.environ | {"CCMC_ROOT": str(TREE)})
    try:
        for _ in range(200):
            if len(server.bodies) >= 4:
                break
            time.sleep(0.05)
        assert len(server.bodies) >= 4
        size, threads = resident(process)
    finally:
        process.terminate()
        process.wait(20)
    with capsys.disabled():
        print(f"\ncollector, {len(ALL)} collectors, http sink: {size:.1f} MB resident, {threads} threads")
    assert size < RESIDENT


@pytest.mark.e2e
@pytest.mark.slow
def test_memory_with_a_nats_sink(tmp_path, capsys, nats_server):
    """nats-py loads aiohttp for its web socket transport, so NATS costs more than HTTP. Prints what it takes."""
    sink = {"out": {"type": "nats", "host": nats_server.url, "subject": "fritz", "flush_delay": "0s"}}
    path = config(tmp_path, collectors=ALL, sinks=sink, main={"interval": "500ms", "state_dir": str(tmp_path / "state")})
    process = subprocess.Popen([*PROGRAM, "-config", str(path)], stderr=subprocess.DEVNULL, env=os.environ | {"CCMC_ROOT": str(TREE)})
    try:
        time.sleep(4)
        size, threads = resident(process)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    with capsys.disabled():
        print(f"\ncollector, {len(ALL)} collectors, nats sink: {size:.1f} MB resident, {threads} threads")
    assert size < RESIDENT + 3


@pytest.mark.e2e
def test_modules_of_a_bare_collector(capsys):
    """What the program loads before it knows its configuration, and what it must never load."""
    code = "import time; t = time.perf_counter(); import cc_metric_collector.__main__, cc_metric_collector.app; import sys; print(time.perf_counter() - t); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.splitlines()
    with capsys.disabled():
        print(f"\ncollector, import: {float(seconds):.2f} s, {len(modules.split())} modules")
    assert not {"numpy", "numba", "pyarrow", "sqlalchemy", "jwt", "cryptography", "prometheus_client", "aiohttp", "nats"} & set(
        modules.split()
    )
