"""From Slurm's records to JobView, Assigned and the bodies for cc-backend (spec slurm-adapter 8, 11, 16); pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from ccschema.hostlist import expand

from ..core import Assigned, Device, JobView, SendStart, SendStop
from .gres import gpu_indices
from .records import SacctJob, SqueueJob, Tres, limit, number, text, texts

NEVER = 4294967294  # start time of jobs that were cancelled before they ran
KNOWN_STATES = {"completed", "failed", "cancelled", "timeout", "out_of_memory", "preempted", "boot_fail", "deadline"}
_PCI = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]")


class Ignored(Exception):
    """The job is none of ours; the text says why. `bad` where the record, not the job, is at fault."""

    def __init__(self, why: str, *, bad: bool = False) -> None:
        super().__init__(why)
        self.bad = bad


def job_view(job: SacctJob, ignore: Callable[[str], bool]) -> JobView:
    """A job that has hosts and a start; Ignored else. `ignore(host)`: not ours to report."""
    start, end = number(job.time.start), number(job.time.end)
    if job.nodes.strip().lower() in ("", "none assigned"):
        raise Ignored("no hosts")
    try:
        hosts = tuple(sorted(set(expand(job.nodes))))
    except ValueError as e:
        raise Ignored(f"host list {job.nodes!r}: {e}", bad=True) from None
    if not 0 < start < NEVER:
        raise Ignored("never started")
    if all(ignore(h) for h in hosts):
        raise Ignored("all hosts are ignored")
    return JobView(
        id=job.job_id,
        start=start,
        end=end if 0 < end < NEVER else 0,
        state=stop_state(texts(job.state.current)),
        user=job.user or "",
        project=job.account or "",
        partition=job.partition or "",
        hosts=hosts,
        name=job.name or "",
        array_job=number(job.array.job_id),
        walltime=limit(job.time.limit) * 60,
        num_hwthreads=_count(job.tres.allocated, "cpu") or _count(job.tres.requested, "cpu") or number(job.required.CPUs),
        num_acc=_count(job.tres.allocated, "gres", "gpu") or _count(job.tres.requested, "gres", "gpu"),
        submit=number(job.time.submission),
    )


def _count(tres: Sequence[Tres], type_: str, name: str = "") -> int:
    return next((max(0, number(t.count)) for t in tres if t.type == type_ and (not name or t.name == name)), 0)


def stop_state(words: Sequence[str]) -> str:
    """cc-backend's word for an ended job. A requeued attempt ended as cancelled, preempted or failed (design 5); unknown words mean failed."""
    states = [w.lower() for w in words]
    if "requeued" in states or states[:1] == ["pending"]:
        return "preempted" if "preempted" in states else "failed" if "node_fail" in states else "cancelled"
    return states[0] if states and states[0] in KNOWN_STATES else "failed"


def runs(job: SqueueJob) -> bool:
    """Running for cc-backend: suspended jobs too."""
    return text(job.job_state).upper() in ("RUNNING", "SUSPENDED")


def assigned(
    job: SqueueJob, addresses: Callable[[str], Sequence[str] | None], threads_of: Callable[[str, int], Sequence[int]]
) -> Assigned | None:
    """What the job was given; None while it waits. `addresses(host)`: PCI addresses in NVML order; `threads_of(host, core)`."""
    nodes = job.job_resources.nodes if job.job_resources else None
    if nodes is None or not nodes.allocation or text(job.job_state).upper() == "PENDING":
        return None
    devices = []
    for position, node in enumerate(nodes.allocation):
        first = len(node.sockets[0].cores) if node.sockets else 0
        cores = [s.index * first + c.index for s in node.sockets for c in s.cores if text(c.status) == "ALLOCATED"]
        threads = sorted({t for core in cores for t in threads_of(node.name, core)})
        where = node.index if node.index < len(job.gres_detail) else position
        detail = job.gres_detail[where] if where < len(job.gres_detail) else ""
        devices.append(Device(node.name, tuple(threads), _accelerators(detail, job.comment or "", addresses(node.name))))
    user = job.user_name or (str(number(job.user_id)) if job.user_id is not None else "")
    return Assigned(tuple(devices), shared(job), job.name or "", user)


def _accelerators(detail: str, comment: str, addresses: Sequence[str] | None) -> tuple[str, ...]:
    if detail:
        return tuple(addresses[i] for i in gpu_indices(detail) if addresses and i < len(addresses))
    parts = [p.strip() for p in comment.split(",")]
    return tuple(parts) if comment and all(_PCI.fullmatch(p) for p in parts) else ()


def shared(job: SqueueJob) -> str:
    """`none`, `single_user` or `multi_user` (spec 8.5)."""
    if text(job.exclusive).lower() == "true" or text(job.shared).lower() == "none":
        return "none"
    return "single_user" if text(job.shared).lower() == "user" else "multi_user"


def start_body(cluster: str, send: SendStart) -> bytes:
    """Body of start_job, members in the order of spec 11.1."""
    view, given = send.view, send.assigned
    resources: list[dict[str, object]] = []
    for d in given.devices if given else tuple(Device(h) for h in view.hosts):
        more = {"hwthreads": list(d.hwthreads), "accelerators": list(d.accelerators)}
        resources.append({"hostname": d.host, **{k: v for k, v in more.items() if v}})
    accelerators = sum(len(d.accelerators) for d in given.devices) if given and all(d.accelerators for d in given.devices) else view.num_acc
    body: dict[str, object] = {
        "cluster": cluster,
        "subCluster": "",
        "partition": view.partition,
        "project": view.project,
        "user": view.user or (given.user if given else "") or "unknown",
        "shared": given.shared if given else "multi_user",
        "resources": resources,
        "metaData": dict(sorted(_meta(view, given, send.meta).items())),
        "arrayJobId": view.array_job,
        "walltime": view.walltime,
        "jobId": view.id,
        "numAcc": accelerators,
        "numHwthreads": view.num_hwthreads,
        "numNodes": len(resources),
        "startTime": view.start,
    }
    left_out = ("partition", "arrayJobId", "walltime", "numAcc", "numHwthreads")
    return _json({k: v for k, v in body.items() if v or k not in left_out})


def _meta(view: JobView, given: Assigned | None, meta: Mapping[str, str]) -> dict[str, str]:
    name = (given.name if given else "") or view.name
    found = {"jobName": name, "submitTime": str(view.submit), **meta}
    return {k: v for k, v in found.items() if v or k != "jobScript"}


def stop_body(cluster: str, stop: SendStop) -> bytes:
    """Body of stop_job (spec 11.2). Without a start the newest attempt is meant; an older one is named by its start."""
    start = {"startTime": stop.key.start} if stop.older else {}
    return _json({"jobId": stop.key.id, "cluster": cluster, **start, "jobState": stop.state, "stopTime": max(stop.time, stop.key.start)})


def _json(value: Mapping[str, object]) -> bytes:
    """Compact UTF-8 JSON with `<`, `>`, `&`, U+2028 and U+2029 escaped; lone surrogates become U+FFFD."""
    out = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for c in "<>&\u2028\u2029":
        out = out.replace(c, f"\\u{ord(c):04x}")
    return out.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def job_description(show_job: str, job_id: int) -> str:
    """The block of `scontrol show job` that begins with `JobId=<id> `."""
    blocks = re.split(r"\n\s*\n", show_job)
    return next((b.strip() for b in blocks if b.lstrip().startswith(f"JobId={job_id} ")), "")
