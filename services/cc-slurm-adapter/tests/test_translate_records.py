"""From Slurm's JSON to cc-backend's bodies: composed vectors of the specification, and real recordings where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from cc_slurm_adapter.core import Assigned, Device, JobKey, JobView, SendStart, SendStop
from cc_slurm_adapter.deliver import event_line
from cc_slurm_adapter.slurm.gres import gpu_count, gpu_indices
from cc_slurm_adapter.slurm.records import RawJobsAnswer, SacctJob, SqueueJob, jobs_of
from cc_slurm_adapter.slurm.translate import Ignored, assigned, job_description, job_view, shared, start_body, stop_body, stop_state

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "slurm"
needs_recordings = pytest.mark.skipif(not RECORDED.exists(), reason="recordings of a real Slurm are not beside this checkout")
SETS = ("24.11", "24.11-older-parsers", "25.xx")


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("gpu:a100:2(IDX:0-1)", [0, 1]),
        ("gpu:a100:3(IDX:0,2-3)", [0, 2, 3]),
        ("gpu:2(IDX:0-1)", [0, 1]),
        ("gpu:a100-sxm4:2(IDX:2-3)", [2, 3]),
        ("gpu:a100:1(IDX:0),gpu:v100:2(IDX:2-3)", [0, 2, 3]),
        ("gpu:a100:1(IDX:0),nic(CNT:1)", [0]),
        ("gpu:1g.10gb:1(IDX:0)", [0]),
        ("gpu:(null):2(IDX:0-1)", [0, 1]),
        ("gpu:2(CNT:2)", []),
        ("gpumem:2(IDX:0-1)", []),
        ("", []),
    ],
)
def test_gpu_indices(text: str, indices: list[int]) -> None:
    assert gpu_indices(text) == indices


@pytest.mark.parametrize(
    ("text", "count"),
    [("gpu:a100:2(IDX:0-1)", 2), ("gpu:3", 3), ("gpu:a100:1(IDX:0),gpu:v100:2(IDX:2-3),nic:4", 3), ("gpu:0(IDX:N/A)", 0), ("", 0)],
)
def test_gpu_count(text: str, count: int) -> None:
    assert gpu_count(text) == count


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["COMPLETED"], "completed"),
        (["NODE_FAIL"], "failed"),
        (["PENDING", "REQUEUED"], "cancelled"),
        (["PENDING", "REQUEUED", "PREEMPTED"], "preempted"),
        (["PENDING", "REQUEUED", "NODE_FAIL"], "failed"),
        (["PENDING"], "cancelled"),
        (["OUT_OF_MEMORY"], "out_of_memory"),
        (["REVOKED"], "failed"),
        (["SPECIAL_EXIT"], "failed"),
        ([], "failed"),
    ],
)
def test_states(words: list[str], state: str) -> None:
    assert stop_state(words) == state


def test_start_body_is_the_specs_example() -> None:
    view = JobView(2, 1795354910, 0, "", "alice", "proj1", "gpu", ("gpu01",), "train", 0, 600, 2, 2, 1795354910)
    given = Assigned((Device("gpu01", (0, 4), ("00000000:01:00.0", "00000000:25:00.0")),), "multi_user", "train")
    meta = {"jobScript": "#!/bin/bash\nsleep 5\n", "slurmInfo": "JobId=2 JobName=train\n   ..."}
    assert start_body("alpha", SendStart(view, given, meta)).decode() == (
        '{"cluster":"alpha","subCluster":"","partition":"gpu","project":"proj1","user":"alice","shared":"multi_user",'
        '"resources":[{"hostname":"gpu01","hwthreads":[0,4],"accelerators":["00000000:01:00.0","00000000:25:00.0"]}],'
        '"metaData":{"jobName":"train","jobScript":"#!/bin/bash\\nsleep 5\\n","slurmInfo":"JobId=2 JobName=train\\n   ...","submitTime":"1795354910"},'
        '"walltime":600,"jobId":2,"numAcc":2,"numHwthreads":2,"numNodes":1,"startTime":1795354910}'
    )


def test_without_resources_a_job_has_host_names_only() -> None:
    body = json.loads(start_body("alpha", SendStart(JobView(1, 5, 0, "", "", "p", "", ("a", "b")), None, {"jobScript": ""})))
    assert body["resources"] == [{"hostname": "a"}, {"hostname": "b"}]
    assert (body["numNodes"], body["shared"], body["user"]) == (2, "multi_user", "unknown")
    assert "jobScript" not in body["metaData"]


def test_text_that_html_or_utf8_would_trip_over() -> None:
    body = start_body("a", SendStart(JobView(1, 5, 0, "", "u<&>", "p\ud800", "", ("h",), "\u2028"), None, {}))
    assert b"u\\u003c\\u0026\\u003e" in body
    assert "p\ufffd".encode() in body
    assert b"\\u2028" in body


def test_stop_body() -> None:
    stop = SendStop(JobKey(2, 100), "completed", 1795354923)
    assert stop_body("alpha", stop) == b'{"jobId":2,"cluster":"alpha","jobState":"completed","stopTime":1795354923}'
    assert json.loads(stop_body("alpha", msgspec.structs.replace(stop, older=True)))["startTime"] == 100


def test_event_line_is_the_specs() -> None:
    line = event_line("stop", "ctl", "work", b'{"jobId":2,"x":"a\\\\b"}', 1795354923)
    assert (
        line
        == b'job,function=stop_job,hostname=ctl,partition=work,type=node,type-id=0 event="{\\"jobId\\":2,\\"x\\":\\"a\\\\\\\\b\\"}" 1795354923000000000\n'
    )
    # PITFALL: an empty partition gives an invalid tag
    assert b"partition" not in event_line("stop", "ctl", "", b"{}", 1)


def test_description_is_the_block_of_the_asked_job() -> None:
    text = "JobId=31 ArrayJobId=3\n   a\n\nJobId=3 ArrayJobId=3\n   b\n\n"
    assert job_description(text, 3) == "JobId=3 ArrayJobId=3\n   b"
    assert job_description(text, 4) == ""


def no_host(_host: str) -> bool:
    return False


def recorded(pattern: str) -> list[Path]:
    return sorted(p for s in SETS for p in (RECORDED / s).glob(pattern) if "v0.0.40" not in p.name)  # that is 23.11, not supported


@needs_recordings
def test_every_recorded_sacct_answer_reads() -> None:
    seen = 0
    for path in recorded("*sacct*.json"):
        if not path.read_bytes().startswith(b"{"):
            continue
        answer = msgspec.json.decode(path.read_bytes(), type=RawJobsAnswer) if b'"jobs"' in path.read_bytes() else None
        if answer is None:
            continue
        records, bad = jobs_of(answer.jobs, SacctJob)
        assert not bad, path
        for r in records:
            try:
                v = job_view(r, no_host)
            except Ignored as e:
                assert not e.bad, (path, e)
                continue
            assert v.hosts
            assert 0 < v.start < 4294967294
            seen += 1
    assert seen > 20


@needs_recordings
def test_every_recorded_squeue_answer_reads() -> None:
    with_cores = 0
    for path in recorded("*squeue*.json"):
        if b'"jobs"' not in path.read_bytes():
            continue
        records, bad = jobs_of(msgspec.json.decode(path.read_bytes(), type=RawJobsAnswer).jobs, SqueueJob)
        assert not bad, path
        for r in records:
            given = assigned(r, lambda _h: ["A", "B", "C", "D"], lambda _h, core: (core,))
            with_cores += given is not None and bool(given.devices[0].hwthreads)
    assert with_cores > 10


@needs_recordings
def test_recorded_job_has_the_cores_it_was_given() -> None:
    """24.11, job 1: three cores of cpu01 (2 sockets of 4): 0 and 1 of the first, 0 of the second."""
    raw = msgspec.json.decode((RECORDED / "24.11" / "01-running-squeue-all.json").read_bytes(), type=RawJobsAnswer)
    job = next(j for j in jobs_of(raw.jobs, SqueueJob)[0] if j.job_id == 1)
    given = assigned(job, lambda _h: None, lambda _h, core: (core, core + 8))
    assert given is not None
    assert given.devices == (Device("cpu01", (0, 1, 4, 8, 9, 12)),)
    assert shared(job) == "multi_user"
