"""cc-backend as a process, alone with its database, archive and internal store: the routes that adapters and pages use."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cctest.processes import Process, free_port, http, running

from tests.bench.client import Client, client, request
from tests.bench.lines import LINES, METRICS, STEP, THREADS, Ticks, host_name
from tests.bench.process import pid_of, resident_bytes
from tests.bench.table import Row

HOSTS = 4
TICKS = 60
SHOWN = METRICS[:4]
JOBS = '{ jobs(filter: [{cluster: {eq: "fritz"}}], page: {itemsPerPage: 20, page: 1}) { count items { id jobId user project state startTime duration numNodes footprint { name stat value } resources { hostname } } } }'
METRICS_OF = "query($ids: [ID!]!, $metrics: [String!]) { jobsMetrics(ids: $ids, metrics: $metrics, scopes: [node], points: 300) { id metrics { name scope metric { timestep series { hostname data } } } } }"


class Site:
    """A fresh cc-backend with one cluster of nodes of 72 threads, and a token of an administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process = Process("cc-backend", [sys.executable, "-m", "cc_backend", "-server"], folder)
        folder.mkdir()
        self._call("-init")
        self._call("-add-user", "bench:admin,api:bench")
        _write(folder / "config.json", self._config())
        _write(folder / "var" / "job-archive" / "fritz" / "cluster.json", _cluster())
        (folder / "var" / "job-archive" / "version.txt").write_text("3\n")
        self.token = next(word for word in self._call("-jwt", "bench").split() if word.startswith("eyJ"))
        self.headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    def _call(self, *arguments: str) -> str:
        done = subprocess.run([*self.process.command[:3], *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"cc-backend {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _config(self) -> dict[str, Any]:
        return {
            "main": {"addr": f"127.0.0.1:{self.port}", "short-running-jobs-duration": 10},
            "auth": {"jwts": {"max-age": "2000h"}},
            "archive": {"kind": "file", "path": "./var/job-archive"},
            "metric-store": {"retention-in-memory": "48h", "memory-cap": 1, "checkpoints": {"directory": "./var/checkpoints"}},
        }

    def request(self, method: str, path: str, body: object = None) -> str:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        return request(method, path, raw, self.headers).decode()

    def get(self, method: str, path: str, body: object = None) -> Any:
        status, answer = http(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode() if body is not None else None, self.headers, method
        )
        decoded = json.loads(answer)
        assert status == 200 and "errors" not in decoded, answer[:500]
        return decoded


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _cluster() -> dict[str, Any]:
    threads = list(range(THREADS))
    limits = {"timestep": STEP, "aggregation": "sum", "peak": 1000, "normal": 500, "caution": 100, "alert": 10}
    topology = {"node": threads, "socket": [threads], "memoryDomain": [threads], "core": [[t] for t in threads]}
    rate = {"unit": {"base": "F/s", "prefix": "G"}, "value": 100}
    subcluster = {
        "name": "main", "nodes": "f[0000-0099]", "processorType": "example", "socketsPerNode": 1, "coresPerSocket": THREADS, "threadsPerCore": 1,
        "flopRateScalar": rate, "flopRateSimd": rate, "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 100}, "topology": topology,
    }  # fmt: skip
    metrics = [
        {
            "name": name,
            "unit": {"base": "B"},
            "scope": "node" if n < 0 else "hwthread",
            **limits,
            **({"footprint": "avg"} if name in SHOWN else {}),
        }
        for n, name in enumerate(METRICS)
    ]
    return {"name": "fritz", "metricConfig": metrics, "subClusters": [subcluster]}


def _start(number: int, begin: int) -> dict[str, Any]:
    node = host_name(number % HOSTS)
    return {
        "jobId": number, "user": f"user{number % 7}", "project": "proj", "cluster": "fritz", "subCluster": "main", "partition": "main", "arrayJobId": 0,
        "numNodes": 1, "numHwthreads": THREADS, "shared": "none", "jobState": "running", "startTime": begin, "walltime": 86400,
        "resources": [{"hostname": node}],
    }  # fmt: skip


def rows(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="cc-bench-") as name, client() as by:
        site = Site(Path(name) / "backend")
        with running(site.process):
            began = time.perf_counter()
            site.process.start(lambda: http(f"http://127.0.0.1:{site.port}/login")[0] == 200)
            yield Row("backend: start with an empty database", "s", time.perf_counter() - began, lower=True)
            begin = int(time.time()) // STEP * STEP - TICKS * STEP
            _fill(by, site, begin)
            yield from _life(by, site, begin, 20 if quick else 60)
            yield from _reading(by, site, 20 if quick else 60)
            yield Row("backend: resident memory after that", "MB", resident_bytes(pid_of(site.process)) / 1e6, lower=True)


def _send(by: Client, site: Site, requests: list[str], connections: int, status: int = 200) -> dict[str, Any]:
    answer = by.ask("send", port=site.port, requests=requests, connections=connections)
    if set(answer["statuses"]) != {str(status)}:
        raise RuntimeError(f"cc-backend answered {answer['statuses']}:\n{site.process.said()[-2000:]}")
    return answer


def _fill(by: Client, site: Site, begin: int) -> None:
    """An hour of samples of four nodes, so that the jobs have something to archive."""
    ticks = Ticks(HOSTS)
    for when in range(begin, begin + TICKS * STEP, STEP):
        _send(by, site, [site.request("POST", "/api/write?cluster=fritz", body) for body in ticks.bodies(when, LINES)], 4)


def _life(by: Client, site: Site, begin: int, jobs: int) -> Iterator[Row]:
    starts = [site.request("POST", "/api/jobs/start_job/", _start(n, begin)) for n in range(1, jobs + 1)]
    stops = [
        site.request("POST", "/api/jobs/stop_job/", {"jobId": n, "cluster": "fritz", "startTime": begin, "jobState": "completed", "stopTime": begin + 3000})
        for n in range(1, jobs + 1)
    ]  # fmt: skip
    for what, requests, status in (("start_job", starts, 201), ("stop_job", stops, 200)):
        answer = _send(by, site, requests, 8, status)
        yield Row(f"backend: {what}, 8 connections", "jobs/s", jobs / answer["seconds"])
    yield _archived(site.folder / "var" / "job-archive", jobs, answer["seconds"])


def _archived(archive: Path, jobs: int, stopping: float) -> Row:
    """From the first stop until all jobs stand in the archive, at most 30 s; what was done by then is the measure."""
    began = time.perf_counter()
    done = 0
    while done < jobs and time.perf_counter() - began < 30:
        time.sleep(0.05)
        done = sum(1 for _ in archive.rglob("meta.json*"))
    note = "" if done >= jobs else f"{done} of {jobs} were done after 30 s"
    return Row(
        "backend: archived (1 node, 1 h, 18 metrics of 72 threads)", "jobs/s", done / (stopping + time.perf_counter() - began), against=note
    )


def _reading(by: Client, site: Site, times: int) -> Iterator[Row]:
    ids = [job["id"] for job in site.get("POST", "/query", {"query": JOBS})["data"]["jobs"]["items"]]
    metrics = {"query": METRICS_OF, "variables": {"ids": ids, "metrics": SHOWN}}
    site.get("POST", "/query", metrics)
    asked = [
        ("GET /api/jobs, a page of 50 finished jobs", site.request("GET", "/api/jobs/?state=completed&items-per-page=50")),
        ("the job page's HTML", site.request("GET", f"/monitoring/job/{ids[0]}")),
        ("GraphQL, list of 20 jobs", site.request("POST", "/query", {"query": JOBS})),
        ("GraphQL, metrics of 20 jobs (4 each)", site.request("POST", "/query", metrics)),
    ]
    for what, one in asked:
        answer = _send(by, site, [one] * times, 1)
        yield Row(f"backend: {what}", "ms", statistics.median(answer["latencies"]), against=f"{answer['bytes'] / 1024:.0f} KiB", lower=True)
