"""The daemon from outside: configuration of the tutorial, tokens, flags, NATS, a full disk, two of them on one folder."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nats
import pytest
from cc_metric_store.__main__ import main
from ccdaemon.tokens import load_private_key, make_token, new_key_pair
from cctest.processes import http, nats_server, port_open, running


def _others_can_read(path: Path) -> bool:
    return all(p.stat().st_mode & 0o005 == 0o005 for p in path.resolve().parents)


MAIN = '"main": {"addr": "0.0.0.0:8082", "jwt-public-key": "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="}'
METRICS = """"metrics": {
    "clock": { "frequency": 60, "aggregation": "avg" },
    "mem_bw": { "frequency": 60, "aggregation": "sum" },
    "mem_used": { "frequency": 60, "aggregation": null }
  }"""
STORE = '"metric-store": {"retention-in-memory": "48h", "memory-cap": 100'

GOOD = {
    "complete minimal example": "{"
    + MAIN
    + ","
    + METRICS
    + ","
    + STORE
    + ""","checkpoints": {"file-format": "wal","directory": "./var/checkpoints"},
        "cleanup": {"mode": "archive","directory": "./var/archive"}}}""",
    "large cluster, without metrics": "// cc-metric-store config\n{"
    + MAIN.replace("8082", "8080")
    + """, "nats": {"address": "nats://nats-server:4222",
        "username": "ccms", "password": "..."},"""
    + STORE
    + """, "checkpoints": {"directory": "/data/checkpoints"},
        "cleanup": {"mode": "archive", "directory": "/data/archive"},
        "nats-subscriptions": [{"subscribe-to": "hpc-metrics", "cluster-tag": "mycluster"}]}}""",
    "two subscriptions on one subject": "{"
    + MAIN
    + ","
    + STORE
    + ""","nats-subscriptions": [{"subscribe-to": "hpc-nats","cluster-tag": "fritz"},
        {"subscribe-to": "hpc-nats","cluster-tag": "alex"}]}, "nats": {"address": "nats://localhost:4222"}}""",
    "trailing commas and unknown keys": "{" + MAIN + "," + STORE + ', "chekpoints": {},}, "http-api": {},}',
}
BAD = {
    "main": "{" + STORE + "}}",
    "metric-store": "{" + MAIN + "}",
    "main.addr": '{"main": {"jwt-public-key": "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="},' + STORE + "}}",
    "main.jwt-public-key": '{"main": {"addr": "localhost:1"},' + STORE + "}}",
    "main.jwt-public-key: ": '{"main": {"addr": "localhost:1", "jwt-public-key": "x"},' + STORE + "}}",
    "https-key-file": '{"main": {"addr": "localhost:1", "allow-unauthenticated": true, "https-cert-file": "a.pem"},' + STORE + "}}",
    "frequency": "{" + MAIN + ', "metrics": {"a": {"frequency": 0}},' + STORE + "}}",
    "memory-cap": "{" + MAIN + ', "metric-store": {"retention-in-memory": "48h"}}',
}


@pytest.mark.parametrize("name", GOOD)
def test_configurations_that_load(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "c.json").write_text(GOOD[name])
    assert main(["-check-config", "--config", str(tmp_path / "c.json")]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert ("warning" in out) == ("unknown" in name), out


@pytest.mark.parametrize("name", BAD)
def test_configurations_that_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "c.json").write_text(BAD[name])
    assert main(["-check-config", "-config", str(tmp_path / "c.json")]) == 1
    assert name.strip(": ") in capsys.readouterr().out


def test_included_section(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{" + METRICS.removeprefix('"metrics": {'))
    (tmp_path / "c.json").write_text("{" + MAIN + ', "metrics-file": "metrics.json",' + STORE + "}}")
    assert main(["-check-config", "-config", str(tmp_path / "c.json")]) == 0
    (tmp_path / "metrics.json").unlink()
    assert main(["-check-config", "-config", str(tmp_path / "c.json")]) == 1


class CcBackend:
    """The two routes that the daemon asks, as cc-backend answers them (role api needed)."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        answers = {
            "/api/jobs/used_nodes": {"usedNodes": {"fritz": ["busy"]}},
            "/api/clusters/": {"clusters": [{"name": "fritz", "metricConfig": [{"name": "clock", "timestep": 1, "aggregation": "avg", "scope": "node",
                               "unit": {"base": "Hz"}, "peak": 1, "normal": 1, "caution": 1, "alert": 1}], "subClusters": []}]},
        }  # fmt: skip
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.tokens.append(self.headers.get("X-Auth-Token", ""))
                body = json.dumps(answers[self.path.split("?")[0]]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.e2e
@pytest.mark.slow
def test_metric_list_from_the_backend(daemon) -> None:
    """Design T3 and S2: 503 until the list is there, so that spools keep their data; afterwards the list lies on disk.
    PITFALL metric-store 5.1: the request carries no token."""
    peer = CcBackend()
    d = daemon()
    del d.config["metrics"]
    d.config["main"]["backend-url"] = "http://127.0.0.1:9"  # type: ignore[index]
    d.start()
    assert d.write("clock,hostname=h value=1")[0] == 503
    d.stop()
    d.config["main"] |= {"backend-url": peer.url, "backend-token": "t0ken"}  # type: ignore[operator]
    d.start()
    deadline = time.monotonic() + 20
    while d.write("clock,hostname=h value=1")[0] != 200:
        assert time.monotonic() < deadline, d.process.said()
        time.sleep(0.1)
    assert peer.tokens and set(peer.tokens) == {"t0ken"}
    d.stop()
    peer.server.shutdown()
    peer.server.server_close()
    d.start()
    assert d.write("clock,hostname=h value=1")[0] == 200
    assert "t0ken" not in d.process.said()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        main(["-version"])
    assert e.value.code == 0 and capsys.readouterr().out.startswith("Version:\t")


@pytest.mark.e2e
@pytest.mark.slow
def test_tokens(daemon) -> None:
    """Design T4: key, integrity and expiry; iat, nbf and roles are not looked at."""
    public, private = new_key_pair()
    d = daemon()
    d.config["main"] = {"addr": f"127.0.0.1:{d.port}", "jwt-public-key": public}
    d.start()
    now = int(time.time())

    def ask(token: str, header: str = "Authorization", prefix: str = "Bearer ") -> int:
        return http(d.url + "/api/query", b'{"queries":[]}', {header: prefix + token} if token else {}, method="POST")[0]

    def token(key: str, **claims: object) -> str:
        return make_token(load_private_key(key), claims)

    good = token(private, sub="x", iat=now + 600, nbf=now + 600, exp=now + 900)
    assert [ask(good), ask(good), ask(good, "X-Auth-Token", "")] == [200, 200, 200]
    assert [ask(""), ask("abc"), ask(good[:-6] + "AAAAAA"), ask(token(private, exp=now - 10)), ask(token(new_key_pair()[1], sub="x"))] == [
        401
    ] * 5
    assert ask(good, "Authorization", "bearer ") == 401
    assert http(d.url + "/metrics")[0] == 200
    assert http(d.url + "/metrics", headers={"X-Forwarded-For": "10.0.0.1"})[0] == 401
    assert http(d.url + "/nope")[:2] == (404, b"404 page not found\n")
    assert http(d.url + "/api/write", method="PUT")[:2] == (405, b"Method Not Allowed\n")


@pytest.mark.e2e
@pytest.mark.slow
def test_no_second_daemon_on_one_folder(daemon) -> None:
    d = daemon().start()
    other = daemon("other", store={"checkpoints": {"directory": str(d.checkpoints)}})
    (other.folder / "config.json").write_text(json.dumps(other.config))
    other.process.start()
    assert other.process.child.wait(20) == 1
    assert "in use" in other.process.said() and "Traceback" not in other.process.said()


@pytest.mark.e2e
@pytest.mark.slow
def test_cleanup_on_demand(daemon) -> None:
    """PITFALLs metric-store 6.6: hangs without num-workers; works on the folder of a running server without any lock."""
    d = daemon(store={"cleanup": {"mode": "archive", "directory": "archive"}}).start()
    old = int(time.time()) - 40 * 3600
    assert d.write("\n".join(f"clock,hostname=h value={n} {old + n}" for n in range(500)))[0] == 200
    command = [*d.process.command, "-cleanup-checkpoints"]
    refused = subprocess.run(command, cwd=d.folder, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "in use" in refused.stderr
    d.stop()
    d.config["metric-store"]["retention-in-memory"] = "1h"  # type: ignore[index]
    (d.folder / "config.json").write_text(json.dumps(d.config))
    done = subprocess.run(command, cwd=d.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 checkpoint files, 500 rows archived to parquet." in done.stdout, (done.stdout, done.stderr)
    assert d.files() == [] and len(list((d.folder / "archive" / "fritz").iterdir())) == 1


@pytest.mark.e2e
@pytest.mark.slow
def test_nats(daemon, tmp_path: Path) -> None:
    """Tags by subscription; a server that comes later and comes back; with `durable` nothing is lost while the store is away."""
    server, port = nats_server(tmp_path / "nats", jetstream=True)
    options = {
        "nats-subscriptions": [
            {"subscribe-to": "plain", "cluster-tag": "fritz"},
            {"subscribe-to": "kept", "cluster-tag": "fritz", "durable": True},
        ]
    }
    d = daemon(store=options, nats={"address": f"nats://127.0.0.1:{port}"})
    with running(server):
        d.start()
        server.start(lambda: port_open(port))
        begin = int(time.time()) - 100

        async def publish(subject: str, first: int, number: int) -> None:
            client = await nats.connect(f"nats://127.0.0.1:{port}")
            stream = client.jetstream()
            if subject == "kept":
                await stream.add_stream(name="KEPT", subjects=["kept"])
            for n in range(first, first + number):
                body = b"clock,hostname=%s value=%d %d" % (subject.encode(), n, begin + n)
                await (stream.publish(subject, body) if subject == "kept" else client.publish(subject, body))
            await client.flush()
            await client.close()

        def wait_for(host: str, values: list[float]) -> None:
            deadline = time.monotonic() + 20
            while (got := [v for r in d.query(host, "clock", begin, begin + 100) for v in r["data"]]) != values:  # type: ignore[union-attr]
                assert time.monotonic() < deadline, (got, d.process.said())
                time.sleep(0.1)

        asyncio.run(publish("kept", 0, 5))
        wait_for("kept", [0, 1, 2, 3, 4])
        d.kill()
        asyncio.run(publish("kept", 5, 5))
        d.start().loaded()
        wait_for("kept", list(range(10)))
        deadline = time.monotonic() + 20
        while not d.query("plain", "clock", begin, begin + 100):
            asyncio.run(publish("plain", 0, 5))
            assert time.monotonic() < deadline, d.process.said()
            time.sleep(0.2)
        wait_for("plain", [0, 1, 2, 3, 4])


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_full_disk(daemon, load, tmp_path: Path) -> None:
    """503 while it is full, nothing acknowledged is lost, and it goes on when there is room."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], capture_output=True).returncode:
        pytest.skip("no right to mount here")
    try:
        ballast = small / "ballast"
        ballast.write_bytes(b"x" * 1_600_000)
        d = daemon(store={"checkpoints": {"directory": str(small / "checkpoints")}}).start()
        load.start(d)
        deadline = time.monotonic() + 20
        while load.refused < 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ballast.unlink()
        sure = len(load.acknowledged)
        while len(load.acknowledged) < sure + 200:
            assert time.monotonic() < deadline, d.process.said()
            time.sleep(0.02)
        d.kill()
        load.finish()
        assert load.check(d.start().loaded()) > 200
        d.kill()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop privileges")
@pytest.mark.skipif(not _others_can_read(Path(os.__file__)), reason="this Python lies where no other user can read it")
def test_privileges_are_dropped_before_files_are_made(daemon, tmp_path: Path) -> None:
    """PITFALL metric-store 6.7: files made as root before the drop cannot be written after it."""
    d = daemon()
    d.config["main"] = {"addr": f"127.0.0.1:{d.port}", "allow-unauthenticated": True, "user": "nobody", "group": "nogroup"}
    home = Path("/tmp") / f"cc-store-test-{os.getpid()}"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    d.config["metric-store"]["checkpoints"] = {"directory": str(home / "checkpoints")}  # type: ignore[index]
    try:
        d.start()
        assert d.write(f"clock,hostname=h value=1 {int(time.time())}")[0] == 200
        assert {p.owner() for p in home.rglob("*")} == {"nobody"}
        d.stop()
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=False)
