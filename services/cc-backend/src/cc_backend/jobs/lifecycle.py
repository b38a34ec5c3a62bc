"""What a start or a stop of a job means, decided from the request and the rows that exist: pure, no clock, no database.

    decide_start(job, known)  → Insert | Duplicate
    decide_stop(stop, known)  → Stop; raises NotFound, AlreadyStopped, InputError
    archive_after(…)          → when all samples of an ended job should be there

A scheduler reuses job ids and starts attempts again (requeue, HTCondor eviction): an attempt that begins when the one before
has ended is a job of its own and must not be lost; the same event told twice must not become two jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from ccdaemon.errors import InputError
from ccschema.jobs import SHARED, Job, JobState

from cc_backend.clusters import Catalogue
from cc_backend.errors import AlreadyStopped, Duplicate, NotFound

SAME_JOB_WITHIN: Final = 86_400
"""Two starts of one job id closer than this (seconds) are one job, unless the first has ended before the second."""


ARCHIVE_GRACE: Final = 30
"""Seconds between the end of a job and its archiving, at least: collectors deliver in batches, some seconds late."""


class Known(msgspec.Struct, frozen=True):
    """A row with the request's job id. `duration` counts for ended jobs only."""

    db_id: int
    cluster: str
    start_time: int
    state: str
    duration: int

    @property
    def running(self) -> bool:
        return self.state == "running"


class StopRequest(msgspec.Struct, frozen=True):
    """A stop with its defaults filled in; `cluster` and `start_time` None = not told."""

    job_id: int
    stop_time: int
    cluster: str | None = None
    start_time: int | None = None
    state: str = "completed"


class Insert(msgspec.Struct, frozen=True):
    job: Job


class Stop(msgspec.Struct, frozen=True):
    """What to write into row `db_id`."""

    db_id: int
    state: str
    duration: int


def checked(job: Job, catalogue: Catalogue) -> Job:
    """The job as it may be inserted: running, its subcluster found. InputError with the first thing that is wrong."""
    cluster = catalogue.find(job.cluster)
    if cluster is None:
        raise InputError(f"no such cluster: {job.cluster}")
    if job.sub_cluster:
        if all(sub.name != job.sub_cluster for sub in cluster.sub_clusters):
            raise InputError(f"already assigned subcluster {job.sub_cluster} unknown (cluster: {job.cluster})")
        sub_cluster = job.sub_cluster
    else:
        if not job.resources:
            raise InputError("job without any resources/hosts")
        host = job.resources[0].hostname
        found = catalogue.subcluster_of(job.cluster, host)
        if found is None:
            raise InputError(f"no subcluster found for cluster {job.cluster} and host {host}")
        sub_cluster = found
    _check_numbers(job)
    return msgspec.structs.replace(job, sub_cluster=sub_cluster)


def _check_numbers(job: Job) -> None:
    if not job.resources or not job.user:
        raise InputError("'resources' and 'user' should not be empty")
    if job.num_acc < 0 or job.num_hwthreads < 0 or job.num_nodes < 1 or job.smt < 0:
        raise InputError("'numNodes', 'numAcc' or 'numHWThreads' invalid")
    if len(job.resources) != job.num_nodes:
        raise InputError(f"len(resources) does not equal numNodes ({len(job.resources)} vs {job.num_nodes})")
    if any(not resource.hostname for resource in job.resources):
        raise InputError("a resource has no hostname")
    if job.job_id <= 0 or job.start_time <= 0:
        raise InputError("'jobId' and 'startTime' are required and must be positive")
    if job.shared not in SHARED:
        raise InputError(f"shared must be one of {', '.join(SHARED)}, not '{job.shared}'")
    if not 0 <= job.monitoring_status <= 3:
        raise InputError(f"monitoringStatus must be between 0 and 3, not {job.monitoring_status}")
    for what, number in (
        ("jobId", job.job_id),
        ("startTime", job.start_time),
        ("walltime", job.walltime),
        ("arrayJobId", job.array_job_id),
    ):
        if not 0 <= number < 2**63:
            raise InputError(f"{what} is out of range")


def decide_start(job: Job, known: Sequence[Known]) -> Insert | Duplicate:
    """`known`: all rows with this job id and cluster."""
    for old in known:
        apart = job.start_time - old.start_time
        next_attempt = not old.running and apart > 0 and job.start_time >= old.start_time + old.duration
        if apart == 0 or (abs(apart) < SAME_JOB_WITHIN and not next_attempt):
            return Duplicate(old.db_id, job.job_id)
    return Insert(job)


def decide_stop(stop: StopRequest, known: Sequence[Known]) -> Stop:
    """`known`: all rows with this job id, cluster and start time as far as they were told, newest first.

    Running jobs go before ended ones. Raises NotFound; AlreadyStopped; InputError for an ambiguous request, a stop before
    the start or a state that is no end.
    """
    if not known:
        raise NotFound("finding job failed: no such job")
    running = [old for old in known if old.running]
    candidates = running or list(known)
    if stop.cluster is None and len({old.cluster for old in candidates}) > 1:
        clusters = ", ".join(sorted({old.cluster for old in candidates}))
        raise InputError(f"jobId {stop.job_id} exists on several clusters ({clusters}): the field 'cluster' is required")
    job = candidates[0]
    if not job.running:
        raise AlreadyStopped(job.db_id, job.state)
    if stop.stop_time < job.start_time:
        raise InputError(f"stopTime {stop.stop_time} must be larger/equal than startTime {job.start_time}")
    state = {"": "completed", "stopped": "cancelled"}.get(stop.state, stop.state)
    final = JobState.of(state)
    if final is None or not final.final:
        raise InputError(f'invalid requested job state: "{stop.state}"')
    return Stop(job.db_id, state, stop.stop_time - job.start_time)


def archive_grace(timesteps: Iterable[int]) -> int:
    """Seconds that the last samples of a job may take; `timesteps`: of its metrics, in seconds.

    A sample is taken up to one time step after the end of the interval it belongs to, and sent with the next batch: twice the largest.
    """
    return max(ARCHIVE_GRACE, 2 * max(timesteps, default=0))


def archive_after(end: int, now: int, timesteps: Iterable[int]) -> int:
    """The earliest time to archive a job that ended at `end`; an end in the future (clocks differ) counts as `now`."""
    return min(end, now) + archive_grace(timesteps)
