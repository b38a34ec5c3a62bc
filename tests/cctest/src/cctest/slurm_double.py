"""A double of Slurm's commands, about real processes of this machine.

`install(bin_dir, state_dir, …)` puts `sbatch scancel sacct squeue sacctmgr scontrol sinfo` into a folder for PATH. A job is a real
process: `sbatch` starts its script under a supervisor, pins it to the cores it got, and writes `jobs/<id>.json` at start and end;
the queries answer from these files in the JSON forms of Slurm 24.11 (parser v0.0.42), as recorded from a real Slurm, with the
real one's exit codes for unknown ids and clusters. One cluster, one node, one partition: what a demo and the end-to-end tests need.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "scancel", "sacct", "squeue", "sacctmgr", "scontrol", "sinfo")
MIN_JOB_AGE = 300  # seconds for which slurmctld remembers an ended job
LIVE = {"PENDING", "RUNNING", "SUSPENDED"}


def install(bin_dir: Path, state_dir: Path, *, cluster: str, user: str = "demo", account: str = "demo", host: str | None = None) -> None:
    """Write the commands and the double's settings. Existing jobs in `state_dir` stay."""
    (state_dir / "jobs").mkdir(parents=True, exist_ok=True)
    bin_dir.mkdir(parents=True, exist_ok=True)
    settings = {"cluster": cluster, "user": user, "account": account, "host": host or socket.gethostname().split(".")[0]}
    _write_json(state_dir / "settings.json", settings)
    for name in COMMANDS:
        path = bin_dir / name
        path.write_text(
            f'#!/bin/sh\nexport SLURM_DOUBLE_DIR="{state_dir}"\nexec "{sys.executable}" -S "{Path(__file__).resolve()}" {name} "$@"\n'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def main(argv: list[str]) -> int:
    state = Path(os.environ["SLURM_DOUBLE_DIR"])
    settings = json.loads((state / "settings.json").read_text())
    if (state / "down").exists():  # a test switches Slurm off with this file
        print(f"{argv[0]}: error: Unable to contact slurm controller (connect failure)", file=sys.stderr)
        return 1
    command, words = argv[0], argv[1:]
    cluster = _option(words, "--cluster", "--clusters", "-M")
    if cluster and cluster != settings["cluster"] and command != "sacct":
        print(f"{command}: error: '{cluster}' can't be reached now, or it is an invalid entry for --cluster.", file=sys.stderr)
        return 1
    answer = {
        "sbatch": _sbatch,
        "scancel": _scancel,
        "sacct": _sacct,
        "squeue": _squeue,
        "sacctmgr": _sacctmgr,
        "scontrol": _scontrol,
        "sinfo": _sinfo,
        "supervise": _supervise,
    }[command]
    return answer(state, settings, words)


# --- jobs as files -------------------------------------------------------------------------------------------------------------


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def _jobs(state: Path) -> list[dict]:
    found = [json.loads(p.read_text()) for p in (state / "jobs").glob("[0-9]*.json")]
    return sorted(found, key=lambda j: j["id"])


def _remembered(job: dict) -> bool:
    return job["state"] in LIVE or job["end"] > time.time() - MIN_JOB_AGE


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _option(words: list[str], *names: str) -> str | None:
    for i, word in enumerate(words):
        for name in names:
            if word == name and i + 1 < len(words):
                return words[i + 1]
            if word.startswith(name + "="):
                return word[len(name) + 1 :]
    return None


# --- sbatch, scancel -----------------------------------------------------------------------------------------------------------


def _sbatch(state: Path, settings: dict, words: list[str]) -> int:
    script = Path(next(w for w in reversed(words) if not w.startswith("-"))).resolve()
    counter = state / "last-id"
    job_id = int(counter.read_text() if counter.exists() else 1000) + 1
    counter.write_text(str(job_id))
    wanted = int(_option(words, "--ntasks", "-n") or 1)
    now = int(time.time())
    job = {
        "id": job_id,
        "name": _option(words, "--job-name", "-J") or script.name,
        "user": _option(words, "--uid") or settings["user"],
        "account": _option(words, "--account", "-A") or settings["account"],
        "partition": "work",
        "host": settings["host"],
        "cores": _cores()[:wanted],
        "exclusive": "--exclusive" in words or wanted >= len(_cores()),
        "limit": int(_option(words, "--time", "-t") or 10),
        "submit": now,
        "start": now,
        "end": 0,
        "state": "RUNNING",
        "script": script.read_text(),
        "script_path": str(script),
        "pid": 0,
    }
    _write_json(state / "jobs" / f"{job_id}.json", job)
    log = (state / "jobs" / f"{job_id}.out").open("wb")
    subprocess.Popen(
        [sys.executable, "-S", str(Path(__file__).resolve()), "supervise", str(job_id)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=state,
    )
    print(f"{job_id}" if "--parsable" in words else f"Submitted batch job {job_id}")
    return 0


def _supervise(state: Path, settings: dict, words: list[str]) -> int:
    path = state / "jobs" / f"{words[0]}.json"
    job = json.loads(path.read_text())
    _hook(state, settings, job, "prolog_slurmctld")
    work = subprocess.Popen(
        ["/bin/sh", job["script_path"]], preexec_fn=lambda: os.sched_setaffinity(0, job["cores"]), start_new_session=True
    )
    job["pid"] = work.pid
    _write_json(path, job)
    try:
        status = work.wait(timeout=job["limit"] * 60)
        ended = "COMPLETED" if status == 0 else "CANCELLED" if status < 0 else "FAILED"
    except subprocess.TimeoutExpired:
        os.killpg(work.pid, signal.SIGKILL)
        ended = "TIMEOUT"
    job["state"], job["end"] = ended, int(time.time())
    _write_json(path, job)
    _hook(state, settings, job, "epilog_slurmctld")
    return 0


def _hook(state: Path, settings: dict, job: dict, context: str) -> None:
    """What slurmctld does with PrologSlurmctld and EpilogSlurmctld when `hook` names a program."""
    hook = state / "hook"
    if hook.exists():
        env = {**os.environ, "SLURM_JOB_ID": str(job["id"]), "SLURM_CLUSTER_NAME": settings["cluster"], "SLURM_SCRIPT_CONTEXT": context}
        subprocess.run(["/bin/sh", str(hook)], env=env, timeout=10, check=False)


def _scancel(state: Path, settings: dict, words: list[str]) -> int:
    for job in _jobs(state):
        if str(job["id"]) in words and job["state"] in LIVE and job["pid"]:
            os.killpg(job["pid"], signal.SIGTERM)
    return 0


# --- queries -------------------------------------------------------------------------------------------------------------------


def _number(n: int | None) -> dict:
    return {"set": n is not None, "infinite": False, "number": n or 0}


def _answer(settings: dict, key: str, found: list[dict], words: list[str], warnings: list[str] | None = None) -> int:
    meta = {
        "plugin": {"type": "", "name": "", "data_parser": "data_parser/v0.0.42", "accounting_storage": "accounting_storage/slurmdbd"},
        "client": {"source": "", "user": "root", "group": "root"},
        "command": words,
        "slurm": {"version": {"major": "24", "micro": "5", "minor": "11"}, "release": "24.11.5", "cluster": settings["cluster"]},
    }
    print(json.dumps({key: found, "meta": meta, "errors": [], "warnings": warnings or []}))
    return 0


def _sacctmgr(state: Path, settings: dict, words: list[str]) -> int:
    if words[:2] == ["list", "clusters"]:
        found = {"controller": {"host": "127.0.0.1", "port": 6817}, "flags": [], "name": settings["cluster"], "nodes": settings["host"]}
        return _answer(settings, "clusters", [found], words)
    user = words[2] if len(words) > 2 else ""
    return _answer(settings, "users", [{"administrator_level": ["Operator"], "associations": [], "name": user}], words)


def _asked(words: list[str]) -> set[str] | None:
    ids = _option(words, "-j", "--jobs", "--job")
    return None if ids is None else {i for i in ids.split(",") if i}


def _moment(text: str | None, default: float) -> float:
    if text is None:
        return default
    if text.startswith("uts"):
        return float(text[3:])
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def _sacct(state: Path, settings: dict, words: list[str]) -> int:
    cluster, asked = _option(words, "--cluster", "--clusters", "-M"), _asked(words)
    start, end = _moment(_option(words, "--starttime", "-S"), 0), _moment(_option(words, "--endtime", "-E"), time.time())
    if start > end:
        print("sacct: error: Start time is after end time", file=sys.stderr)
        return 1
    found = []
    for job in _jobs(state):
        if cluster not in (None, settings["cluster"]):
            continue
        if asked is not None:
            if str(job["id"]) in asked:
                found.append(_sacct_record(settings, job))
        elif job["submit"] <= end and (job["end"] == 0 or job["end"] >= start):
            found.append(_sacct_record(settings, job))
    return _answer(settings, "jobs", found, words)


def _sacct_record(settings: dict, job: dict) -> dict:
    tres = [{"type": "cpu", "name": "", "id": 1, "count": len(job["cores"])}, {"type": "node", "name": "", "id": 4, "count": 1}]
    return {
        "account": job["account"],
        "comment": {"administrator": "", "job": "", "system": ""},
        "allocation_nodes": 1,
        "array": {"job_id": 0, "task_id": _number(None)},
        "cluster": settings["cluster"],
        "job_id": job["id"],
        "name": job["name"],
        "nodes": job["host"],
        "partition": job["partition"],
        "required": {"CPUs": len(job["cores"])},
        "restart_cnt": 0,
        "script": "",
        "state": {"current": [job["state"]], "reason": "None"},
        "steps": [],
        "user": job["user"],
        "group": job["user"],
        "time": {
            "elapsed": int((job["end"] or time.time()) - job["start"]),
            "eligible": job["submit"],
            "end": job["end"],
            "start": job["start"],
            "submission": job["submit"],
            "suspended": 0,
            "limit": _number(job["limit"]),
        },
        "tres": {"allocated": tres, "requested": tres},
        "het": {"job_id": 0, "job_offset": _number(None)},
        "working_directory": "/tmp",
    }


def _squeue(state: Path, settings: dict, words: list[str]) -> int:
    asked, every = _asked(words), (_option(words, "--states", "-t") or "").lower() == "all"
    known = [j for j in _jobs(state) if _remembered(j)]
    if asked and len(asked) == 1 and not any(str(j["id"]) in asked for j in known):
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    found = [_squeue_record(settings, j) for j in known if (every or j["state"] in LIVE) and (not asked or str(j["id"]) in asked)]
    return _answer(settings, "jobs", found, words, None if found else ["Zero jobs to dump"])


def _squeue_record(settings: dict, job: dict) -> dict:
    allocated = set(job["cores"])
    cores = [{"index": c, "status": ["ALLOCATED" if c in allocated else "UNALLOCATED"]} for c in _cores()]
    allocation = {
        "index": 0,
        "name": job["host"],
        "cpus": {"count": len(allocated), "used": 0},
        "memory": {"used": 0, "allocated": 0},
        "sockets": [{"index": 0, "cores": cores}],
    }
    tres = f"cpu={len(allocated)},node=1,billing={len(allocated)}"
    return {
        "account": job["account"],
        "array_job_id": _number(0),
        "array_task_id": _number(None),
        "cluster": settings["cluster"],
        "comment": "",
        "cpus": _number(len(allocated)),
        "end_time": _number(job["end"] or job["start"] + job["limit"] * 60),
        "gres_detail": [],
        "job_id": job["id"],
        "job_state": [job["state"]],
        "name": job["name"],
        "node_count": _number(1),
        "nodes": job["host"],
        "partition": job["partition"],
        "restart_cnt": 0,
        "shared": ["none"] if job["exclusive"] else [],
        "start_time": _number(job["start"]),
        "submit_time": _number(job["submit"]),
        "time_limit": _number(job["limit"]),
        "tres_req_str": tres,
        "tres_alloc_str": tres,
        "user_id": 1000,
        "user_name": job["user"],
        "command": job["script_path"],
        "job_resources": {
            "select_type": ["CORE"],
            "nodes": {"count": 1, "list": job["host"], "whole": False, "allocation": [allocation]},
            "cpus": len(allocated),
        },
    }


def _scontrol(state: Path, settings: dict, words: list[str]) -> int:
    plain = [w for i, w in enumerate(words) if not w.startswith("-") and (i == 0 or words[i - 1] not in ("--cluster", "-M"))]
    if plain[:2] == ["write", "batch_script"]:
        job = next((j for j in _jobs(state) if str(j["id"]) == plain[2]), None)
        if job is None or not _remembered(job):
            print("job script retrieval failed: Invalid job id specified", file=sys.stderr)
        else:
            sys.stdout.write(job["script"])
        return 0
    if plain[:2] in (["show", "node"], ["show", "nodes"]):
        return _answer(settings, "nodes", [_node(state, settings)], words)
    if plain[:2] == ["show", "job"]:
        job = next((j for j in _jobs(state) if str(j["id"]) == plain[2] and _remembered(j)), None)
        if "--json" in words:
            return _answer(settings, "jobs", [_squeue_record(settings, job)] if job else [], words)
        if job is None:
            print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
            return 1
        print(_description(job))
        return 0
    print(f"scontrol: error: invalid keyword: {' '.join(words)}", file=sys.stderr)
    return 1


def _description(job: dict) -> str:
    def moment(t: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(t))

    return (
        f"JobId={job['id']} JobName={job['name']}\n   UserId={job['user']}(1000) GroupId={job['user']}(1000) MCS_label=N/A\n"
        f"   Priority=1 Nice=0 Account={job['account']} QOS=normal\n   JobState={job['state']} Reason=None Dependency=(null)\n"
        f"   SubmitTime={moment(job['submit'])} StartTime={moment(job['start'])} TimeLimit={job['limit'] // 60:02}:{job['limit'] % 60:02}:00\n"
        f"   Partition={job['partition']} NodeList={job['host']}\n   NumNodes=1 NumCPUs={len(job['cores'])} NumTasks={len(job['cores'])}\n"
        f"   Command={job['script_path']}\n"
    )


def _busy(state: Path) -> list[int]:
    return sorted({c for j in _jobs(state) if j["state"] == "RUNNING" for c in j["cores"]})


def _node_state(state: Path) -> list[str]:
    busy = len(_busy(state))
    return ["IDLE"] if busy == 0 else ["ALLOCATED"] if busy == len(_cores()) else ["MIXED"]


def _node(state: Path, settings: dict) -> dict:
    cpus = len(_cores())
    return {
        "name": settings["host"],
        "hostname": settings["host"],
        "state": _node_state(state),
        "cores": cpus,
        "cpus": cpus,
        "sockets": 1,
        "threads": 1,
        "alloc_cpus": len(_busy(state)),
        "alloc_memory": 0,
        "real_memory": 1000,
        "gres": "",
        "gres_used": "",
        "partitions": ["work"],
    }


def _sinfo(state: Path, settings: dict, words: list[str]) -> int:
    cpus, busy = len(_cores()), len(_busy(state))
    found = {
        "node": {"state": _node_state(state)},
        "nodes": {"allocated": int(busy > 0), "idle": int(busy == 0), "other": 0, "total": 1, "nodes": [settings["host"]]},
        "cpus": {"allocated": busy, "idle": cpus - busy, "other": 0, "total": cpus},
        "memory": {"allocated": 0},
        "gres": {"total": "", "used": ""},
        "cluster": settings["cluster"],
        "partition": {"name": "work"},
    }
    return _answer(settings, "sinfo", [found], words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
