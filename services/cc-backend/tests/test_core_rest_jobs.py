"""REST of jobs on a real socket: start, stop, list, one job, tags, metadata, deletion (backend-api 8)."""

from __future__ import annotations

import asyncio

import pytest

pytestmark = pytest.mark.slow  # as a whole: many small servers or subprocesses

T = 1_760_000_000
START, STOP, JOBS = "/api/jobs/start_job/", "/api/jobs/stop_job/", "/api/jobs/"


async def start(backend, body, **kwargs):
    return await backend.call("POST", START, json=body, **kwargs)


async def listed(backend, query="", **kwargs):
    status, body, _ = await backend.call("GET", JOBS + query, **kwargs)
    assert status == 200, body
    return body["jobs"]


class TestStart:
    async def test_example(self, backend, start_body):
        status, body, response = await start(backend, start_body())
        assert (status, body) == (201, {"msg": "success"})
        assert response.content_type == "application/json"
        (job,) = await listed(backend)
        assert job["subCluster"] == "main"
        assert job["jobState"] == "running"
        assert job["monitoringStatus"] == 1
        assert job["shared"] == "none"
        assert job["resources"] == [{"hostname": "a001", "hwthreads": [0, 1]}]
        assert job["metaData"] is None

    async def test_same_again_is_422(self, backend, start_body):
        await start(backend, start_body())
        status, body, _ = await start(backend, start_body())
        assert status == 422
        assert body["error"].startswith("a job with that jobId, cluster and startTime already exists: dbid: 1, jobid: 4711")

    async def test_many_at_once_become_one_job(self, backend, start_body):
        answers = await asyncio.gather(*(start(backend, start_body()) for _ in range(10)))
        assert sorted(status for status, _, _ in answers) == [201] + [422] * 9
        assert len(await listed(backend)) == 1

    async def test_next_attempt_after_the_stop_is_a_job(self, backend, start_body):
        await start(backend, start_body())
        await backend.call("POST", STOP, json={"jobId": 4711, "cluster": "alpha", "startTime": T, "stopTime": T + 100})
        status, _, _ = await start(backend, start_body(startTime=T + 100))
        assert status == 201

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"cluster": "nope"}, "no such cluster: nope"),
            ({"jobId": None}, "'jobId' and 'startTime'"),
            ({"startTime": None}, "'jobId' and 'startTime'"),
            ({"resources": []}, "job without any resources/hosts"),
            ({"numNodes": 3}, "len(resources) does not equal numNodes (1 vs 3)"),
            ({"shared": "x"}, "shared must be one of"),
            ({"monitoringStatus": 9}, "monitoringStatus"),
            ({"unknownKey": 1}, "parsing request body failed: "),
            ({"jobId": "12"}, "parsing request body failed: "),
            ({"jobId": 1.5}, "parsing request body failed: "),
            ({"jobId": 2**70}, ""),
            ({"walltime": 2**63}, ""),
            ({"exclusive": 7}, "parsing request body failed: "),
            ({"exclusive": 1, "shared": "none"}, "parsing request body failed: "),
        ],
    )
    async def test_bad_request(self, backend, start_body, changes, says):
        status, body, _ = await start(backend, start_body(**changes))
        assert status == 400, body
        assert says in body["error"]
        assert await listed(backend) == []

    @pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
    async def test_rubbish(self, backend, raw):
        status, body, _ = await backend.call("POST", START, data=raw)
        assert status == 400
        assert body["error"].startswith("parsing request body failed: ")

    @pytest.mark.parametrize(("exclusive", "shared"), [(0, "multi_user"), (1, "none"), (2, "single_user"), (3, "multi_user")])
    async def test_cc_slurm_sync(self, backend, start_body, exclusive, shared):
        body = start_body(exclusive=exclusive)
        body["metadata"] = body.pop("metaData")  # lower case, as it sends it
        status, _, _ = await start(backend, body)
        assert status == 201
        (job,) = await listed(backend, "?with-metadata=true")
        assert job["shared"] == shared
        assert job["metaData"] == {"jobName": "test"}

    async def test_condor_sends_large_ids(self, backend, start_body):
        status, _, _ = await start(backend, start_body(jobId=123 * 2**32 + 7 * 4 + 1, arrayJobId=1231, walltime=None, exclusive=1))
        assert status == 201

    async def test_tags_and_memory_are_kept(self, backend, start_body):
        tags = [{"type": "t", "name": "n", "scope": ""}]
        status, _, _ = await start(backend, start_body(tags=tags, submitTime=T - 10, requestedMemory=5000, smt=4))
        assert status == 201
        (job,) = await listed(backend)
        assert [(t["type"], t["name"], t["scope"]) for t in job["tags"]] == [("t", "n", "global")]
        assert (job["submitTime"], job["requestedMemory"], job["smt"]) == (T - 10, 5000, 4)

    async def test_sql_in_every_text(self, backend, start_body):
        evil = "x'; DROP TABLE job; --"
        body = start_body(
            user=evil,
            project=evil,
            partition=evil,
            metaData={"jobName": evil, evil: evil},
            resources=[{"hostname": "a001", "configuration": evil}],
        )
        assert (await start(backend, body))[0] == 201
        (job,) = await listed(backend, "?with-metadata=1")
        assert job["user"] == job["project"] == evil
        assert job["metaData"][evil] == evil


