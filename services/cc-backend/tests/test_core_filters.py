"""Job filters in SQL (graphql 7.1, jobs-and-archive 11): every field, the range rule, rights, injection."""

from __future__ import annotations

import msgspec
import pytest
from cc_backend.access import SYSTEM, Identity, Role, visibility
from cc_backend.db import jobs as rows
from cc_backend.db import schema, tags
from cc_backend.db.database import Database
from cc_backend.jobs.filters import JobFilter, Order, Page, count_jobs, find_jobs
from ccdaemon.errors import InputError
from ccschema.jobs import Job, Resource

T = 1_760_000_000
NOW = T + 100_000
ALL = Page(items=-1)
EVIL = ["' OR 1=1 --", "x'; DROP TABLE job; --", '" OR ""="', "none' OR '1'='1", "\\", "%", "_%", "\0", "é" * 300]


def job(n, **changes):
    values = {
        "job_id": 1000 + n, "cluster": "alpha", "sub_cluster": "main", "user": f"user{n}", "project": "p1", "partition": "batch",
        "shared": "none", "job_state": "completed", "num_nodes": n + 1, "num_hwthreads": 10 * n, "num_acc": n % 2, "smt": 1,
        "monitoring_status": 3, "start_time": T + n * 1000, "duration": 100 * (n + 1), "energy": n / 2, "array_job_id": 7 if n == 3 else 0,
        "resources": [Resource(hostname=f"a{n:03}"), Resource(hostname=f"b{n:03}")], "meta_data": {"jobName": f"Name {n}"},
        "footprint": {"cpu_load_avg": float(n), "MemBw_max": 5.0 - n},
    }  # fmt: skip
    return Job(**{**values, **changes})


JOBS = [
    job(0),
    job(1, shared="multi_user", project="p2", meta_data={"jobName": "interactive"}),
    job(2, cluster="beta", sub_cluster="all", partition="", meta_data=None, job_state="running"),
    job(3, user="100%_sure", footprint={}),
    job(4, job_state="failed", meta_data={"other": "x"}),
]


@pytest.fixture
def conn(tmp_path):
    schema.upgrade(tmp_path / "job.db")
    db = Database(tmp_path / "job.db")

    def fill(conn):
        for each in JOBS:
            rows.insert_job(conn, each)
        for job_id, type_, scope in ((1, "a", "global"), (1, "b", "global"), (2, "c", "admin"), (3, "d", "anna"), (4, "e", "ben")):
            tags.attach(conn, job_id, tags.ensure_tag(conn, type_, "x", scope, 0), 0)

    db.write_now(fill)
    with db._reader.connect() as conn:
        yield conn
    db.close()


