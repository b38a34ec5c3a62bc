"""cc-metric-collector with the demo's collectors and rules, sending over REST to a cc-metric-store; a fast clock, extrapolated to 10 s."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cctest.processes import Process, port_open, running

from tests.bench.process import cpu_seconds, pid_of, resident_bytes
from tests.bench.store import ours
from tests.bench.table import Row

INTERVAL = 0.2
COLLECTORS = {
    "loadavg": {"exclude_metrics": ["load_five", "load_fifteen", "proc_total"]},
    "cpustat": {"exclude_metrics": ["cpu_idle", "cpu_guest", "cpu_guest_nice", "cpu_nice", "cpu_irq", "cpu_softirq", "cpu_steal"]},
    "memstat": {},
    "netstat": {"include_devices": ["lo"], "send_abs_values": False, "send_derived_values": True},
    "self": {},
}
ROUTER = {
    "process_messages": {
        "rename_messages": {"load_one": "cpu_load", "net_bytes_in_bw": "net_bytes_in", "net_bytes_out_bw": "net_bytes_out"},
        "add_tags_if": [{"key": "cluster", "value": "fritz", "if": "true"}],
        "change_unit_prefix": {"name == 'mem_used'": "G"},
        "drop_messages_if": [
            "name startsWith 'mem_' && name != 'mem_used'",
            "name startsWith 'swap_' || name == 'num_cpus' || name == 'cpu_iowait' || name == 'cpu_used'",
        ],
    }
}


def rows(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="cc-bench-") as name:
        store = ours(Path(name) / "store", 1)  # nobody listens there: NATS is not what is measured
        collector = _collector(Path(name) / "collector", store.port)
        with running(store.process, collector):
            store.process.start(lambda: port_open(store.port))
            collector.start(lambda: "collectors.ready" in collector.said())
            time.sleep(2)  # counters, connections, code that runs once
            pid, rounds = pid_of(collector), 20 if quick else 60
            before = cpu_seconds(pid)
            time.sleep(rounds * INTERVAL)
            a_round = (cpu_seconds(pid) - before) / rounds
            yield Row(
                "collector: CPU at an interval of 10 s", "s/h", a_round * 360, 5.1, "the reference's figure, other machine", lower=True
            )
            yield Row("collector: CPU of a round", "ms", a_round * 1e3, lower=True)
            yield Row(
                "collector: resident memory", "MB", resident_bytes(pid) / 1e6, 26, "the reference's figure, other machine", lower=True
            )


def _collector(folder: Path, port: int) -> Process:
    folder.mkdir()
    files = {
        "collectors": COLLECTORS,
        "router": ROUTER,
        "sinks": {"rest": {"type": "http", "url": f"http://127.0.0.1:{port}/api/write?cluster=fritz", "flush_delay": "1s"}},
        "receivers": {},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    main = {"interval": f"{INTERVAL * 1000:.0f}ms", "duration": "0s", "state_dir": str(folder / "state")}
    (folder / "config.json").write_text(json.dumps({"main": main, **{f"{name}-file": f"{name}.json" for name in files}}))
    command = [sys.executable, "-m", "cc_metric_collector", "-config", "config.json", "-loglevel", "info"]
    return Process("cc-metric-collector", command, folder)
