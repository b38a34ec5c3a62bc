"""`make demo`: the whole system on this machine, with real measurements and a small workload.

Files and logs lie in `.demo` below the checkout (DEMO_DIR); ports: DEMO_PORT (8080) and DEMO_NATS_PORT (4222) in the environment.
`--clean` stops what is left of a demo and removes the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from cctest.processes import Process, http, port_open
from cctest.slurm_double import install
from demo_site import CLUSTER, JOB_SCRIPTS, LOGINS, Site, make

WORKLOAD = (("burn", "all"), ("memory", "1"), ("broken", "1"), ("burn", "1"))
NAMES = ("nats-server", "cc-backend", "cc-metric-collector", "cc-slurm-adapter")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    arguments.add_argument("--clean", action="store_true", help="stop what is left of a demo and remove its folder")
    root = Path(os.environ.get("DEMO_DIR", Path(__file__).parents[2] / ".demo")).resolve()
    if arguments.parse_args().clean:
        return clean(root)
    site = Site(root, Path(sys.executable).parent, _port("DEMO_PORT", 8080), _port("DEMO_NATS_PORT", 4222))
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        return run(site)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            return _refuse(f"The disk is full: {e.filename or root}. Free some space, or name another folder: make demo DEMO_DIR=/path")
        if e.errno in (errno.EACCES, errno.EROFS):
            return _refuse(f"{e.filename or root} is not writable. Name another folder: make demo DEMO_DIR=/path")
        raise


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def _port(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SystemExit(f"{name}={text} is no port: give a number from 1 to 65535, for example make demo {name}={default}")
    return int(text)


def _taken(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def run(site: Site) -> int:
    if left := _left_over(site.root):
        return _refuse(
            f"A demo is already running here (process {left[0][1]}). Stop it with Ctrl-C in its terminal, or with: make demo-clean"
        )
    for name, port in (("DEMO_PORT", site.port), ("DEMO_NATS_PORT", site.nats_port)):
        if _taken(port):
            return _refuse(f"Port {port} is taken by another program. Choose another one: make demo {name}={port + 1000}")
    began = time.monotonic()
    print(f"» writing the demo's site in {site.root}", flush=True)
    make(site)
    install(site.slurm / "bin", site.slurm, cluster=CLUSTER, user="alice", account="demo")
    daemons = processes(site)
    try:
        for daemon, ready in daemons:
            print(f"» starting {daemon.name}", flush=True)
            daemon.start(ready)
            _remember(site.root, daemon)
            if daemon.name == "cc-backend":
                give_project(site)
        print(_welcome(site, time.monotonic() - began), flush=True)
        work(site, [d for d, _ in daemons])
    except KeyboardInterrupt:
        print("\n» stopping", flush=True)
    except AssertionError as e:  # a daemon did not come up; what it said is in the text
        return _refuse(f"{e}\nLogs: {site.root}/logs")
    finally:
        for again in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave daemons behind; each has a deadline
            signal.signal(again, signal.SIG_IGN)
        stop(site, [d for d, _ in daemons])
    return 0


def processes(site: Site) -> list[tuple[Process, object]]:
    """The four programs in the order of their start, each with what tells that it is ready."""
    logs = site.root / "logs"

    def daemon(name: str, cwd: Path, *command: str | Path) -> Process:
        logs.mkdir(exist_ok=True)
        cwd.mkdir(exist_ok=True)
        process = Process(
            name,
            command,
            cwd,
            {"PATH": f"{site.slurm / 'bin'}:{os.environ['PATH']}", "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", "")},
        )
        process.log = logs / f"{name}.log"
        return process

    b = site.bin
    return [
        (
            daemon("nats-server", site.root, b / "nats-server", "-a", "127.0.0.1", "-p", str(site.nats_port)),
            lambda: port_open(site.nats_port),
        ),
        (daemon("cc-backend", site.backend, b / "cc-backend", "-server", "-loglevel", "info"), lambda: http(f"{site.url}/login")[0] == 200),
        (daemon("cc-metric-collector", site.collector, b / "cc-metric-collector", "-config", "config.json", "-loglevel", "info"), None),
        (daemon("cc-slurm-adapter", site.adapter, b / "cc-slurm-adapter", "-daemon", "-config", "config.json", "-debug", "3"), None),
    ]


def give_project(site: Site) -> None:
    """The group leader's project, over the REST API: accounts of the command line have none. A second time changes nothing."""
    token = {"X-Auth-Token": (site.root / "token").read_text().strip(), "Content-Type": "application/json"}
    http(f"{site.url}/api/user/leader", json.dumps({"add-project": "demo"}).encode(), token, "POST")


