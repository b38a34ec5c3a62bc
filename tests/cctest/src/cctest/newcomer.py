"""The demo as a test runs it: `deploy/demo/demo.py` in a folder of its own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

from .processes import Process, free_port, http, wait_until

REPOSITORY = Path(__file__).parents[4]
CLUSTER = "demo"


class Demo:
    """`make demo` without the installation: start, ask, stop."""

    def __init__(self, folder: Path, workload: str = "") -> None:
        self.root = folder / "demo"
        self.port, self.nats_port = free_port(), free_port()
        env = {"DEMO_DIR": str(self.root), "DEMO_PORT": str(self.port), "DEMO_NATS_PORT": str(self.nats_port), "DEMO_WORKLOAD": workload}
        self.process = Process("demo", [sys.executable, REPOSITORY / "deploy" / "demo" / "demo.py"], folder, env)
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 120) -> Demo:
        self.process.start(lambda: "The demo runs" in self.process.said(), seconds)
        return self

    def stop(self) -> int:
        """Ctrl-C."""
        child = self.process.child
        assert child is not None
        child.send_signal(signal.SIGINT)
        return child.wait(90)

    @property
    def token(self) -> str:
        return (self.root / "token").read_text().strip()

    def get(self, path: str, **query: str) -> tuple[int, Any]:
        """(status, decoded body) of a REST call with the demo's token."""
        target = f"{self.url}{path}?{urllib.parse.urlencode(query)}" if query else f"{self.url}{path}"
        status, body = http(target, headers={"Authorization": f"Bearer {self.token}"})
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that cc-backend has, oldest first."""
        status, body = self.get("/api/jobs/", **{"items-per-page": "1000"})
        assert status == 200, body
        return sorted(body["jobs"], key=lambda j: (j["startTime"], j["jobId"]))

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        status, answer = http(f"{self.url}/query", body, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        assert status == 200, answer
        decoded = json.loads(answer)
        assert "errors" not in decoded, decoded
        return dict(decoded["data"])

    def series(self, metric: str, host: str, begin: int, end: int) -> list[float | None]:
        """One node-level series of the store, through /api/query."""
        body = json.dumps(
            {"cluster": CLUSTER, "from": begin, "to": end, "with-padding": False, "queries": [{"metric": metric, "host": host}]}
        ).encode()
        status, answer = http(
            f"{self.url}/api/query", body, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}, "POST"
        )
        assert status == 200, answer
        rows = json.loads(answer)["results"][0]
        return rows[0].get("data", []) if rows else []

    def sbatch(self, script: Path, name: str, cores: int = 1) -> int:
        command = [self.root / "slurm" / "bin" / "sbatch", "--parsable", f"--job-name={name}", f"--ntasks={cores}", script]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def pid(self, daemon: str) -> int:
        return int((self.root / "pids" / daemon).read_text())

    def wait_for_job(self, state: str, seconds: float = 60, name: str | None = None) -> dict[str, Any]:
        """The first job in that state (with that name in its metadata)."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [
                j for j in self.jobs() if j["jobState"] == state and (name is None or j.get("metaData", {}).get("jobName", name) == name)
            ]
            return bool(found)

        wait_until(there, f"a job that is {state}", seconds, every=0.5)
        return found[0]


def host_name() -> str:
    return os.uname().nodename.split(".")[0]


def seconds_now() -> int:
    return int(time.time())
