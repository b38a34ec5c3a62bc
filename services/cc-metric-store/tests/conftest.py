"""A real cc-metric-store on a free port, and a client that remembers what was acknowledged."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cctest.processes import Process, free_port
from cctest.processes import http as request

METRICS = {name: {"frequency": 1, "aggregation": "sum"} for name in ("clock", "flops_any", "mem_bw")}


class Daemon:
    """The process, its configuration and its port; `restart` goes on with the same folder."""

    def __init__(self, folder: Path, store: dict[str, object] | None = None, **sections: object) -> None:
        self.port = free_port()
        self.folder = folder
        self.checkpoints = folder / "var" / "checkpoints"
        self.config: dict[str, object] = {
            "main": {"addr": f"127.0.0.1:{self.port}", "allow-unauthenticated": True},
            "metrics": METRICS,
            "metric-store": {"retention-in-memory": "48h", "memory-cap": 1, **(store or {})},
            **sections,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "cc_metric_store", "-config", "config.json", "-loglevel", "info"]
        self.process = Process("store", command, folder)

    def start(self) -> Daemon:
        (self.folder / "config.json").write_text(json.dumps(self.config))
        self.process.start(lambda: request(self.url + "/metrics")[0] in (200, 401), 60)
        return self

    def loaded(self) -> Daemon:
        deadline = time.monotonic() + 30
        while b"store_loading 0" not in request(self.url + "/metrics")[1]:
            assert time.monotonic() < deadline, self.process.said()
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        assert self.process.stop(60) == 0, self.process.said()

    def write(self, body: str, cluster: str = "fritz") -> tuple[int, bytes]:
        return request(f"{self.url}/api/write?cluster={cluster}", body.encode(), method="POST")

    def query(self, host: str, metric: str, begin: int, end: int, **query: object) -> list[dict[str, object]]:
        body = {"cluster": "fritz", "from": begin, "to": end, "queries": [{"metric": metric, "host": host, **query}]}
        status, answer = request(self.url + "/api/query", json.dumps(body).encode(), method="POST")
        assert status == 200, answer
        return json.loads(answer)["results"][0]

    def files(self, host: str = "*") -> list[str]:
        return sorted(p.name for p in self.checkpoints.glob(f"fritz/{host}/*"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(name: str = "store", **options: object) -> Daemon:
        made.append(Daemon(tmp_path / name, **options))
        return made[-1]

    yield make
    for d in made:
        d.kill()


class Load:
    """Clients that write as fast as they are answered. Every sample has its own bin and its own value, so what was acknowledged
    can be asked for one by one; `acknowledged`: (host, thread, metric, second)."""

    THREADS = 3

    def __init__(self, hosts: int = 6, clients: int = 3) -> None:
        self.hosts = [f"f{n:04d}" for n in range(hosts)]
        self.clients = clients
        self.begin = int(time.time()) - 40_000
        self.next = dict.fromkeys(range(clients), self.begin)
        self.acknowledged: set[tuple[str, int, str, int]] = set()
        self.refused = 0
        self._stop = threading.Event()
        self._running: list[threading.Thread] = []

    @staticmethod
    def value(host: str, thread: int, metric: str, second: int) -> float:
        return float((hash((host[1:], thread, len(metric))) % 97) * 1000 + second % 1000)

    def start(self, daemon: Daemon) -> Load:
        self._stop.clear()
        self._running = [threading.Thread(target=self._client, args=(daemon.port, n), daemon=True) for n in range(self.clients)]
        for thread in self._running:
            thread.start()
        return self

    def finish(self) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(20)
            assert not thread.is_alive()

    def _client(self, port: int, number: int) -> None:
        """Several hosts in a batch, several batches at once over all clients; the batch that was cut off is not repeated."""
        mine = self.hosts[number :: self.clients]
        rng = random.Random(number)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            self._write(connection, mine, number, rng)

    def _write(self, connection: http.client.HTTPConnection, mine: list[str], number: int, rng: random.Random) -> None:
        while not self._stop.is_set():
            seconds = range(self.next[number], self.next[number] + rng.randint(1, 5))
            self.next[number] = seconds.stop
            samples = [(h, t, m, s) for h in mine for t in range(self.THREADS) for m in METRICS for s in seconds]
            body = "\n".join(
                f"{m},cluster=fritz,hostname={h},type=hwthread,type-id={t} value={self.value(h, t, m, s)} {s}" for h, t, m, s in samples
            )
            try:
                connection.request("POST", "/api/write", body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                self.acknowledged.update(samples)
            else:
                self.refused += 1

    def check(self, daemon: Daemon) -> int:
        """Every acknowledged sample is there with its value; how many were compared."""
        compared = 0
        end = max(self.next.values()) + 1
        for host in self.hosts:
            for metric in METRICS:
                rows = daemon.query(host, metric, self.begin, end, type="hwthread", **{"type-ids": [str(t) for t in range(self.THREADS)]})
                rows_by_id = {row["id"]: row for row in rows}
                for h, t, m, s in self.acknowledged:
                    if h == host and m == metric:
                        row = rows_by_id[str(t)]
                        at = s - int(row["from"])  # type: ignore[call-overload]
                        got = row["data"][at] if 0 <= at < len(row["data"]) else None  # type: ignore[arg-type,index]
                        assert got == self.value(h, t, m, s), f"{h} thread {t} {m} at {s}: {got}"
                        compared += 1
        return compared


@pytest.fixture
def load() -> Iterator[Load]:
    made = Load()
    yield made
    made._stop.set()
