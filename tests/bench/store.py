"""cc-metric-store as a process, its log on; Debian's VictoriaMetrics, where installed, gets the same requests by turns."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cctest.processes import Process, free_port, http, nats_server, port_open, running, wait_until

from tests.bench.client import Client, client
from tests.bench.lines import LINES, METRICS, STEP
from tests.bench.process import bytes_below, cpu_seconds, pid_of, resident_bytes
from tests.bench.table import Row

HOSTS = 8
SUBJECT = "bench"


class Server:
    """One store: how it starts, when it is ready, where lines go. points: what it was given so far."""

    def __init__(self, process: Process, port: int, path: str, ready: Callable[[], object], data: Path) -> None:
        self.process, self.port, self.path, self.ready, self.data = process, port, path, ready, data
        self.points = 0
        self.empty = 0

    def start(self) -> float:
        """Seconds until all data answers."""
        began = time.perf_counter()
        self.process.start()
        wait_until(lambda: not self.process.running() or self.ready(), f"{self.process.name} ready", 60, every=0.005)
        if not self.process.running():
            raise RuntimeError(f"{self.process.name} ended:\n{self.process.said()[-2000:]}")
        return time.perf_counter() - began

    def stop(self) -> float:
        began = time.perf_counter()
        self.process.stop(60)
        return time.perf_counter() - began

    def stored(self) -> int:
        """Lines stored since the start, as our store counts them."""
        found = re.search(rb'\n\S*_given_total\S*"ingest"\S* (\d+)', http(f"http://127.0.0.1:{self.port}/metrics")[1])
        return int(found[1]) if found else 0


def ours(folder: Path, nats_port: int) -> Server:
    port = free_port()
    config = {
        "main": {"addr": f"127.0.0.1:{port}", "allow-unauthenticated": True},
        "metrics": {name: {"frequency": STEP, "aggregation": "sum"} for name in METRICS},
        "nats": {"address": f"nats://127.0.0.1:{nats_port}"},
        "metric-store": {
            "retention-in-memory": "48h",
            "memory-cap": 4,
            "checkpoints": {"directory": "./data"},
            "nats-subscriptions": [{"subscribe-to": SUBJECT, "cluster-tag": "fritz"}],
        },
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    process = Process("cc-metric-store", [sys.executable, "-m", "cc_metric_store", "-config", "config.json", "-loglevel", "info"], folder)

    def ready() -> bool:
        return b"store_loading 0" in http(f"http://127.0.0.1:{port}/metrics")[1]

    return Server(process, port, "/api/write?cluster=fritz", ready, folder / "data")


def victoria(folder: Path) -> Server | None:
    program = shutil.which("victoria-metrics")
    if program is None:
        return None
    port = free_port()
    options = [f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=ERROR"]
    folder.mkdir()
    process = Process("victoria-metrics", [program, *options], folder)
    return Server(process, port, "/write?precision=s", lambda: port_open(port), folder / "data")


def rows(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="cc-bench-") as name, client() as by:
        nats, nats_port = nats_server(Path(name))
        us, them = ours(Path(name) / "ours", nats_port), victoria(Path(name) / "victoria")
        both = [us] if them is None else [us, them]
        with running(nats, *(s.process for s in both)):
            nats.start(lambda: port_open(nats_port))
            starts = [s.start() for s in both]
            yield Row("store: start without data", "s", *_pair(starts), lower=True)
            yield from _with_data(by, both, nats_port, quick)


def _pair(values: list[float]) -> tuple[float, float | None, str]:
    return (values[0], values[1], "VictoriaMetrics") if len(values) > 1 else (values[0], None, "VictoriaMetrics: not installed")


def _with_data(by: Client, both: list[Server], nats_port: int, quick: bool) -> Iterator[Row]:
    us = both[0]
    by.ask("ticks", hosts=HOSTS)
    wait_until(lambda: "store.kernel" in us.process.said(), "the ingest kernel", 30)  # loaded behind the open port, slow path before
    at = int(time.time()) // STEP * STEP - 10 * 3600
    for s in both:
        s.empty = resident_bytes(pid_of(s.process))
    at = _slices(by, both, at, 1, LINES, 1)[1]  # all series exist now
    for lines, ticks, rounds in ((LINES, 16 if quick else 64, 3 if quick else 5), (20, 3 if quick else 8, 3 if quick else 5)):
        measured, at = _slices(by, both, at, ticks, lines, rounds)
        what = f"store: REST, {lines:,} lines a request, 8 connections"
        yield Row(what, "M lines/s", *_pair([statistics.median(rate) for rate, _ in measured]))
        yield Row(f"store: REST, {lines:,} lines a request, CPU", "s/M lines", *_pair([cpu for _, cpu in measured]), lower=True)
        if lines == LINES:
            sizes = [(resident_bytes(pid_of(s.process)) - s.empty) / s.points for s in both]
            yield Row(f"store: resident memory per point ({us.points / 1e6:.1f} M points)", "B", *_pair(sizes), lower=True)
    yield Row("store: log per sample", "B", bytes_below(us.data, "*.wal") / us.points, lower=True)
    for lines, ticks in ((LINES, 8 if quick else 32), (20, 3 if quick else 8)):
        row, at = _nats(by, us, nats_port, at, ticks, lines)
        yield row
    yield from _restart(both)


def _slices(by: Client, both: list[Server], at: int, ticks: int, lines: int, rounds: int) -> tuple[list[tuple[list[float], float]], int]:
    """The same ticks to each server by turns: (M lines/s of each round, CPU seconds per million lines) of each; and the next time."""
    rates: list[list[float]] = [[] for _ in both]
    cpu = [0.0 for _ in both]
    sent = 0
    for _ in range(rounds):
        until = at + ticks * STEP
        for n, s in enumerate(both):
            before = cpu_seconds(pid_of(s.process))
            answer = by.ask("post", port=s.port, path=s.path, lines=lines, **{"from": at, "to": until})
            _check(answer, s)
            time.sleep(0.1)  # what is still written behind the answers is its cost too
            cpu[n] += cpu_seconds(pid_of(s.process)) - before
            rates[n].append(answer["lines"] / answer["seconds"] / 1e6)
            s.points += answer["lines"]
        sent += answer["lines"]
        at = until
    return [(rate, used / sent * 1e6) for rate, used in zip(rates, cpu, strict=True)], at


def _check(answer: dict[str, Any], s: Server) -> None:
    if set(answer["statuses"]) - {"200", "204"}:
        raise RuntimeError(f"{s.process.name} answered {answer['statuses']}:\n{s.process.said()[-2000:]}")


def _nats(by: Client, us: Server, nats_port: int, at: int, ticks: int, lines: int) -> tuple[Row, int]:
    """From the first byte sent until the store has counted the last line; lines that never arrive are named."""
    begin, until = us.stored(), at + ticks * STEP
    answer = by.ask("publish", port=nats_port, lines=lines, **{"from": at, "to": until})
    began = time.perf_counter() - answer["seconds"]
    seen, last = 0, time.perf_counter()
    while seen < answer["lines"] and time.perf_counter() - last < 1.5:
        time.sleep(0.005)
        if (now := us.stored() - begin) != seen:
            seen, last = now, time.perf_counter()
    us.points += seen
    lost = f"{1 - seen / answer['lines']:.1%} dropped: nobody is slowed down by core NATS" if seen < answer["lines"] else ""
    return Row(f"store: NATS, {lines:,} lines a message", "M lines/s", seen / (last - began) / 1e6, against=lost), until


def _restart(both: list[Server]) -> Iterator[Row]:
    us = both[0]
    stops = [s.stop() for s in both]
    what = f"{us.points / 1e6:.1f} M points"
    yield Row(f"store: clean stop, {what}", "s", *_pair(stops), lower=True)
    yield Row(
        "store: snapshot per sample", "B", *_pair([bytes_below(s.data, "*.bin" if s is us else "*") / s.points for s in both]), lower=True
    )
    yield Row(f"store: start, {what}", "s", *_pair([s.start() for s in both]), lower=True)
    for s in both:
        s.stop()
