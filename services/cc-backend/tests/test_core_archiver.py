"""From stop to archive: data, statistics, footprint, energy, tags; failures; what survives a kill -9 of the real program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from cc_backend.archive import JobKey
from cc_backend.db import jobs as rows
from cc_backend.db.tables import job as job_table
from cc_backend.workers.archiver import PAUSES
from cc_backend.workers.footprints import Footprints
from cc_backend.workers.retention import Retention
from cc_backend.workers.walltime import Walltime
from ccdaemon.executors import Pool
from ccdaemon.log import make_log
from sqlalchemy import update

BASE = (int(time.time()) - 3600) // 10 * 10


async def until(check, timeout=10.0):
    end = time.monotonic() + timeout
    while not (found := await check()):
        assert time.monotonic() < end, "nothing happened"
        await asyncio.sleep(0.02)
    return found


def samples(metric, host, values, start=BASE, **tags):
    extra = "".join(f",{key.replace('_', '-')}={value}" for key, value in tags.items())
    return "".join(
        f"{metric},cluster=alpha,hostname={host}{extra} value={v} {start + i * 10}\n" for i, v in enumerate(values) if v is not None
    )


async def job_with_data(backend, start_body, **changes):
    """Start a job of ten minutes on a001, a002 and write its data; its database id."""
    body = start_body(startTime=BASE, numNodes=2, resources=[{"hostname": "a001"}, {"hostname": "a002"}], **changes)
    assert (await backend.call("POST", "/api/jobs/start_job/", json=body))[0] == 201
    lines = (
        samples("cpu_load", "a001", [1.0] * 60)
        + samples("cpu_load", "a002", [3.0] * 60)
        + samples("mem_used", "a001", [float(n) for n in range(60)])
    )
    lines += "".join(samples("cpu_power", host, [100.0] * 60, type="socket", type_id=0) for host in ("a001", "a002"))
    status, text, _ = await backend.call("POST", "/api/write", data=lines)
    assert status == 200, text
    return (await backend.call("GET", "/api/jobs/"))[1]["jobs"][0]["id"]


async def stop(backend, job_id=4711, at=BASE + 600):
    assert (await backend.call("POST", "/api/jobs/stop_job/", json={"jobId": job_id, "stopTime": at}))[0] == 200


async def job(backend, db_id):
    return (await backend.call("GET", f"/api/jobs/{db_id}"))[1]["Meta"]


async def archived(backend, db_id, status=3):
    async def check():
        found = await job(backend, db_id)
        return found if found.get("monitoringStatus", 0) == status else None

    return await until(check)


async def test_archive(backend, start_body, archive_dir):
    db_id = await job_with_data(backend, start_body, submitTime=BASE - 60, requestedMemory=100)
    await backend.call(
        "POST", f"/api/jobs/tag_job/{db_id}", json=[{"type": "t", "name": "n"}, {"type": "p", "name": "q", "scope": "tester"}]
    )
    await stop(backend)
    found = await archived(backend, db_id)
    directory = archive_dir / "alpha/4/711" / str(BASE)
    meta = json.loads((directory / "meta.json").read_bytes())
    # Everything is final before the file is written: footprint, energy, tags of every scope, submit time, memory.
    assert meta["footprint"] == {"cpu_load_avg": 2, "mem_used_max": 59, "flops_any_avg": 0}
    assert meta["energyFootprint"] == {"cpu_power": 0.03}  # 100 W a node × 2 nodes × 600 s
    assert meta["energy"] == 0.03
    assert [(t["type"], t["scope"], t["id"]) for t in meta["tags"]] == [("p", "tester", 0), ("t", "global", 0)]
    assert (meta["submitTime"], meta["requestedMemory"], meta["jobState"], meta["duration"]) == (BASE - 60, 100, "completed", 600)
    # mem_used came from one host only: the average is over the hosts that have data.
    assert meta["statistics"]["mem_used"] == {"unit": {"base": "B", "prefix": "G"}, "avg": 29.5, "min": 0, "max": 59}
    assert meta["statistics"]["cpu_load"]["avg"] == 2
    assert "flops_any" not in meta["statistics"]
    assert found["footprint"] == meta["footprint"]
    assert found["statistics"]["cpu_load"]["max"] == 3
    body = (await backend.call("GET", f"/api/jobs/metrics/{db_id}?metric=cpu_load&scope=node"))[1]
    series = body["data"]["jobMetrics"][0]["metric"]["series"]
    assert [s["hostname"] for s in series] == ["a001", "a002"]
    assert set(series[1]["data"]) <= {3.0, None}
    assert all("id" not in s for s in series)


async def test_same_job_archived_twice_is_the_same_bytes(backend, start_body, archive_dir):
    db_id = await job_with_data(backend, start_body)
    await stop(backend)
    await archived(backend, db_id)
    directory = archive_dir / "alpha/4/711" / str(BASE)
    first = {p.name: p.read_bytes() for p in directory.iterdir()}
    await backend.database.write(lambda conn: conn.execute(update(job_table).values(monitoring_status=1)))
    assert (await backend.parts["archiver"].run_once(int(time.time()))).done == 1
    again = {p.name: p.read_bytes() for p in directory.iterdir()}
    assert again == first


async def test_tags_and_metadata_of_an_archived_job(backend, start_body, archive_dir):
    db_id = await job_with_data(backend, start_body, metaData=None)
    await stop(backend)
    await archived(backend, db_id)
    assert (await backend.call("PATCH", f"/api/jobs/edit_meta/{db_id}", json={"key": "message", "value": "m"}))[0] == 200
    assert (await backend.call("POST", f"/api/jobs/tag_job/{db_id}", json=[{"type": "t", "name": "n"}]))[0] == 200
    meta = json.loads(next(archive_dir.glob("alpha/*/*/*/meta.json")).read_bytes())
    assert meta["metaData"] == {"message": "m"}
    assert [t["name"] for t in meta["tags"]] == ["n"]
    await backend.call("DELETE", "/api/tags/", json=[{"type": "t", "name": "n"}])
    assert "tags" not in json.loads(next(archive_dir.glob("alpha/*/*/*/meta.json")).read_bytes())


async def test_stopped_but_not_archived_jobs_take_tags(backend, start_body):
    """Pitfall: the request fails because there is no archive entry."""
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(monitoringStatus=0))
    await stop(backend, at=1_760_000_600)
    assert (await backend.call("POST", "/api/jobs/tag_job/1", json=[{"type": "t", "name": "n"}]))[0] == 200
    await asyncio.sleep(0.1)
    assert (await job(backend, 1)).get("monitoringStatus", 0) == 0  # disabled: never archived


async def test_no_data_is_a_failure_that_is_tried_again(backend, start_body):
    await backend.call("POST", "/api/jobs/start_job/", json=start_body())
    await stop(backend, at=1_760_000_600)
    archiver = backend.parts["archiver"]

    async def tried():
        return await backend.database.read(lambda conn: rows.same_job_rows(conn, 4711, "alpha")[0].archive_tries)

    await until(tried)
    now = int(time.time())
    assert (await archiver.run_once(now)).done == 0  # not before its time
    for n in range(1, len(PAUSES) + 1):
        assert (await job(backend, 1))["monitoringStatus"] == 1
        now += 4000
        assert (await archiver.run_once(now)).failed == 1, n
    assert (await job(backend, 1))["monitoringStatus"] == 2
    assert (await archiver.run_once(now + 10**6)).done == 0


async def test_nothing_is_archived_from_a_store_that_is_still_loading(backend, start_body):
    archiver, ready = backend.parts["archiver"], []
    archiver._ready = lambda: bool(ready)
    db_id = await job_with_data(backend, start_body)
    await stop(backend)
    await asyncio.sleep(0.2)
    assert (await job(backend, db_id))["monitoringStatus"] == 1
    ready.append(True)
    await archived(backend, db_id)


async def test_walltime(backend, start_body):
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(walltime=100))
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(jobId=2, walltime=None))
    woken = []
    worker = Walltime(backend.database, 50, 30, lambda: woken.append(1), make_log("test"))
    start = 1_760_000_000
    assert (await worker.run_once(start + 150)).done == 0
    assert (await worker.run_once(start + 151)).done == 1
    found = await job(backend, 1)
    # Pitfall: duration 0 falsifies statistics, and nothing is archived.
    assert (found["jobState"], found["duration"], found["monitoringStatus"], woken) == ("failed", 150, 1, [1])
    assert await backend.database.read(rows.next_archive_time) == start + 150 + 30


async def test_late_samples_are_in_the_archive(backend, start_body, archive_dir):
    """A collector delivers a few seconds after the stop: until the grace is over the job's data is the store's."""
    now = int(time.time())
    start = now // 10 * 10 - 100
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(startTime=start))
    await backend.call("POST", "/api/write", data=samples("cpu_load", "a001", [1.0] * 8, start=start))
    await stop(backend, at=now)
    worker = backend.parts["archiver"]
    assert (await worker.run_once(now + 29)).done == 0
    await backend.call("POST", "/api/write", data=samples("cpu_load", "a001", [5.0], start=start + 90))

    async def values():
        body = (await backend.call("GET", "/api/jobs/metrics/1?metric=cpu_load&scope=node"))[1]
        return body["data"]["jobMetrics"][0]["metric"]["series"][0]["data"]

    assert (await job(backend, 1))["monitoringStatus"] == 1
    assert (await values())[9] == 5.0
    assert (await worker.run_once(now + 31)).done == 1
    assert (await job(backend, 1))["monitoringStatus"] == 3
    assert (await values())[9] == 5.0


async def test_archiver_wakes_when_a_job_becomes_due(backend, start_body):
    db_id = await job_with_data(backend, start_body)
    await stop(backend, at=int(time.time()))

    def earlier(conn):
        conn.execute(update(job_table).values(archive_after=int(time.time()) + 2))

    await backend.database.write(earlier)
    backend.parts["archiver"].wake()
    await archived(backend, db_id)


async def test_stop_of_the_server_leaves_jobs_in_their_grace_to_the_next_start(start_backend, start_body):
    async with start_backend() as backend:
        db_id = await job_with_data(backend, start_body)
        await stop(backend, at=int(time.time()))
    async with start_backend() as backend:
        await asyncio.sleep(0.2)
        assert (await job(backend, db_id))["monitoringStatus"] == 1
        await backend.parts["archiver"].run_once(int(time.time()) + 31)
        assert (await job(backend, db_id))["monitoringStatus"] == 3


async def test_footprint_of_running_jobs(backend, start_body):
    db_id = await job_with_data(backend, start_body)
    dispatcher = backend.parts["archiver"]._dispatcher
    worker = Footprints(backend.database, backend.core.catalogue, dispatcher, 1, make_log("test"))
    assert (await worker.run_once(int(time.time()))).done == 1
    found = await job(backend, db_id)
    assert found["footprint"] == {"cpu_load_avg": 2, "mem_used_max": 59, "flops_any_avg": 0}


async def test_retention_spares_what_it_must(backend, start_body, archive_dir):
    db_id = await job_with_data(backend, start_body)
    await stop(backend)
    await archived(backend, db_id)
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(jobId=2))  # old, but running
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(jobId=3))
    await stop(backend, 3, 1_760_000_600)  # waits for the archiver
    pool = Pool("archive", 1)

    def worker(omit="none"):
        return Retention(backend.database, backend.core.archive, pool, age_days=1, omit_tagged=omit, include_db=True, log=make_log("test"))

    now = int(time.time())
    assert (await worker().run_once(now)).done == 0  # too young
    await backend.call("POST", f"/api/jobs/tag_job/{db_id}", json=[{"type": "t", "name": "n"}])
    assert (await worker("user").run_once(now + 2 * 86400)).done == 0
    assert (await worker().run_once(now + 2 * 86400)).done == 1
    left = (await backend.call("GET", "/api/jobs/"))[1]["jobs"]
    assert sorted(j["jobId"] for j in left) == [2, 3]
    assert list(backend.core.archive.keys()) == []
    pool.close(1)


@pytest.mark.slow
@pytest.mark.e2e
def test_kill_9_between_stop_and_archive_loses_no_job(tmp_path, archive_dir, start_body):
    """The real program, killed right after it has answered the stop; the next start archives the job."""
    static = tmp_path / "static"
    static.mkdir()
    (static / "manifest.json").write_text('{"src/main.ts": {"file": "page.js"}}')
    config = {
        "main": {"addr": "127.0.0.1:0", "db": "job.db", "embed-static-files": False, "static-files": str(static)},
        "archive": {"kind": "file", "path": str(archive_dir)},
        "metric-store": {"retention-in-memory": "48h", "memory-cap": 1, "checkpoints": {"directory": "checkpoints"}},
        "auth": {"jwts": {"max-age": "1h"}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    from ccdaemon.tokens import new_key_pair

    public, private = new_key_pair()
    env = {**os.environ, "JWT_PUBLIC_KEY": public, "JWT_PRIVATE_KEY": private, "NUMBA_DISABLE_JIT": "1"}
    program = [sys.executable, "-m", "cc_backend"]

    def run(*flags):
        return subprocess.run([*program, *flags], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    def serve():
        process = subprocess.Popen([*program, "-server", "-loglevel", "info"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if found := re.search(r"listening address=127\.0\.0\.1:(\d+)", line):
                return process, int(found[1])
        raise AssertionError("it did not start")

    def call(port, path, body):
        import urllib.request

        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status

    run("-migrate-db")
    token = re.search(r"for user 'demo': (\S+)", run("-add-user", "demo:api:secret", "-jwt", "demo"))[1]
    process, port = serve()
    jobs = range(1, 21)
    try:
        assert call(port, "/api/write", samples("cpu_load", "a001", [1.0] * 60)) == 200
        for n in jobs:
            assert call(port, "/api/jobs/start_job/", start_body(jobId=n, startTime=BASE)) == 201
        for n in jobs:
            assert call(port, "/api/jobs/stop_job/", {"jobId": n, "stopTime": BASE + 600}) == 200
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    process, port = serve()
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.closing(sqlite3.connect(tmp_path / "job.db")) as conn:
                states = conn.execute("SELECT monitoring_status, job_state, duration FROM job").fetchall()
            if states == [(3, "completed", 600)] * len(jobs):
                break
            assert time.monotonic() < end, states
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        process.stderr.close()
    assert code == 0
    from cc_backend.archive.file import FileArchive

    assert set(FileArchive(archive_dir).keys("alpha")) == {JobKey("alpha", n, BASE) for n in jobs}
    assert not (tmp_path / "job.db-wal").exists()  # a clean stop leaves one file


async def test_rebuild_from_the_archive_gives_the_same_rows(backend, start_body):
    """Pitfalls: private tags become global, `mem_used_max` becomes `mem_used_avg`, running jobs are lost."""
    from cc_backend.jobs.importer import rebuild

    db_id = await job_with_data(backend, start_body)
    await backend.call("POST", f"/api/jobs/tag_job/{db_id}", json=[{"type": "p", "name": "q", "scope": "tester"}])
    await stop(backend)
    before = await archived(backend, db_id)
    await backend.call("POST", "/api/jobs/start_job/", json=start_body(jobId=2))
    backend.core.archive.write(JobKey("alpha", 9, 9), b'{"jobId":9}', b"{}")  # broken: told, and left out
    core, failures = backend.core, []
    count = await backend.database.write(
        lambda conn: rebuild(conn, core.archive, core.catalogue, 0, lambda key, reason: failures.append(key.job_id), lambda n: None)
    )
    assert (count, failures) == (1, [9])
    jobs = {j["jobId"]: j for j in (await backend.call("GET", "/api/jobs/?with-metadata=1"))[1]["jobs"]}
    assert set(jobs) == {2, 4711}
    changing = {"id", "tags"}
    assert {k: v for k, v in jobs[4711].items() if k not in changing} == {k: v for k, v in before.items() if k not in changing}
    assert jobs[4711]["id"] != db_id  # ids are not given again
    assert [(t["type"], t["scope"]) for t in jobs[4711]["tags"]] == [("p", "tester")]


async def test_archive_of_the_reference_is_read(tmp_path):
    """The fixture archive (version 3, two jobs of emmy): clusters load where their files allow it, jobs become rows."""
    from pathlib import Path

    source = Path(__file__).parents[4] / "shared/data/job-archive/archive-v3"
    if not source.is_dir():
        pytest.skip("the fixtures are not here")
    from cc_backend.archive.file import FileArchive
    from cc_backend.clusters import Catalogue
    from cc_backend.jobs.importer import row_of
    from ccschema.archive import decode_data, decode_meta, encode_data

    archive = FileArchive(source)
    catalogue = Catalogue(archive.clusters(), make_log("test"))
    assert catalogue.names() == ["alex", "emmy", "fritz"]
    keys = sorted(archive.keys())
    assert len(keys) == 2
    for key in keys:
        job = row_of(decode_meta(archive.read_meta(key)), catalogue)
        assert (job.cluster, job.job_id, job.start_time) == key
        data = decode_data(archive.read_data(key))
        assert len(data) == 9
        assert decode_data(encode_data(data)) == data


async def test_restricted_metrics_are_in_no_answer_of_rest(start_backend, start_body, archive_dir):
    """Statistics, footprint and energy of a job tell values of its metrics too."""
    path = archive_dir / "alpha" / "cluster.json"
    document = json.loads(path.read_bytes())
    for metric in document["metricConfig"]:
        metric["restrict"] = metric["name"] in ("mem_used", "cpu_power")
    path.write_text(json.dumps(document))
    async with start_backend() as backend:
        db_id = await job_with_data(backend, start_body)
        await stop(backend)
        await archived(backend, db_id)
        whole = (await backend.call("GET", f"/api/jobs/{db_id}"))[1]["Meta"]
        assert {"mem_used", "cpu_power"} <= whole["statistics"].keys() and whole["energyFootprint"]
        for path in (f"/userapi/jobs/{db_id}", f"/userapi/jobs/{db_id}?all-metrics=true", "/userapi/jobs/"):
            status, body, _ = await backend.call("GET", path, roles=("user", "api"), name="anna")
            assert status == 200
            assert "cpu_load" in str(body) and "mem_used" not in str(body) and "cpu_power" not in str(body)
