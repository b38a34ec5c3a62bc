"""The real daemon as a process, with the Slurm double and a cc-backend that answers as the test wants."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cctest.processes import Process, free_port, http, running, wait_until
from cctest.slurm_double import install

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Backend:
    """Keeps what it was sent. `answer(kind, body)` decides; None = 201 or 200."""

    def __init__(self, port: int = 0) -> None:
        self.posts: list[tuple[str, dict[str, object]]] = []
        self.answer: Callable[[str, dict[str, object]], int | None] = lambda _kind, _body: None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = b'{"jobs":[],"items":0,"page":1}' if self.path.startswith("/api/jobs/") else b'{"clusters":[]}'
                self.reply(200, body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = self.path.rstrip("/").rsplit("/", 1)[1].removesuffix("_job")
                status = owner.answer(kind, body) if self.headers["X-Auth-Token"] == "token" else 401
                status = status or (201 if kind == "start" else 200)
                if status < 400:
                    owner.posts.append((kind, body))
                self.reply(status, b"{}")

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, job: int) -> list[str]:
        return [kind for kind, body in self.posts if body.get("jobId") == job]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Site:
    def __init__(self, folder: Path, port: int, **more: object) -> None:
        self.folder = folder
        install(folder / "bin", folder / "slurm", cluster="alpha", user="alice", account="proj1", host="n1")
        run = folder / "run"
        self.config = folder / "config.json"
        values = {
            "ccRestUrl": f"http://127.0.0.1:{port}/",
            "ccRestJwt": "token",
            "slurmPollInterval": 1,
            "pidFilePath": str(run / "daemon.pid"),
            "prepSockListenPath": str(run / "daemon.sock"),
            "prepSockConnectPath": str(run / "daemon.sock"),
            "lastRunPath": str(folder / "state" / "lastrun"),
            **more,
        }
        self.config.write_text(json.dumps(values))
        self.config.chmod(0o640)
        self.env = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self.command = [sys.executable, "-m", "cc_slurm_adapter", "-daemon", "-config", str(self.config), "-debug", "5"]
        self.daemon = Process("adapter", self.command, folder, self.env)
        self.socket = run / "daemon.sock"

    def start(self) -> Process:
        return self.daemon.start(self.socket.exists)

    def submit(self, script: str) -> int:
        path = self.folder / f"job{time.monotonic_ns()}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        done = subprocess.run(
            [self.folder / "bin" / "sbatch", "--parsable", path], capture_output=True, text=True, check=True, env={**os.environ, **self.env}
        )
        return int(done.stdout)


@pytest.fixture
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


def test_start_then_stop_once_each(backend: Backend, tmp_path: Path) -> None:
    site = Site(tmp_path, backend.port)
    with running(site.daemon):
        site.start()
        job = site.submit("sleep 2; exit 3")
        wait_until(lambda: backend.of(job) == ["start", "stop"], "start and stop", 15)
        time.sleep(2.5)
        assert backend.of(job) == ["start", "stop"]
        start, stop = (body for _, body in backend.posts if body.get("jobId") == job)
        assert (start["user"], start["project"], start["numNodes"], start["cluster"]) == ("alice", "proj1", 1, "alpha")
        assert start["resources"][0]["hostname"] == "n1"  # type: ignore[index]
        assert start["resources"][0]["hwthreads"]  # type: ignore[index]
        assert start["metaData"]["jobScript"].startswith("#!/bin/sh")  # type: ignore[index]
        assert stop["jobState"] == "failed"
        assert any(kind == "nodestate" for kind, _ in backend.posts)
        assert site.daemon.stop() == 0
    assert not site.socket.exists()
    assert "Traceback" not in site.daemon.said()
    assert "token" not in site.daemon.said().replace("X-Auth-Token", "")


def test_metrics_show_sums_that_close(backend: Backend, tmp_path: Path) -> None:
    port = free_port()
    site = Site(tmp_path, backend.port, metricsAddress=f"127.0.0.1:{port}")
    with running(site.daemon):
        site.start()
        job = site.submit("sleep 1")
        wait_until(lambda: backend.of(job) == ["start", "stop"], "start and stop", 15)
        wait_until(lambda: 'given_total{stage="deliveries"} 2' in http(f"http://127.0.0.1:{port}/metrics")[1].decode(), "both counted", 5)
        said = http(f"http://127.0.0.1:{port}/metrics")[1].decode()
        assert 'taken_total{stage="deliveries"} 2' in said
        assert 'held{stage="deliveries"} 0' in said


def test_metrics_on_an_open_address_are_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, 1, metricsAddress="0.0.0.0:9999")
    done = subprocess.run(site.command, capture_output=True, text=True, env={**os.environ, **site.env}, timeout=30)
    assert done.returncode == 1
    assert "metricsAddress" in done.stderr


def test_backend_away_at_start_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    site = Site(tmp_path, port)
    with running(site.daemon):
        site.start()
        job = site.submit("sleep 1")
        time.sleep(4)
        backend = Backend(port)
        wait_until(lambda: backend.of(job) == ["start", "stop"], "both, after the backend came", 30)
        backend.close()


def test_kill_9_between_start_and_stop(backend: Backend, tmp_path: Path) -> None:
    site = Site(tmp_path, backend.port)
    with running(site.daemon):
        site.start()
        job = site.submit("sleep 4")
        wait_until(lambda: backend.of(job) == ["start"], "start", 15)
        site.daemon.kill()
        meanwhile = site.submit("sleep 1")
        time.sleep(4.5)
        site.start()  # PID file and socket of the dead one do not matter
        wait_until(lambda: backend.of(job) == ["start", "stop"], "the stop", 15)
        wait_until(lambda: backend.of(meanwhile) == ["start", "stop"], "the job that nobody saw", 15)


def test_one_rejected_job_holds_up_no_other(backend: Backend, tmp_path: Path) -> None:
    """P3: a 400 stopped everything behind it in the reference."""
    site = Site(tmp_path, backend.port)
    bad: list[int] = []
    backend.answer = lambda kind, body: 400 if kind == "start" and body["jobId"] in bad else None
    with running(site.daemon):
        bad.append(site.submit("sleep 1"))
        good = site.submit("sleep 1")
        site.start()
        wait_until(lambda: backend.of(good) == ["start", "stop"], "the good job", 20)
        assert backend.of(bad[0]) == []
        assert site.daemon.said().count("job.rejected") == 1


def test_hook_beats_the_poll(backend: Backend, tmp_path: Path) -> None:
    site = Site(tmp_path, backend.port, slurmPollInterval=300)
    (tmp_path / "slurm" / "hook").write_text(f"{sys.executable} -m cc_slurm_adapter -config {site.config}\n")
    with running(site.daemon):
        site.start()
        wait_until(lambda: any(kind == "nodestate" for kind, _ in backend.posts), "the first poll", 15)
        time.sleep(1)
        job = site.submit("sleep 2")
        wait_until(lambda: backend.of(job) == ["start"], "start by the hook", 5)
        wait_until(lambda: backend.of(job) == ["start", "stop"], "stop by the hook", 10)


def test_slurm_down_and_rubbish_on_the_socket(backend: Backend, tmp_path: Path) -> None:
    site = Site(tmp_path, backend.port)
    (tmp_path / "slurm" / "down").touch()
    with running(site.daemon):
        site.start()
        for rubbish in (
            b"",
            b"nonsense",
            b"[]",
            b'{"SLURM_JOB_ID":"x"}',
            b'{"SLURM_JOB_ID":"9","SLURM_CLUSTER_NAME":"no"}',
            b"x" * 100_000,
        ):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(site.socket))
                s.sendall(rubbish)
        time.sleep(2)
        (tmp_path / "slurm" / "down").unlink()
        job = site.submit("sleep 1")
        wait_until(lambda: backend.of(job) == ["start", "stop"], "a job after Slurm came back", 30)
        (tmp_path / "slurm" / "down").touch()
        time.sleep(2)
        (tmp_path / "slurm" / "down").unlink()
        job = site.submit("sleep 1")
        wait_until(lambda: backend.of(job) == ["start", "stop"], "a job after the second outage", 30)


def test_second_daemon_refuses_and_leaves_the_first_alone(backend: Backend, tmp_path: Path) -> None:
    """PITFALL: the refusing daemon of the reference removed PID file and socket of the running one."""
    site = Site(tmp_path, backend.port)
    with running(site.daemon):
        site.start()
        done = subprocess.run(site.command, capture_output=True, text=True, env={**os.environ, **site.env}, timeout=30)
        assert done.returncode == 1
        assert "running already" in done.stderr
        assert site.socket.exists()
        assert site.daemon.running()
        assert site.daemon.stop() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", ["ccRestUrl", "ccRestJwt"]),
        ('{"ccRestUrl": "http://x", "ccRestJwt": "t", "ignoreHosts": "(", "gpuPciAddrs": {"(?=x)": []}}', ["ignoreHosts", "gpuPciAddrs"]),
        ('{"ccRestUrl": "http://x", "ccRestJwt": "t", "natsPort": 70000}', ["natsPort"]),
        ('{"ccRestUrl": "http://x" "ccRestJwt": "t"}', [":1:"]),
        ('{"ccRestUrl": "http://x", "ccRestJwt": "t", "ccRestSubmitJobs": false}', ["natsServer"]),
    ],
)
def test_wrong_configurations_name_every_mistake(text: str, said: list[str], tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "cc_slurm_adapter", "-check-config", "-config", path], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in said:
        assert word in done.stderr
