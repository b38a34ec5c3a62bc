"""Fixtures of cc-backend's tests: two small clusters, a database, jobs."""

from __future__ import annotations

import contextlib
import json
import socket

import aiohttp
import pytest
from cc_backend.app import add_parts, open_core
from cc_backend.auth.keys import Keys
from cc_backend.auth.local import hash_password
from cc_backend.config import Archive, Config, Main
from cc_backend.db import schema
from cc_backend.db.users import User, add_user
from cc_backend.pages.assets import ENTRY
from ccdaemon.config.types import Duration
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log
from ccdaemon.tokens import load_private_key, load_public_key, make_token, new_key_pair
from ccstore.server.config import Checkpoints, StoreConfig
from yarl import URL

_B = {"base": "B/s", "prefix": "G"}


def _metric(name, scope="node", **more):
    return {
        "name": name, "unit": {"base": ""}, "scope": scope, "aggregation": "avg", "timestep": 10, "peak": 100, "normal": 50, "caution": 20,
        "alert": 10, **more,
    }  # fmt: skip


def _sub(name, nodes, **more):
    return {
        "name": name, "nodes": nodes, "processorType": "test", "socketsPerNode": 1, "coresPerSocket": 2, "threadsPerCore": 1,
        "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}, "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 2},
        "memoryBandwidth": {"unit": _B, "value": 3},
        "topology": {"node": [0, 1], "socket": [[0, 1]], "memoryDomain": [[0, 1]], "core": [[0], [1]], **more},
    }  # fmt: skip


ALPHA = {
    "name": "alpha",
    "metricConfig": [
        _metric("cpu_load", footprint="avg"),
        _metric("mem_used", unit={"base": "B", "prefix": "G"}, footprint="max", lowerIsBetter=True),
        _metric("flops_any", "hwthread", unit={"base": "F/s", "prefix": "G"}, aggregation="sum", footprint="avg"),
        _metric("cpu_power", "socket", unit={"base": "W"}, aggregation="sum", energy="power"),
        _metric(
            "acc_power",
            "accelerator",
            unit={"base": "W"},
            aggregation="sum",
            energy="power",
            subClusters=[{"name": "main", "remove": True}],
        ),
    ],
    "subClusters": [
        _sub("main", "a[001-100]"),
        _sub("gpu", "g[001-004]", accelerators=[{"id": "00000000:49:00.0", "type": "Nvidia GPU", "model": "A100"}]),
    ],
}
BETA = {"name": "beta", "metricConfig": [_metric("cpu_load", footprint="avg")], "subClusters": [_sub("all", "*")]}


@pytest.fixture
def cluster_documents():
    """`cluster.json` of alpha (subclusters main: a001-a100, gpu: g001-g004) and beta (`*`), by directory."""
    return {"alpha": json.dumps(ALPHA).encode(), "beta": json.dumps(BETA).encode()}


@pytest.fixture
def archive_dir(tmp_path, cluster_documents):
    """A job archive with the two clusters and no job."""
    root = tmp_path / "job-archive"
    root.mkdir()
    (root / "version.txt").write_text("3\n")
    for name, document in cluster_documents.items():
        (root / name).mkdir()
        (root / name / "cluster.json").write_bytes(document)
    return root


class Backend:
    """A cc-backend on a real socket, in this process: all its parts but the `Application` around them."""

    def __init__(self, url, session, core, private_key):
        self.url = url
        self.http = session
        self.core = core
        self._private_key = private_key

    @property
    def database(self):
        return self.core.database

    def token(self, *roles, name="tester"):
        return make_token(self._private_key, {"sub": name, "roles": list(roles)})

    async def call(self, method, path, *, roles=("api",), name="tester", cookie=None, headers=None, **kwargs):
        """(status, parsed or text body, response). roles None: no token."""
        headers = dict(headers or {})
        if roles is not None and cookie is None:
            headers["Authorization"] = f"Bearer {self.token(*roles, name=name)}"
        if cookie is not None:
            headers["Cookie"] = f"session={cookie}"
        async with self.http.request(
            method, URL(self.url + path, encoded=True), headers=headers, allow_redirects=False, **kwargs
        ) as response:
            body = await response.read()
            kind = response.content_type
            return response.status, json.loads(body) if kind == "application/json" and body else body.decode(), response

    async def account(self, name, *roles, password="secret", projects=()):
        user = User(username=name, roles=roles, projects=projects, password=hash_password(password, 4))
        await self.database.write(lambda conn: add_user(conn, user))

    async def login(self, name, *roles, projects=()):
        """Make an account and log in; the cookie's value."""
        await self.account(name, *roles, projects=projects)
        status, _, response = await self.call("POST", "/login", roles=None, data={"username": name, "password": "secret"})
        assert status == 302
        return response.cookies["session"].value


class _Parts:
    def __init__(self):
        self.registry = Registry("cc_backend")
        self.parts = []

    def add(self, part, phase):
        self.parts.append((phase, part))


@contextlib.asynccontextmanager
async def running_backend(tmp_path, archive_dir, main=(), **sections):
    static = tmp_path / "static"
    static.mkdir(exist_ok=True)
    (static / "manifest.json").write_text(json.dumps({ENTRY: {"file": "page.js"}}))
    config = Config(
        main=Main(db=str(tmp_path / "job.db"), embed_static_files=False, static_files=str(static), **dict(main)),
        archive=Archive(kind="file", path=str(archive_dir)),
        store=StoreConfig(
            retention_in_memory=Duration(86400), memory_cap=0, checkpoints=Checkpoints(directory=str(tmp_path / "checkpoints"))
        ),
        **sections,
    )
    schema.upgrade(tmp_path / "job.db")
    log = make_log("test")
    public, private = new_key_pair()
    keys = Keys(load_public_key(public), load_private_key(private))
    core = open_core(config, log)
    sock = socket.create_server(("127.0.0.1", 0))
    parts = _Parts()
    add_parts(parts, config, core, sock, None, keys, log)
    ordered = [part for _, part in sorted(parts.parts, key=lambda entry: entry[0])]
    try:
        for part in ordered:
            await part.start()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            backend = Backend(f"http://127.0.0.1:{sock.getsockname()[1]}", session, core, keys.private)
            backend.parts = {part.name: part for part in ordered}
            backend.registry = parts.registry
            yield backend
    finally:
        for part in reversed(ordered):
            await part.stop(5.0)


@pytest.fixture
async def backend(tmp_path, archive_dir):
    async with running_backend(tmp_path, archive_dir) as backend:
        yield backend


@pytest.fixture
def start_backend(tmp_path, archive_dir):
    """running_backend(main={…}, …) as a context manager."""
    return lambda **changes: running_backend(tmp_path, archive_dir, **changes)


@pytest.fixture
def start_body():
    """A start_job body with changes."""

    def make(**changes):
        body = {
            "cluster": "alpha", "jobId": 4711, "user": "anna", "project": "p1", "partition": "batch", "startTime": 1_760_000_000, "numNodes": 1,
            "numHwthreads": 2, "walltime": 3600, "resources": [{"hostname": "a001", "hwthreads": [0, 1]}], "metaData": {"jobName": "test"},
        }  # fmt: skip
        return {key: value for key, value in (body | changes).items() if value is not None}

    return make