class TestStop:
    @pytest.fixture
    async def running(self, backend, start_body):
        await start(backend, start_body())

    async def stop(self, backend, **body):
        return await backend.call("POST", STOP, json=body)

    @pytest.mark.parametrize(
        "key",
        [
            {"jobId": 4711},
            {"jobId": 4711, "cluster": "alpha"},
            {"jobId": 4711, "startTime": T},
            {"jobId": 4711, "cluster": "alpha", "startTime": T},
        ],
    )
    async def test_forms(self, backend, running, key):
        status, job, _ = await self.stop(backend, **key, stopTime=T + 90, jobState="failed")
        assert status == 200
        assert (job["jobState"], job["duration"], job["id"], job["metaData"]) == ("failed", 90, 1, None)

    async def test_without_state_is_completed(self, backend, running):
        assert (await self.stop(backend, jobId=4711, stopTime=T))[1]["jobState"] == "completed"

    async def test_again_is_422(self, backend, running):
        await self.stop(backend, jobId=4711, stopTime=T + 5)
        status, body, _ = await self.stop(backend, jobId=4711, stopTime=T + 9)
        assert status == 422
        assert "job has already been stopped (state is: completed)" in body["error"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"stopTime": T + 5}, 400),
            ({"jobId": 1, "stopTime": T + 5}, 404),
            ({"jobId": 2**70, "stopTime": T + 5}, 400),
            ({"jobId": 4711, "cluster": "beta", "stopTime": T + 5}, 404),
            ({"jobId": 4711, "startTime": T + 1, "stopTime": T + 5}, 404),
            ({"jobId": 4711, "stopTime": T - 1}, 400),
            ({"jobId": 4711}, 400),
            ({"jobId": 4711, "stopTime": T + 5, "jobState": "running"}, 400),
            ({"jobId": 4711, "stopTime": T + 5, "x": 1}, 400),
        ],
    )
    async def test_refused(self, backend, running, body, status):
        assert (await self.stop(backend, **body))[0] in ({status, 404} if body.get("jobId") == 2**70 else {status})
        assert (await listed(backend))[0]["jobState"] == "running"

    async def test_never_another_job(self, backend, start_body):
        """Pitfall: equal ids of two clusters are confused."""
        await start(backend, start_body())
        await start(backend, start_body(cluster="beta", resources=[{"hostname": "b1"}]))
        assert (await self.stop(backend, jobId=4711, stopTime=T + 5))[0] == 400
        assert (await self.stop(backend, jobId=4711, cluster="beta", stopTime=T + 5))[0] == 200
        states = {job["cluster"]: job["jobState"] for job in await listed(backend)}
        assert states == {"alpha": "running", "beta": "completed"}

    async def test_by_id_is_gone(self, backend, running):
        assert (await backend.call("POST", "/api/jobs/stop_job/1", json={}))[0] in (404, 405)