def found(conn, *filters, who=SYSTEM, order=None, page=ALL):
    where = [msgspec.convert(f, JobFilter) for f in filters]
    ids = [j.id - 1 for j in find_jobs(conn, visibility(who), where, order, page, now=NOW).jobs]
    if page is ALL and order is None:
        assert count_jobs(conn, visibility(who), where, now=NOW) == len(ids)
    return ids


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"dbId": [1, 3]}, [0, 2]),
        ({"dbId": []}, []),
        ({"state": []}, []),
        ({"tags": []}, []),
        ({"user": {"in": []}}, []),
        ({"jobId": {"eq": "1003"}}, [3]),
        ({"jobId": {"contains": "00"}}, [0, 1, 2, 3, 4]),
        ({"jobId": {"endsWith": "4"}}, [4]),
        ({"arrayJobId": 7}, [3]),
        ({"user": {"eq": "USER1"}}, []),
        ({"user": {"startsWith": "USER"}}, [0, 1, 2, 4]),
        ({"user": {"contains": "%"}}, [3]),  # pitfall: wildcards
        ({"user": {"contains": "0%_s"}}, [3]),
        ({"user": {"contains": "_"}}, [3]),
        ({"user": {"neq": "user1"}}, [0, 2, 3, 4]),
        ({"user": {"in": ["user0", "user4", "zz"]}}, [0, 4]),
        ({"user": {"eq": "user0", "neq": "user0", "in": ["user1"]}}, [0]),  # the first present counts
        ({"user": {}}, [0, 1, 2, 3, 4]),
        ({"project": {"eq": "p2"}}, [1]),
        ({"cluster": {"eq": "beta"}}, [2]),
        ({"subCluster": {"eq": "all"}}, [2]),
        ({"partition": {"eq": "batch"}}, [0, 1, 3, 4]),
        ({"jobName": {"contains": "NAME"}}, [0, 3]),
        ({"jobName": {"eq": "Name 3"}}, [3]),
        ({"jobName": {"in": ["Name 3"]}}, [0, 1, 2, 3, 4]),  # has no effect there
        ({"state": ["running", "failed"]}, [2, 4]),
        ({"shared": "multi_user"}, [1]),
        ({"schedule": "interactive"}, [1]),
        ({"schedule": "batch"}, [0, 2, 3, 4]),  # pitfall: jobs without a name drop out
        ({"schedule": "other"}, [0, 1, 2, 3, 4]),
        ({"duration": {"from": 200, "to": 300}}, [1, 2]),
        ({"duration": {"from": 300, "to": 0}}, [2, 3, 4]),
        ({"duration": {"from": 0, "to": 200}}, [0, 1]),
        ({"duration": {"from": 0, "to": 0}}, [0, 1, 2, 3, 4]),
        ({"duration": {"from": -5, "to": 200}}, [0, 1, 2, 3, 4]),
        ({"numNodes": {"from": 5, "to": 9}}, [4]),
        ({"numHWThreads": {"from": 1, "to": 10}}, [1]),
        ({"numAccelerators": {"from": 1, "to": 1}}, [1, 3]),
        ({"energy": {"from": 0.5, "to": 1.5}}, [1, 2, 3]),
        ({"startTime": {"from": T + 1000, "to": T + 2000}}, [1, 2]),
        ({"startTime": {"from": T + 3000}}, [3, 4]),
        ({"startTime": {"to": T}}, [0]),
        ({"startTime": {"range": "last24h"}}, []),
        ({"startTime": {"range": "last7d"}}, [0, 1, 2, 3, 4]),
        ({"startTime": {"range": "always"}}, [0, 1, 2, 3, 4]),
        ({"node": {"eq": "a001"}}, [1]),
        ({"node": {"startsWith": "B00"}}, [0, 1, 2, 3, 4]),  # pitfall: an SQL error
        ({"node": {"neq": "a001"}}, [0, 1, 2, 3, 4]),  # at least one host has another name
        ({"node": {"in": ["a001"]}}, [0, 1, 2, 3, 4]),
        ({"metricStats": [{"metricName": "cpu_load_avg", "range": {"from": 1, "to": 2}}]}, [1, 2]),
        ({"metricStats": [{"metricName": "MemBw_max", "range": {"from": 4, "to": 0}}]}, [0, 1]),
        ({"metricStats": [{"metricName": "cpu_load_avg", "range": {"from": 0, "to": 0}}]}, [0, 1, 2, 4]),
        ({"metricStats": [{"metricName": "x-y", "range": {"from": 1, "to": 2}}]}, []),
    ],
)
def test_field(conn, where, ids):
    assert found(conn, where) == ids


def test_objects_and_fields_all_hold(conn):
    assert found(conn, {"cluster": {"eq": "alpha"}}, {"state": ["completed"], "project": {"eq": "p1"}}) == [0, 3]


def test_tags_are_counted_once_and_only_readable(conn):
    ids = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    anna = Identity(username="anna", roles=frozenset({Role.SUPPORT}))
    assert found(conn, {"tags": [ids["a"], ids["b"]]}, who=anna) == [0]
    assert found(conn, {"tags": [ids["a"]]}, {"tags": [ids["b"]]}, who=anna) == [0]  # pitfall: an SQL error
    assert found(conn, {"tags": [ids["c"], ids["d"], ids["e"]]}, who=anna) == [1, 2]  # ben's private tag is none of hers


def test_row_rule(conn):
    def who(*roles, name="user1", projects=()):
        return Identity(username=name, roles=frozenset(map(Role, roles)), projects=frozenset(projects))

    assert found(conn, {}, who=who("user")) == [1]
    assert found(conn, {}, who=who("user", "api")) == [1]
    assert found(conn, {}, who=who("manager", projects=["p1"])) == [0, 1, 2, 3, 4]
    assert found(conn, {}, who=who("manager", name="user0", projects=["p2"])) == [0, 1]
    assert found(conn, {}, who=who("manager")) == [1]
    assert found(conn, {}, who=who("user", projects=["p1"])) == [1]
    for roles in (("api",), ("support",), ("admin",)):
        assert found(conn, {}, who=who(*roles)) == [0, 1, 2, 3, 4]
    see = visibility(who("user"))
    assert rows.job_by_id(conn, see, 2, now=NOW) is not None
    assert rows.job_by_id(conn, see, 1, now=NOW) is None


