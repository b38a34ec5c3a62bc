"""Decisions of start and stop: vectors of backend-api 8.4.3, 8.5 and of the pitfalls there."""

from __future__ import annotations

import msgspec
import pytest
from cc_backend.clusters import Catalogue
from cc_backend.errors import AlreadyStopped, Duplicate, NotFound
from cc_backend.jobs.lifecycle import Insert, Known, Stop, StopRequest, archive_after, checked, decide_start, decide_stop
from ccdaemon.errors import InputError
from ccdaemon.log import make_log
from ccschema.jobs import Job, Resource

DAY = 86_400
T = 1_760_000_000


def job(**changes):
    values = {
        "job_id": 7,
        "cluster": "alpha",
        "user": "anna",
        "project": "p1",
        "shared": "none",
        "num_nodes": 1,
        "start_time": T,
        "resources": [Resource(hostname="a001")],
        "smt": 1,
        "monitoring_status": 1,
    }
    return Job(**{**values, **changes})


def known(db_id, start, duration=None, cluster="alpha", state=None):
    """duration None: running."""
    return Known(
        db_id=db_id,
        cluster=cluster,
        start_time=start,
        state=state or ("running" if duration is None else "completed"),
        duration=duration or 0,
    )


@pytest.mark.parametrize(
    ("rows", "start", "duplicate_of"),
    [
        ([], T, None),
        ([known(1, T)], T, 1),
        ([known(1, T, 100)], T, 1),  # equal start times always are
        ([known(1, T)], T + DAY - 1, 1),
        ([known(1, T)], T - DAY + 1, 1),  # the absolute difference counts
        ([known(1, T)], T + DAY, None),
        ([known(1, T)], T - DAY, None),  # pitfall: an earlier start of a reused id is not refused for ever
        ([known(1, T, 100)], T + 100, None),  # pitfall: the requeued attempt is a job of its own
        ([known(1, T, 100)], T + 99, 1),  # begins before the end of the first
        ([known(1, T, 0)], T + 1, None),
        ([known(1, T, 100), known(2, T + 200)], T + 200, 2),
        ([known(1, T, 100), known(2, T + 200)], T + 300, 2),
        ([known(1, T, 100), known(2, T + 200, 50)], T + 300, None),
    ],
)
def test_start(rows, start, duplicate_of):
    decision = decide_start(job(start_time=start), rows)
    if duplicate_of is None:
        assert isinstance(decision, Insert)
    else:
        assert isinstance(decision, Duplicate)
        assert decision.db_id == duplicate_of
        assert str(decision) == f"a job with that jobId, cluster and startTime already exists: dbid: {duplicate_of}, jobid: 7"


def stop(**changes):
    return StopRequest(**{"job_id": 7, "stop_time": T + 1000, **changes})


@pytest.mark.parametrize(
    ("request_", "rows", "wanted"),
    [
        (stop(), [known(1, T)], Stop(1, "completed", 1000)),
        (stop(state=""), [known(1, T)], Stop(1, "completed", 1000)),
        (stop(state="failed", stop_time=T), [known(1, T)], Stop(1, "failed", 0)),
        (stop(state="stopped"), [known(1, T)], Stop(1, "cancelled", 1000)),  # cc-condor-sync
        (stop(), [known(9, T + 500), known(1, T, 400)], Stop(9, "completed", 500)),
        (stop(), [known(9, T, 10), known(1, T - 50)], Stop(1, "completed", 1050)),  # running ones first
        (stop(), [known(2, T, cluster="beta", duration=5), known(1, T)], Stop(1, "completed", 1000)),
    ],
)
def test_stop(request_, rows, wanted):
    assert decide_stop(request_, rows) == wanted


