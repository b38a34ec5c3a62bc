"""Bodies of start and stop as adapters send them, REST or NATS."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from ccdaemon.errors import InputError
from ccschema.api import StartJob, decode_start_job, decode_stop_job
from ccschema.jobs import Job
from ccschema.jsonin import BodyError, first_value

from cc_backend.jobs.lifecycle import StopRequest

_SHARED_OF: Final = {0: "multi_user", 1: "none", 2: "single_user", 3: "multi_user"}


def decode_start(body: bytes) -> Job:
    """A start with its presets; takes `exclusive` of cc-slurm-sync and cc-condor-sync for `shared`. BodyError."""
    try:
        return _filled(decode_start_job(body))
    except BodyError:
        rewritten = _without_exclusive(body)
        if rewritten is None:
            raise
        return _filled(decode_start_job(rewritten))


def _filled(job: StartJob) -> Job:
    return msgspec.structs.replace(job, shared=job.shared or "none")


def _without_exclusive(body: bytes) -> bytes | None:
    value: Any = first_value(body)
    if not isinstance(value, dict):
        return None
    keys = {key.lower(): key for key in value}
    if "exclusive" not in keys or "shared" in keys:
        return None
    exclusive = value.pop(keys["exclusive"])
    if isinstance(exclusive, bool) or exclusive not in _SHARED_OF:
        return None
    value["shared"] = _SHARED_OF[exclusive]
    return msgspec.json.encode(value)


def decode_stop(body: bytes) -> StopRequest:
    """BodyError; InputError without a job id."""
    stop = decode_stop_job(body)
    if stop.job_id is None:
        raise InputError("the field 'jobId' is required")
    return StopRequest(job_id=stop.job_id, stop_time=stop.stop_time, cluster=stop.cluster, start_time=stop.start_time, state=stop.job_state)