@pytest.mark.parametrize("evil", EVIL)
def test_injection(conn, evil):
    """No text of a filter is SQL, and none widens what the caller sees."""
    who = Identity(username="user1", roles=frozenset({Role.USER}))
    for field in ("jobId", "user", "project", "cluster", "subCluster", "partition", "jobName", "node"):
        for member in ("eq", "neq", "startsWith", "endsWith", "contains", "in"):
            value = [evil] if member == "in" else evil
            assert set(found(conn, {field: {member: value}}, who=who)) <= {1}, (field, member)
    for field in ("shared", "state"):  # pitfall (critical): `shared` was put into the statement as it came
        with pytest.raises(InputError):
            found(conn, {field: evil if field == "shared" else [evil]}, who=who)
    assert set(found(conn, {"schedule": evil}, {"startTime": {"range": evil}}, who=who)) <= {1}
    assert found(conn, {"metricStats": [{"metricName": evil, "range": {"from": 1, "to": 2}}]}, who=who) == []
    for kind in ("col", "foot"):
        with pytest.raises(InputError):
            found(conn, {}, order=Order(field=evil, type=kind))
    assert found(conn, {}) == [0, 1, 2, 3, 4]
    evil_who = Identity(username=evil, roles=frozenset({Role.MANAGER}), projects=frozenset({evil}))
    assert found(conn, {}, who=evil_who) == []


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        (None, [0, 1, 2, 3, 4]),
        (Order("startTime", order="DESC"), [4, 3, 2, 1, 0]),
        (Order("start_time"), [0, 1, 2, 3, 4]),
        (Order("numHwthreads", order="DESC"), [4, 3, 2, 1, 0]),
        (Order("numHWThreads", order="DESC"), [4, 3, 2, 1, 0]),
        (Order("project", order="DESC"), [1, 4, 3, 2, 0]),  # ties by id
        (Order("cpu_load_avg", "foot", "DESC"), [4, 2, 1, 0]),
        (Order("MemBw_max", "foot"), [4, 2, 1, 0]),  # pitfall: keys with capitals cannot be sorted
        (Order("nothing_avg", "foot"), [0, 1, 2, 4]),
    ],
)
def test_order(conn, order, ids):
    assert found(conn, {}, order=order) == ids


def test_pages(conn):
    order = Order("project")
    pages = [find_jobs(conn, visibility(SYSTEM), [], order, Page(items=2, page=n), now=NOW) for n in (0, 1, 2, 3, 4)]
    assert [[j.id - 1 for j in p.jobs] for p in pages] == [[0, 2], [0, 2], [3, 4], [1], []]
    assert [p.has_next for p in pages] == [True, True, True, False, False]
    assert not find_jobs(conn, visibility(SYSTEM), [], order, ALL, now=NOW).has_next
    for items in (0, -2):
        with pytest.raises(InputError):
            find_jobs(conn, visibility(SYSTEM), [], None, Page(items=items), now=NOW)


def test_what_comes_back_is_what_went_in(conn):
    for n, each in enumerate(JOBS):
        got = rows.job_by_id(conn, visibility(SYSTEM), n + 1, now=NOW)
        wanted = msgspec.structs.replace(each, id=n + 1, meta_data=each.meta_data, energy_footprint={})
        if each.job_state == "running":
            wanted = msgspec.structs.replace(wanted, duration=NOW - each.start_time)
        assert got == wanted


def test_ranges_of_start_time_use_the_index(conn):
    """A million jobs: the default list must not sort the table."""
    from cc_backend.jobs.filters import NEWEST_FIRST, _ordered, condition
    from sqlalchemy.dialects import sqlite

    query = _ordered(rows.select_jobs(metadata=False).where(condition(visibility(SYSTEM), [], NOW)), NEWEST_FIRST).limit(26)
    text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    steps = " / ".join(row[3] for row in conn.exec_driver_sql("EXPLAIN QUERY PLAN " + text))
    assert "TEMP B-TREE" not in steps, steps
