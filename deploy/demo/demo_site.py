"""The demo's files: one small site on one machine, made from what the programs themselves say about it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

CLUSTER = "demo"
SUBJECT = "demo.metrics"
INTERVAL = 5
SHOWN = ["cpu_load", "cpu_user", "mem_used", "cpu_system", "net_bytes_in", "net_bytes_out"]
# user, roles, what they are for; the password of each is its name
LOGINS = (
    ("demo", "admin,api", "sees and administers everything"),
    ("support", "support", "sees all jobs and nodes"),
    ("leader", "manager", "sees the jobs of the project demo"),
    ("alice", "user", "sees her own jobs"),
)
JOB_SCRIPTS = Path(__file__).parent / "jobs"


class Site(NamedTuple):
    """Where the demo lives and what it listens on."""

    root: Path
    bin: Path  # folder of the installed programs
    port: int
    nats_port: int

    @property
    def backend(self) -> Path:
        return self.root / "cc-backend"

    @property
    def collector(self) -> Path:
        return self.root / "cc-metric-collector"

    @property
    def adapter(self) -> Path:
        return self.root / "cc-slurm-adapter"

    @property
    def slurm(self) -> Path:
        return self.root / "slurm"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def host_name() -> str:
    """The short name, as the collector sends it."""
    return socket.gethostname().split(".")[0]


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
    path.chmod(0o600)


def _call(site: Site, program: str, *arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run([site.bin / program, *arguments], capture_output=True, text=True, cwd=cwd or site.root, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def make(site: Site) -> None:
    """Write every file of the site that is not there yet. Ports may differ from run to run, so configurations are always written."""
    site.root.mkdir(parents=True, exist_ok=True)
    _backend(site)
    token = _token(site)
    _collector(site, token)
    _adapter(site, token)


def _backend(site: Site) -> None:
    if not (site.root / "token").exists():  # the last step of the first run: what lies here was not finished
        shutil.rmtree(site.backend, ignore_errors=True)
    site.backend.mkdir(exist_ok=True)
    if not (site.backend / ".env").exists():
        _call(site, "cc-backend", "-init", cwd=site.backend)
        for user, roles, _ in LOGINS:
            _call(site, "cc-backend", "-add-user", f"{user}:{roles}:{user}", cwd=site.backend)
    subcluster = json.loads(_call(site, "cc-metric-collector", "-topology"))
    subcluster |= {"name": "main", "nodes": host_name()}
    archive = site.backend / "var" / "job-archive"
    _write(
        archive / CLUSTER / "cluster.json",
        {"name": CLUSTER, "metricConfig": metrics(len(subcluster["topology"]["node"])), "subClusters": [subcluster]},
    )
    (archive / "version.txt").write_text("3\n")
    _write(
        site.backend / "config.json",
        {
            "main": {
                "addr": f"127.0.0.1:{site.port}",
                "short-running-jobs-duration": 10,
                "api-subjects": {"subject-job-event": "demo.jobs", "subject-node-state": "demo.nodes"},
            },
            "auth": {"jwts": {"max-age": "2000h"}},
            "cron": {"duration-worker": "10s", "footprint-worker": "15s"},
            "nats": {"address": f"nats://127.0.0.1:{site.nats_port}"},
            "archive": {"kind": "file", "path": "./var/job-archive"},
            "ui": {
                "job-list": {"show-footprint": True},
                "job-view": {"show-footprint": True, "show-roofline": False},
                "metric-config": {
                    "job-list-metrics": SHOWN[:4],
                    "job-view-plot-metrics": SHOWN,
                    "job-view-table-metrics": SHOWN[:3],
                },
            },
            "metric-store": {
                "retention-in-memory": "48h",
                "memory-cap": 1,
                "checkpoints": {"directory": "./var/checkpoints"},
                "nats-subscriptions": [{"subscribe-to": SUBJECT, "cluster-tag": CLUSTER}],
            },
        },
    )


def _token(site: Site) -> str:
    path = site.root / "token"
    if not path.exists():
        said = _call(site, "cc-backend", "-jwt", "demo", cwd=site.backend)
        token = next(word for word in said.split() if word.startswith("eyJ"))
        path.touch(0o600)
        path.write_text(token)
    return path.read_text().strip()


def metrics(threads: int) -> list[dict[str, Any]]:
    """The metric list of the demo's cluster.json; thresholds for a machine with that many hardware threads."""

    def metric(
        name: str, base: str, prefix: str = "", *, scope: str = "node", how: str = "sum", peak: float, normal: float, **more: Any
    ) -> dict[str, Any]:
        unit = {"base": base, "prefix": prefix} if prefix else {"base": base}
        limits = {"peak": peak, "normal": normal}
        return {"name": name, "unit": unit, "scope": scope, "aggregation": how, "timestep": INTERVAL, **limits, **more}

    memory = _memory_gb()
    low: dict[str, Any] = {"lowerIsBetter": True}
    return [
        metric(
            "cpu_load", "", how="avg", peak=2 * threads, normal=1.2 * threads, caution=0.3 * threads, alert=0.1 * threads, footprint="avg"
        ),
        metric("cpu_user", "%", scope="hwthread", how="avg", peak=100, normal=90, caution=30, alert=10, footprint="avg"),
        metric("mem_used", "B", "G", peak=memory, normal=0.8 * memory, caution=0.9 * memory, alert=0.97 * memory, footprint="max", **low),
        metric("cpu_system", "%", scope="hwthread", how="avg", peak=100, normal=20, caution=40, alert=70, **low),
        metric("net_bytes_in", "B/s", peak=1.25e8, normal=1e8, caution=1.1e8, alert=1.2e8, **low),
        metric("net_bytes_out", "B/s", peak=1.25e8, normal=1e8, caution=1.1e8, alert=1.2e8, **low),
        metric("proc_run", "", peak=20 * threads, normal=4 * threads, caution=10 * threads, alert=15 * threads, **low),
    ]