class TestList:
    @pytest.fixture
    async def jobs(self, backend, start_body):
        for n in range(5):
            await start(backend, start_body(jobId=100 + n, startTime=T + n * 100, user=f"u{n % 2}", project="p" if n else "q"))
        await backend.call("POST", STOP, json={"jobId": 100, "stopTime": T + 50})

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            ("", [104, 103, 102, 101, 100]),
            ("?items-per-page=2", [104, 103]),
            ("?items-per-page=2&page=3", [100]),
            ("?page=9", []),
            ("?state=running&items-per-page=9999999&page=1&with-metadata=false", [104, 103, 102, 101]),
            ("?state=completed", [100]),
            ("?state=completed&state=running", [104, 103, 102, 101, 100]),
            ("?cluster=beta", []),
            ("?project=q", [100]),
            (f"?start-time={T + 100}-{T + 200}", [102, 101]),
            ("?project=%27%20OR%201=1%20--", []),
        ],
    )
    async def test_query(self, backend, jobs, query, ids):
        assert [job["jobId"] for job in await listed(backend, query)] == ids

    @pytest.mark.parametrize(
        "query",
        ["?user=u1", "?state=stopped", "?state=", "?items-per-page=0", "?items-per-page=-1", "?page=0", "?page=x", "?start-time=5", "?start-time=a-b",
         "?start-time=1-99999999999999999999", "?items_per_page=5", "?page=99999999999999999999999", "?startTime[from]=1"],
    )  # fmt: skip
    async def test_bad_query(self, backend, query):
        assert (await backend.call("GET", JOBS + query))[0] == 400

    async def test_page_of_the_request(self, backend, jobs):
        body = (await backend.call("GET", JOBS + "?items-per-page=2&page=2"))[1]
        assert (body["items"], body["page"], len(body["jobs"])) == (2, 2, 2)

    async def test_metadata_only_where_asked_for(self, backend, jobs):
        assert (await listed(backend, "?with-metadata=false"))[0]["metaData"] is None  # pitfall: the value counts
        assert (await listed(backend, "?with-metadata=0"))[0]["metaData"] is None
        assert (await listed(backend, "?with-metadata"))[0]["metaData"] == {"jobName": "test"}

    async def test_visibility(self, backend, jobs):
        async def seen(*roles, name):
            body = (await backend.call("GET", "/userapi/jobs/", roles=roles, name=name))[1]
            return [job["jobId"] for job in body["jobs"]]

        assert await seen("user", "api", name="u1") == [103, 101]
        assert await seen("manager", "api", name="u0") == [104, 102, 100]  # a token has no projects
        assert await seen("support", "api", name="x") == [104, 103, 102, 101, 100]
        assert await seen("api", name="x") == [104, 103, 102, 101, 100]


