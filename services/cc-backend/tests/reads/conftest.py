"""A small site for everything that reads: clusters with shared nodes and accelerators, a store with data, jobs of several people."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cc_backend.access import Identity, roles_of
from cc_backend.archive.file import FileArchive
from cc_backend.auth.middleware import WHO
from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as rows
from cc_backend.db import schema, tags, users
from cc_backend.db.database import Database
from cc_backend.graphql import transport
from cc_backend.metrics.dispatch import Dispatcher, Resampling
from cc_backend.metrics.internal import InternalSource
from ccdaemon.executors import Pool
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log
from ccschema.jobs import Job, Resource
from ccstore.server.config import Checkpoints, StoreConfig
from ccstore.server.store import Store

START = 1_760_000_000
STEP = 10
SAMPLES = 60
GPU = "00000000:49:00.0"


def _metric(name, scope="node", **more):
    return {"name": name, "unit": {"base": "W"}, "scope": scope, "aggregation": "sum", "timestep": STEP, "peak": 100, "normal": 50,
            "caution": 20, "alert": 10, **more}  # fmt: skip


def _sub(name, nodes, **more):
    rate = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    return {
        "name": name, "nodes": nodes, "processorType": "test", "socketsPerNode": 2, "coresPerSocket": 2, "threadsPerCore": 2,
        "flopRateScalar": rate, "flopRateSimd": rate, "memoryBandwidth": rate,
        "topology": {"node": list(range(8)), "socket": [[0, 1, 4, 5], [2, 3, 6, 7]], "memoryDomain": [[0, 4], [1, 5], [2, 6], [3, 7]],
                     "core": [[0, 4], [1, 5], [2, 6], [3, 7]], **more},
    }  # fmt: skip


CLUSTER = {
    "name": "alpha",
    "metricConfig": [
        _metric("cpu_load", aggregation="avg", footprint="avg"),
        _metric("flops_any", "hwthread", footprint="avg"),
        _metric("secret", restrict=True, footprint="max"),
        _metric("power", "socket", energy="power"),
        _metric("acc_power", "accelerator", subClusters=[{"name": "main", "remove": True}]),
    ],
    "subClusters": [_sub("main", "a[01-20]"), _sub("gpu", "g[01-04]", accelerators=[{"id": GPU, "type": "Nvidia GPU", "model": "A100"}])],
}
PEOPLE = {  # name → roles, projects
    "anna": (["user"], []),
    "ben": (["user"], []),
    "mona": (["manager", "user"], ["p1"]),
    "sue": (["support"], []),
    "root": (["admin"], []),
    "bot": (["api"], []),
    "nobody": ([], []),
}


def job(db_id, **changes):
    values = {
        "job_id": 100 + db_id, "cluster": "alpha", "sub_cluster": "main", "partition": "work", "user": "anna", "project": "p1", "shared": "none",
        "job_state": "running", "num_nodes": 1, "num_hwthreads": 8, "num_acc": 0, "smt": 1, "walltime": 3600, "monitoring_status": 1,
        "start_time": START, "duration": STEP * SAMPLES, "resources": [Resource(hostname="a01")], "footprint": {}, "energy_footprint": {},
        "meta_data": {"jobName": f"job {db_id}"},
    }  # fmt: skip
    return Job(**{**values, **changes})


JOBS = [
    job(1, footprint={"cpu_load_avg": 4.0, "secret_max": 9.0}, energy_footprint={"power": 1.5}),
    job(2, user="ben", project="p2", resources=[Resource(hostname="a02")]),
    job(3, num_nodes=2, resources=[Resource(hostname="a03"), Resource(hostname="a04")]),  # a04 sends nothing
    job(4, sub_cluster="gpu", num_acc=1, user="ben", project="p1", resources=[Resource(hostname="g01", accelerators=[GPU])]),
    job(5, num_nodes=9, num_hwthreads=72, resources=[Resource(hostname=f"a{n:02d}") for n in range(5, 14)]),
    job(6, job_state="completed", monitoring_status=2, resources=[Resource(hostname="a01")]),
]


def lines(hosts, begin=START, count=SAMPLES):
    """Line protocol: cpu_load rises by one a sample, flops_any of thread t is t, a gap at sample 5."""
    out = []
    for host in hosts:
        for n in range(count):
            at = begin + n * STEP
            tags_ = f"cluster=alpha,hostname={host}"
            if n != 5:
                out.append(f"cpu_load,{tags_},type=node value={n} {at}")
            out.append(f"secret,{tags_},type=node value=7 {at}")
            out += [f"flops_any,{tags_},type=hwthread,type-id={t} value={t} {at}" for t in range(8)]
            out += [f"power,{tags_},type=socket,type-id={s} value={10 + s} {at}" for s in range(2)]
            if host.startswith("g"):
                out.append(f"acc_power,{tags_},type=accelerator,type-id={GPU} value=300 {at}")
    return ("\n".join(out) + "\n").encode()


@pytest.fixture
def jobs():
    """The jobs of the database by their id there, as the database gives them."""
    return {n: msgspec.structs.replace(one, id=n) for n, one in enumerate(JOBS, 1)}


@pytest.fixture
def log():
    return make_log("test")


@pytest.fixture
def catalogue(log):
    return Catalogue({"alpha": json.dumps(CLUSTER).encode()}, log)


@pytest.fixture
async def store(catalogue, log, tmp_path):
    """A real store with the samples of all hosts but a04."""
    config = StoreConfig(retention_in_memory=0, memory_cap=0, checkpoints=Checkpoints(directory=str(tmp_path / "checkpoints")))
    made = Store(config, tables=catalogue.metric_tables(), default=None, log=log, registry=Registry("test"), minimum_points=20)
    (tmp_path / "checkpoints").mkdir()
    await made.start()
    hosts = [f"a{n:02d}" for n in range(1, 14) if n != 4] + ["g01"]
    for host in hosts:
        answer = await made.write(lines([host]), "alpha")
        assert answer.status == 200, answer
    yield made
    await made.stop(5)


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    (root / "alpha").mkdir(parents=True)
    (root / "version.txt").write_text("3\n")
    (root / "alpha" / "cluster.json").write_text(json.dumps(CLUSTER))
    return FileArchive(root, lambda text: None)


@pytest.fixture
def pool():
    made = Pool("test", 2)
    yield made
    made.close(5)


@pytest.fixture
def dispatcher_for(catalogue, archive, pool, log):
    def make(source, **more):
        settings = {"resampling": Resampling((600, 20), 20), "clock": lambda: START + STEP * SAMPLES, **more}
        return Dispatcher(catalogue, {"": source}, archive, archive_pool=pool, pool=pool, log=log, **settings)

    return make


@pytest.fixture
def dispatcher(store, dispatcher_for):
    return dispatcher_for(InternalSource(store))


@pytest.fixture
async def database(tmp_path):
    path = tmp_path / "job.db"
    schema.upgrade(path)
    made = Database(path)

    def fill(conn):
        for one in JOBS:
            rows.insert_job(conn, one)
        for name, (roles, projects) in PEOPLE.items():
            users.add_user(conn, users.User(name, tuple(roles), tuple(projects), name=name.title(), email=f"{name}@site"))
        for type_, name, scope in (("app", "gromacs", "global"), ("note", "look", "admin"), ("mine", "x", "anna"), ("mine", "y", "ben")):
            tags.attach(conn, 1, tags.ensure_tag(conn, type_, name, scope, START), START)

    await made.write(fill)
    yield made
    made.close()


@pytest.fixture
def identity():
    def make(name):
        roles, projects = PEOPLE[name]
        return Identity(username=name, roles=roles_of(roles), projects=frozenset(projects), session=True, name=name.title())

    return make


@pytest.fixture
def as_user(identity):
    """Middleware: header X-Test-User names the caller."""

    @web.middleware
    async def middleware(request, handler):
        name = request.headers.get("X-Test-User")
        request[WHO] = identity(name) if name else None
        return await handler(request)

    return middleware


@pytest.fixture
async def graphql(database, catalogue, dispatcher, log, as_user):
    """`await graphql(query, user, variables)` → (status, answer) over a real socket; `.client`, `.statements` beside it."""
    site = web.Application(middlewares=[as_user])
    rooms = transport.make_rooms(database, catalogue, dispatcher, lambda: START + STEP * SAMPLES)
    site.router.add_routes(transport.routes(rooms, log))
    client = TestClient(TestServer(site))
    await client.start_server()

    async def ask(query, user="root", variables=None, **more):
        headers = {"X-Test-User": user} if user else {}
        async with client.post("/query", json={"query": query, "variables": variables, **more}, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    yield SimpleNamespace(ask=ask, client=client, database=database)
    await client.close()