def _memory_gb() -> float:
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    return round(int(total.split()[1]) * 1024 / 1e9, 1)


def _collector(site: Site, token: str) -> None:
    interfaces = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    here = site.collector
    _write(
        here / "collectors.json",
        {
            "loadavg": {"exclude_metrics": ["load_five", "load_fifteen", "proc_total"]},
            "cpustat": {"exclude_metrics": ["cpu_idle", "cpu_guest", "cpu_guest_nice", "cpu_nice", "cpu_irq", "cpu_softirq", "cpu_steal"]},
            "memstat": {},
            # loopback only where there is nothing else: the demo's own traffic
            "netstat": {
                "include_devices": [i for i in interfaces if i != "lo"][:1] or ["lo"],
                "send_abs_values": False,
                "send_derived_values": True,
            },
            "self": {},
        },
    )
    _write(
        here / "router.json",
        {
            "process_messages": {
                "rename_messages": {"load_one": "cpu_load", "net_bytes_in_bw": "net_bytes_in", "net_bytes_out_bw": "net_bytes_out"},
                "add_tags_if": [{"key": "cluster", "value": CLUSTER, "if": "true"}],
                "change_unit_prefix": {"name == 'mem_used'": "G"},
                "drop_messages_if": [
                    "name startsWith 'mem_' && name != 'mem_used'",
                    "name startsWith 'swap_' || name == 'num_cpus' || name == 'cpu_iowait' || name == 'cpu_used'",
                    "name == 'cpu_user' && tag.type == 'node'",
                    "name == 'cpu_system' && tag.type == 'node'",
                ],
            }
        },
    )
    _write(
        here / "sinks.json",
        {
            "rest": {"type": "http", "url": f"{site.url}/api/write?cluster={CLUSTER}", "jwt": token, "flush_delay": "1s"},
            "nats": {"type": "nats", "host": "127.0.0.1", "port": str(site.nats_port), "subject": SUBJECT, "flush_delay": "1s"},
        },
    )
    _write(here / "receivers.json", {})
    main = {"interval": f"{INTERVAL}s", "duration": "1s", "state_dir": str(here / "state")}
    _write(here / "config.json", {"main": main, **{f"{n}-file": f"{n}.json" for n in ("collectors", "router", "sinks", "receivers")}})


def _adapter(site: Site, token: str) -> None:
    run = site.adapter / "run"
    run.mkdir(parents=True, exist_ok=True)
    _write(
        site.adapter / "config.json",
        {
            "ccRestUrl": site.url,
            "ccRestJwt": token,
            "slurmPollInterval": 5,
            "pidFilePath": str(run / "daemon.pid"),
            # Relative, since a Unix socket's path has at most 107 bytes and a checkout may lie deep; the hook changes its folder first.
            "prepSockListenPath": "run/daemon.sock",
            "prepSockConnectPath": "run/daemon.sock",
            "lastRunPath": str(run / "lastrun"),
            "natsServer": "127.0.0.1",
            "natsPort": site.nats_port,
            "natsSubject": "demo.jobs",
        },
    )
    hook = site.slurm / "hook"
    site.slurm.mkdir(parents=True, exist_ok=True)
    hook.write_text(f'#!/bin/sh\ncd "{site.adapter}" && "{site.bin}/cc-slurm-adapter" -config config.json\nexit 0\n')