class TestOneJob:
    @pytest.fixture(autouse=True)
    async def one(self, backend, start_body):
        await start(backend, start_body(metaData={"jobName": "<b>&</b>"}))

    async def test_meta(self, backend):
        status, body, _ = await backend.call("GET", "/api/jobs/1")
        assert status == 200
        assert body["Meta"]["jobId"] == 4711
        assert body["Meta"]["metaData"] == {"jobName": "<b>&</b>"}
        assert body["Data"] is None

    async def test_html_is_escaped(self, backend):
        async with backend.http.get(f"{backend.url}/api/jobs/1", headers={"Authorization": f"Bearer {backend.token('api')}"}) as response:
            text = await response.text()
        assert "<b>" not in text
        assert "\\u003cb\\u003e\\u0026" in text

    @pytest.mark.parametrize(
        ("id_", "status"), [("2", 404), ("x", 400), ("0", 404), ("-1", 404), ("99999999999999999999999", 404), ("1%27", 400)]
    )
    async def test_no_such_job(self, backend, id_, status):
        """Unknown and invisible jobs answer alike."""
        assert (await backend.call("GET", f"/api/jobs/{id_}"))[0] == status

    async def test_invisible_is_unknown(self, backend):
        mine = await backend.call("GET", "/userapi/jobs/1", roles=("user", "api"), name="ben")
        none = await backend.call("GET", "/userapi/jobs/2", roles=("user", "api"), name="ben")
        assert mine[:2] == none[:2]
        assert mine[0] == 404
        assert (await backend.call("GET", "/userapi/jobs/1", roles=("user", "api"), name="anna"))[0] == 200

    async def test_metrics_of_live_job(self, backend, start_body):
        import time

        now = int(time.time())
        await start(backend, start_body(jobId=5, startTime=now - 100))
        lines = "".join(f"cpu_load,cluster=alpha,hostname=a001,type=node value={n} {now - 100 + n * 10}\n" for n in range(10))
        assert (await backend.call("POST", "/api/write", data=lines))[0] == 200
        status, body, _ = await backend.call("GET", "/api/jobs/metrics/2?metric=cpu_load")
        assert status == 200, body
        (entry,) = body["data"]["jobMetrics"]
        assert (entry["name"], entry["scope"], entry["metric"]["timestep"]) == ("cpu_load", "node", 10)
        assert [v for v in entry["metric"]["series"][0]["data"] if v is not None][:3] == [0.0, 1.0, 2.0]
        body = (await backend.call("GET", "/api/jobs/2?all-metrics=true"))[1]
        assert body["Data"]["cpu_load"]["node"]["series"][0]["hostname"] == "a001"
        body = (await backend.call("POST", "/api/jobs/2", json=["cpu_load"]))[1]
        assert [(m["name"], m["scope"]) for m in body["Data"]] == [("cpu_load", "node")]
        assert (await backend.call("POST", "/api/jobs/2", json=[]))[1]["Data"] == []
        assert (await backend.call("POST", "/api/jobs/2", data=b"{"))[0] == 400

    async def test_metrics_errors(self, backend):
        assert (await backend.call("GET", "/api/jobs/metrics/1?scope=galaxy"))[0] == 400
        status, body, _ = await backend.call("GET", "/api/jobs/metrics/77")
        assert status == 404
        assert body == {"data": None, "error": {"message": "no such job"}}


class TestTags:
    @pytest.fixture(autouse=True)
    async def one(self, backend, start_body):
        await start(backend, start_body())

    async def test_add_twice_is_once(self, backend):
        for _ in range(2):  # pitfall: the second is a database error
            status, job, _ = await backend.call("POST", "/api/jobs/tag_job/1", json=[{"type": "t", "name": "n"}])
            assert status == 200
        assert [(t["type"], t["name"], t["scope"]) for t in job["tags"]] == [("t", "n", "global")]

    async def test_rights(self, backend):
        private = [{"type": "t", "name": "n", "scope": "ben"}]
        assert (await backend.call("POST", "/api/jobs/tag_job/1", json=private))[0] == 403
        own = [{"type": "t", "name": "n", "scope": "tester"}]
        assert (await backend.call("POST", "/api/jobs/tag_job/1", json=own))[0] == 200
        assert (await backend.call("POST", "/api/jobs/tag_job/1", json=[{"type": "t", "name": "n"}]))[0] == 200  # unique with its scope
        (job,) = await listed(backend, roles=("api",), name="ben")
        assert [t["scope"] for t in job["tags"]] == ["global"]

    @pytest.mark.parametrize(
        "body", [[{"type": "", "name": "n"}], [{"type": "t"}], [{"type": "t", "name": "n", "id": 4}], {"type": "t"}, "x"]
    )
    async def test_bad_body(self, backend, body):
        assert (await backend.call("POST", "/api/jobs/tag_job/1", json=body))[0] == 400

    async def test_remove_and_delete(self, backend):
        tags = [{"type": "t", "name": "n"}, {"type": "u", "name": "m"}]
        await backend.call("POST", "/api/jobs/tag_job/1", json=tags)
        status, job, _ = await backend.call("DELETE", "/api/jobs/tag_job/1", json=tags[:1])
        assert status == 200
        assert [t["type"] for t in job["tags"]] == ["u"]
        assert (await backend.call("DELETE", "/api/jobs/tag_job/1", json=[{"type": "x", "name": "y"}]))[0] == 404
        status, text, _ = await backend.call("DELETE", "/api/tags/", json=tags)
        assert (status, text) == (200, "Deleted Tags from DB: 2 successfull of 2 requested\n")
        assert "tags" not in (await listed(backend))[0]

    async def test_unknown_job(self, backend):
        assert (await backend.call("POST", "/api/jobs/tag_job/9", json=[{"type": "t", "name": "n"}]))[0] == 404
        assert (await backend.call("POST", "/api/jobs/tag_job/x", json=[]))[0] == 400