@pytest.mark.parametrize(
    ("request_", "rows", "error", "says"),
    [
        (stop(), [], NotFound, "finding job failed"),
        (stop(), [known(1, T, 100)], AlreadyStopped, r"job has already been stopped \(state is: completed\)"),
        (stop(stop_time=0), [known(1, T, 100)], AlreadyStopped, "already been stopped"),  # 422 goes before 400
        (stop(stop_time=T - 1), [known(1, T)], InputError, f"stopTime {T - 1} must be larger/equal than startTime {T}"),
        (stop(state="running"), [known(1, T)], InputError, 'invalid requested job state: "running"'),  # pitfall: the job would hang
        (stop(state="pending"), [known(1, T)], InputError, "invalid requested job state"),
        (stop(state="suspended"), [known(1, T)], InputError, "invalid requested job state"),
        (stop(state="exploded"), [known(1, T)], InputError, "invalid requested job state"),
        (stop(), [known(2, T, cluster="beta"), known(1, T)], InputError, "several clusters"),  # pitfall: equal ids are not confused
        (stop(), [known(2, T, 5, cluster="beta"), known(1, T, 5)], InputError, "several clusters"),
    ],
)
def test_stop_is_refused(request_, rows, error, says):
    with pytest.raises(error, match=says):
        decide_stop(request_, rows)


@pytest.fixture
def catalogue(cluster_documents):
    return Catalogue(cluster_documents, make_log("test"))


def test_start_finds_the_subcluster(catalogue):
    assert checked(job(), catalogue).sub_cluster == "main"
    assert checked(job(resources=[Resource(hostname="g001")]), catalogue).sub_cluster == "gpu"
    assert checked(job(cluster="beta", resources=[Resource(hostname="anything")]), catalogue).sub_cluster == "all"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cluster": "nope"}, "no such cluster: nope"),
        ({"sub_cluster": "nope"}, "already assigned subcluster nope"),
        ({"resources": []}, "without any resources"),
        ({"resources": [], "sub_cluster": "main"}, "'resources' and 'user' should not be empty"),
        ({"user": ""}, "'resources' and 'user' should not be empty"),
        ({"resources": [Resource(hostname="x1")]}, "no subcluster found for cluster alpha and host x1"),
        ({"num_nodes": 0}, "'numNodes', 'numAcc' or 'numHWThreads' invalid"),
        ({"num_acc": -1}, "'numNodes', 'numAcc' or 'numHWThreads' invalid"),
        ({"num_hwthreads": -1}, "'numNodes', 'numAcc' or 'numHWThreads' invalid"),
        ({"num_nodes": 2}, r"len\(resources\) does not equal numNodes \(1 vs 2\)"),
        ({"job_id": 0}, "'jobId' and 'startTime' are required"),
        ({"start_time": 0}, "'jobId' and 'startTime' are required"),
        ({"start_time": -5}, "'jobId' and 'startTime' are required"),
        ({"shared": "mine"}, "shared must be one of"),  # pitfall: a database error in the reference
        ({"monitoring_status": 4}, "monitoringStatus must be between"),
        ({"walltime": 2**63}, "walltime is out of range"),
    ],
)
def test_start_is_refused(catalogue, changes, says):
    with pytest.raises(InputError, match=says):
        checked(job(**changes), catalogue)


def test_any_smt_is_taken(catalogue):
    assert checked(job(smt=4), catalogue).smt == 4  # pitfall: only 0 and 1 in the reference


def test_checked_changes_nothing_else(catalogue):
    before = job()
    assert msgspec.structs.replace(checked(before, catalogue), sub_cluster="") == before


@pytest.mark.parametrize(
    ("end", "now", "steps", "due"),
    [
        (T, T, [10, 5], T + 30),  # never less than half a minute
        (T, T, [10, 60], T + 120),  # two of the largest time step
        (T, T, [], T + 30),
        (T - 600, T, [60], T - 480),  # told late: the samples are there already
        (T + 3600, T, [10], T + 30),  # the scheduler's clock is ahead: nobody waits an hour
    ],
)
def test_when_an_ended_job_is_archived(end, now, steps, due):
    assert archive_after(end, now, steps) == due
