"""Node states for cc-backend from `scontrol show node --json` (spec slurm-adapter 13); pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .gres import gpu_count
from .records import NodeRecord, SqueueJob, number, texts
from .translate import runs


def jobs_per_node(jobs: Iterable[SqueueJob]) -> Counter[str]:
    """Running jobs by host."""
    count: Counter[str] = Counter()
    for job in jobs:
        if runs(job) and job.job_resources and job.job_resources.nodes:
            count.update({a.name for a in job.job_resources.nodes.allocation})
    return count


def nodestate_body(cluster: str, nodes: Sequence[NodeRecord], running: Counter[str], ignore: Callable[[str], bool]) -> bytes:
    """Body of `POST /nodestate/`, by host name."""
    found = [
        {
            "hostname": n.name,
            "states": texts(n.state),
            "cpusAllocated": number(n.alloc_cpus),
            "memoryAllocated": number(n.alloc_memory),
            "gpusAllocated": gpu_count(n.gres_used or ""),
            "jobsRunning": running[n.name],
        }
        for n in sorted(nodes, key=lambda n: n.name)
        if not ignore(n.name)
    ]
    return json.dumps({"cluster": cluster, "nodes": found}, separators=(",", ":")).encode()