class TestEditAndDelete:
    @pytest.fixture(autouse=True)
    async def one(self, backend, start_body):
        await start(backend, start_body(metaData=None))

    async def test_edit(self, backend):
        status, job, _ = await backend.call("PATCH", "/api/jobs/edit_meta/1", json={"key": "jobName", "value": "new"})
        assert (status, job["metaData"]) == (200, {"jobName": "new"})
        body = {"jobId": 4711, "cluster": "alpha", "payload": {"key": "k", "value": "v"}}
        assert (await backend.call("PATCH", "/api/jobs/edit_meta/", json=body))[1]["metaData"] == {"jobName": "new", "k": "v"}
        assert (await backend.call("PATCH", "/api/jobs/edit_meta/", json={"jobId": 1, "payload": {"key": "k", "value": "v"}}))[0] == 404
        assert (await backend.call("PATCH", "/api/jobs/edit_meta/", json={"payload": {"key": "k", "value": "v"}}))[0] == 400
        assert (await backend.call("PATCH", "/api/jobs/edit_meta/7", json={"key": "k", "value": "v"}))[0] == 404
        assert (await backend.call("PATCH", "/api/jobs/edit_meta/1", json={"k": "v"}))[0] == 400

    async def test_delete(self, backend):
        assert (await backend.call("DELETE", "/api/jobs/delete_job/1"))[:2] == (200, {"msg": "Successfully deleted job 1"})
        assert (await backend.call("DELETE", "/api/jobs/delete_job/1"))[0] == 404  # pitfall: unknown ids are reported as success
        assert (await backend.call("DELETE", "/api/jobs/delete_job/", json={"jobId": 4711}))[0] == 404

    async def test_delete_before_spares_running_jobs(self, backend):
        assert (await backend.call("DELETE", f"/api/jobs/delete_job_before/{T + 9}"))[1] == {"msg": "Successfully deleted 0 jobs"}
        assert (await backend.call("DELETE", "/api/jobs/delete_job_before/x"))[0] == 400
        assert (await backend.call("DELETE", f"/api/jobs/delete_job_before/{T + 9}?omit-tagged=x"))[0] == 400
        answer = await backend.call("DELETE", f"/api/jobs/delete_job_before/{T + 9}?include-running=true")
        assert answer[1] == {"msg": "Successfully deleted 1 jobs"}


async def test_used_nodes_and_clusters(backend, start_body):
    await start(backend, start_body(numNodes=2, resources=[{"hostname": "a002"}, {"hostname": "a001"}]))
    assert (await backend.call("GET", f"/api/jobs/used_nodes?ts={T + 1}"))[1] == {"usedNodes": {"alpha": ["a001", "a002"]}}
    assert (await backend.call("GET", f"/api/jobs/used_nodes?ts={T}"))[1] == {"usedNodes": {}}
    assert (await backend.call("GET", "/api/jobs/used_nodes"))[0] == 400
    body = (await backend.call("GET", "/api/clusters/"))[1]
    assert [cluster["name"] for cluster in body["clusters"]] == ["alpha", "beta"]
    assert body["clusters"][0]["subClusters"][0]["footprint"] == ["cpu_load", "mem_used", "flops_any"]
    assert (await backend.call("GET", "/api/clusters/?cluster=nope"))[0] == 400
