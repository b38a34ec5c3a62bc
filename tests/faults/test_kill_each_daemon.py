"""kill -9 of each daemon at random moments under load, and its restart: no acknowledged sample and no job is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cctest.newcomer import CLUSTER, Demo, host_name, seconds_now
from cctest.processes import Process, http, port_open, running, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]
DAEMONS = ("cc-backend", "cc-metric-collector", "cc-slurm-adapter", "nats-server")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, workload="none")
    with running(demo.process):
        yield demo.start()
        demo.stop()


class Writer(threading.Thread):
    """Posts its own samples of `proc_run` for hosts of its own; remembers which were acknowledged."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(daemon=True)
        self.demo = demo
        self.acknowledged: dict[tuple[str, int], float] = {}
        self.ended = threading.Event()
        self.first = self.last = seconds_now() - 20_000

    def run(self) -> None:
        bin_, value = 0, 0.0
        while not self.ended.is_set():
            bin_ += 1
            moment = self.first + 5 * bin_
            lines, sent = [], {}
            for n in range(40):
                value += 1
                lines.append(f"proc_run,cluster={CLUSTER},hostname=w{n:02},type=node value={value} {moment}\n")
                sent[f"w{n:02}", moment] = value
            status, _ = http(
                f"{self.demo.url}/api/write?cluster={CLUSTER}",
                "".join(lines).encode(),
                {"Authorization": f"Bearer {self.demo.token}"},
                "POST",
                timeout=5,
            )
            self.last = moment
            if status == 200:
                self.acknowledged |= sent
            time.sleep(0.02)


def restart(demo: Demo, name: str) -> Process:
    """Start a daemon again the way the demo did: command and folder are those of the killed one."""
    pid = demo.pid(name)
    command = [c for c in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if c]
    cwd = os.readlink(f"/proc/{pid}/cwd")
    env = dict(e.split("=", 1) for e in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in e)
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: ended(pid), f"end of {name}", 10)
    again = Process(name, command, Path(cwd), env)
    again.log = demo.root / "logs" / f"{name}.log"
    ready = {"cc-backend": lambda: http(f"{demo.url}/login")[0] == 200, "nats-server": lambda: port_open(demo.nats_port)}.get(name)
    again.start(ready)
    assert again.child is not None
    (demo.root / "pids" / name).write_text(str(again.child.pid))
    return again


def ended(pid: int) -> bool:
    """Gone, or a zombie that its parent has not asked about yet."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return True


def test_nothing_acknowledged_is_lost(demo: Demo, tmp_path: Path) -> None:
    chance = random.Random(4711)
    script = tmp_path / "short.sh"
    script.write_text("sleep 4\n")
    began = seconds_now()
    writer = Writer(demo)
    writer.start()
    jobs, restarted = [], []
    try:
        for name in [*DAEMONS, *DAEMONS, "cc-backend"]:
            jobs.append(demo.sbatch(script, f"j-{name}"))
            time.sleep(chance.uniform(1, 4))
            restarted.append(restart(demo, name))
        time.sleep(5)
        writer.ended.set()
        writer.join(10)
        check_samples(demo, writer)
        check_jobs(demo, jobs)
        check_collector(demo, began)
    finally:
        for process in restarted:
            process.kill()


def check_samples(demo: Demo, writer: Writer) -> None:
    assert len(writer.acknowledged) > 1000
    queries = [{"metric": "proc_run", "host": f"w{n:02}"} for n in range(40)]
    body = {"cluster": CLUSTER, "from": writer.first - 10, "to": writer.last + 10, "with-padding": False, "queries": queries}

    def answer() -> dict[str, object]:
        status, text = http(f"{demo.url}/api/query", json.dumps(body).encode(), {"Authorization": f"Bearer {demo.token}"}, "POST")
        assert status == 200, text
        return dict(json.loads(text))

    wait_until(lambda: not answer().get("loading"), "the store has loaded", 30, 0.2)
    results = answer()["results"]
    lost = []
    for n, rows in enumerate(results):  # type: ignore[arg-type, var-annotated]
        row = rows[0]
        for (host, moment), value in writer.acknowledged.items():
            if host == f"w{n:02}":
                i = round((moment - row["from"]) / row["resolution"])
                if not (0 <= i < len(row["data"]) and row["data"][i] == value):
                    lost.append((host, moment, value))
    assert not lost, f"{len(lost)} of {len(writer.acknowledged)} acknowledged samples are lost, first {lost[:3]}"


def check_jobs(demo: Demo, jobs: list[int]) -> None:
    """Each job is there exactly once and has ended."""
    wait_until(
        lambda: {j["jobId"] for j in demo.jobs() if j["jobState"] == "completed"} >= set(jobs), "all jobs completed in cc-backend", 60, 1
    )
    ids = [j["jobId"] for j in demo.jobs()]
    assert sorted(ids) == sorted(set(ids))


def check_collector(demo: Demo, began: int) -> None:
    """The collector's samples lead over every outage of store and NATS; only its own restarts may leave a bin empty."""
    until = seconds_now() - 5
    # What was spooled while the store was away comes with the next try of the sink.
    wait_until(lambda: len(demo.series("mem_used", host_name(), began, until)) >= 5, "the spooled samples", 40, 0.5)
    values = demo.series("mem_used", host_name(), began, until)
    gaps = sum(v is None for v in values)
    assert len(values) >= 5
    assert gaps <= 2 * 2 + 1, values