def _remember(root: Path, process: Process) -> None:
    folder = root / "pids"
    folder.mkdir(exist_ok=True)
    (folder / process.name).write_text(str(process.child.pid if process.child else 0))


def _left_over(root: Path) -> list[tuple[str, int]]:
    """Daemons of this demo that still live: (name, process id)."""
    found = []
    for name in NAMES:
        with contextlib.suppress(OSError, ValueError):
            pid = int((root / "pids" / name).read_text())
            if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append((name, pid))
    return found


def _welcome(site: Site, seconds: float) -> str:
    logins = "\n".join(f"    {user:<8} {user:<8} {what}" for user, _, what in LOGINS)
    return (
        f"\nThe demo runs ({seconds:.1f} s). Open\n\n    {site.url}\n\nand log in:\n\n    user     password\n{logins}\n\n"
        f"Files and logs: {site.root}. One more job: {site.slurm}/bin/sbatch --ntasks=1 {JOB_SCRIPTS}/burn.sh\n"
        "Ctrl-C stops everything; make demo-clean removes every trace.\n"
    )


def work(site: Site, daemons: list[Process]) -> None:
    """Submit the workload one after the other, say what happens, then wait for Ctrl-C."""
    cores = str(len(os.sched_getaffinity(0)))
    waiting = [(name, cores if n == "all" else n) for name, n in _workload()]
    current, told = "", set[str]()
    while True:
        if (not current or not _runs(site, current)) and waiting:
            name, n = waiting.pop(0)
            current = _sbatch(site, name, n)
            print(f"» job {current} ({name}, {n} core{'s' if n != '1' else ''}) runs; its page: {site.url}/monitoring/jobs/", flush=True)
        for d in daemons:
            if not d.running() and d.name not in told:
                told.add(d.name)
                print(f"! {d.name} has ended; its log: {d.log}", flush=True)
        time.sleep(1)


def _workload() -> list[tuple[str, str]]:
    """(script, cores) of each job; DEMO_WORKLOAD = `burn:1,memory:1` or `none` names another one."""
    text = os.environ.get("DEMO_WORKLOAD", "")
    if text == "none":
        return []
    return [(name, cores or "1") for name, _, cores in (part.partition(":") for part in text.split(","))] if text else list(WORKLOAD)


def _sbatch(site: Site, name: str, cores: str) -> str:
    command = [
        site.slurm / "bin" / "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--ntasks={cores}",
        "--time=10",
        JOB_SCRIPTS / f"{name}.sh",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _runs(site: Site, job: str) -> bool:
    answer = subprocess.run([site.slurm / "bin" / "squeue", "-j", job, "--json"], capture_output=True, text=True, check=False)
    return '"job_id": ' + job in answer.stdout


def stop(site: Site, daemons: list[Process]) -> None:
    """Jobs first, so that their end is still reported; then the daemons against the order of their start."""
    _cancel_jobs(site.slurm)
    for d in reversed(daemons):
        with contextlib.suppress(AssertionError):
            d.stop()
    shutil.rmtree(site.root / "pids", ignore_errors=True)


def _cancel_jobs(slurm: Path) -> None:
    jobs = [p.stem for p in (slurm / "jobs").glob("[0-9]*.json")]
    if jobs and (slurm / "bin" / "scancel").exists():
        subprocess.run([slurm / "bin" / "scancel", *jobs], capture_output=True, check=False)


def clean(root: Path) -> int:
    _cancel_jobs(root / "slurm")
    for name, pid in reversed(_left_over(root)):
        print(f"» stopping {name}")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
            for _ in range(150):
                os.kill(pid, 0)
                time.sleep(0.1)
            os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
