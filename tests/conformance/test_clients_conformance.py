"""ccclient's clients against the real cc-backend and cc-metric-store: what each status means is what the daemons do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ccclient.backend import BackendClient, Delivered, Outcome
from ccclient.catalog import Catalog
from ccclient.store import StoreClient, TooLarge
from ccdaemon.config.types import Secret
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.log import make_log
from ccdaemon.tokens import load_private_key, make_token, new_key_pair
from ccschema.api import ApiQuery, QueryRequest, StartJob, StopJob
from ccschema.jobs import Resource
from ccschema.nodes import NodePayload, NodeStates
from cctest.processes import SCRIPTS, Process, free_port, http, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
CLUSTER = "alpha"
NOW = int(time.time())


def _cluster(metrics: tuple[str, ...]) -> dict[str, Any]:
    topology = {"node": [0, 1], "socket": [[0, 1]], "memoryDomain": [[0, 1]], "core": [[0], [1]]}
    return {
        "name": CLUSTER,
        "metricConfig": [
            {
                "name": name, "unit": {"base": "B/s", "prefix": "G"}, "scope": "node", "aggregation": "sum", "timestep": 10,
                "peak": 100, "normal": 50, "caution": 20, "alert": 10,
            }
            for name in metrics
        ],
        "subClusters": [
            {
                "name": "main", "nodes": "a[01-04]", "processorType": "test", "socketsPerNode": 1, "coresPerSocket": 2, "threadsPerCore": 1,
                "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 1},
                "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 2},
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 3},
                "topology": topology,
            }
        ],
    }  # fmt: skip


class Site:
    """One cc-backend with the cluster `alpha`, and its token (role api)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "backend"
        self.folder.mkdir()
        self.port = free_port()
        self.process = Process("cc-backend", [SCRIPTS / "cc-backend", "-server"], self.folder)
        self.call("-init")
        self.call("-add-user", "robot:api:secret")
        said = self.call("-jwt", "robot")
        self.token = Secret(next(word for word in said.split() if word.startswith("eyJ")))
        self.list_metrics("mem_bw")
        (self.folder / "var/job-archive/version.txt").write_text("3\n")
        main = {"addr": f"127.0.0.1:{self.port}"}
        store = {"retention-in-memory": "48h", "memory-cap": 1, "checkpoints": {"directory": "./var/checkpoints"}}
        config = {"main": main, "auth": {"jwts": {"max-age": "2000h"}}, "metric-store": store}
        config["archive"] = {"kind": "file", "path": "./var/job-archive"}
        (self.folder / "config.json").write_text(json.dumps(config))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, *arguments: str) -> str:
        return subprocess.run([SCRIPTS / "cc-backend", *arguments], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def list_metrics(self, *metrics: str) -> None:
        file = self.folder / "var/job-archive" / CLUSTER / "cluster.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_cluster(metrics)))

    def start(self) -> None:
        self.process.start(lambda: http(f"{self.url}/login")[0] == 200, 60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("clients"))
    with running(site.process):
        site.start()
        yield site


@pytest.fixture(scope="module")
def metric_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Secret]]:
    """(URL, token) of a cc-metric-store."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    public, private = new_key_pair()
    config = {
        "main": {"addr": f"127.0.0.1:{port}", "jwt-public-key": public},
        "metrics": {"mem_bw": {"frequency": 10, "aggregation": "sum"}},
        "metric-store": {"retention-in-memory": "48h", "memory-cap": 1, "checkpoints": {"directory": "./checkpoints"}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    process = Process("cc-metric-store", [SCRIPTS / "cc-metric-store"], folder)
    with running(process):
        process.start(lambda: http(f"http://127.0.0.1:{port}/api/healthcheck")[0] == 401, 60)
        yield f"http://127.0.0.1:{port}", Secret(make_token(load_private_key(private), {"sub": "test"}))


def _start(job: int, **more: Any) -> StartJob:
    host = Resource(hostname="a01")
    return StartJob(
        job_id=job, cluster=CLUSTER, sub_cluster="main", user="u", project="p", num_nodes=1, num_hwthreads=2, start_time=NOW - 600,
        walltime=3600, smt=1, resources=[host], job_state="running", **more,
    )  # fmt: skip


async def test_each_outcome_of_start_stop_and_node_states(site: Site) -> None:
    client = BackendClient(site.url, site.token)

    def said(answer: Delivered) -> tuple[Outcome, int]:
        return answer.outcome, answer.status

    assert said(await client.start_job(_start(1))) == (Outcome.DONE, 201)
    assert said(await client.start_job(_start(1))) == (Outcome.KNOWN, 422)
    assert said(await client.start_job(b"{")) == (Outcome.REFUSED, 400)
    assert said(await client.start_job(b'{"cluster": "alpha", "newKey": 1}')) == (Outcome.REFUSED, 400)
    stop = StopJob(job_id=1, cluster=CLUSTER, start_time=NOW - 600, stop_time=NOW, job_state="completed")

    running_jobs = await client.running_jobs()
    assert [(j.cluster, j.job_id, j.job_state, j.start_time) for j in running_jobs] == [(CLUSTER, 1, "running", NOW - 600)]
    assert await client.used_nodes(NOW) == {CLUSTER: frozenset({"a01"})}

    assert said(await client.stop_job(stop)) == (Outcome.DONE, 200)
    assert said(await client.stop_job(stop)) == (Outcome.KNOWN, 422)
    assert said(await client.stop_job(StopJob(job_id=77, cluster=CLUSTER, stop_time=NOW))) == (Outcome.NOT_FOUND, 404)
    assert await client.running_jobs() == [] and (await client.used_nodes(NOW)).get(CLUSTER, frozenset()) == frozenset()

    states = NodeStates(cluster=CLUSTER, nodes=[NodePayload(hostname="a01", states=["IDLE"])])
    assert said(await client.node_states(states)) == (Outcome.DONE, 200)
    assert said(await client.node_states(b"[]")) == (Outcome.REFUSED, 400)
    await client.close()


async def test_what_may_be_better_later_is_a_peer_error(site: Site) -> None:
    for token in (None, Secret("eyJwrong")):
        client = BackendClient(site.url, token)
        with pytest.raises(PeerError, match=r"HTTP status 401 \(is the token right"):
            await client.start_job(_start(2))
        with pytest.raises(PeerError, match="401"):
            await client.clusters()
        await client.close()
    client = BackendClient(f"http://127.0.0.1:{free_port()}", site.token)
    with pytest.raises(PeerError, match="cannot connect"):
        await client.running_jobs()
    await client.close()


async def test_the_cluster_list_has_an_etag_and_the_catalog_outlives_the_backend(site: Site, tmp_path: Path) -> None:
    client, pool, log = BackendClient(site.url, site.token), Pool("files", 1), make_log("test")
    first = await client.clusters()
    assert first is not None and first.etag and [c.name for c in first.clusters] == [CLUSTER]
    assert await client.clusters(etag=first.etag) is None
    assert await client.clusters(etag='"another"') is not None
    one = await client.clusters(CLUSTER)
    assert one is not None and [c.name for c in one.clusters] == [CLUSTER]
    with pytest.raises(PeerError, match="unknown cluster: beta"):
        await client.clusters("beta")

    file = tmp_path / "metrics.json"
    catalog = Catalog(client, file, pool=pool, log=log)
    assert await catalog.refresh() and not await catalog.refresh()
    listed = catalog.metrics(CLUSTER)["mem_bw"]
    assert (listed.unit, listed.timestep, listed.aggregation, listed.scope) == ("GB/s", 10, "sum", "node")

    assert site.process.stop() == 0
    with pytest.raises(PeerError):
        await catalog.refresh()
    kept = Catalog(client, file, pool=pool, log=log)
    assert await kept.load() and kept.metrics(CLUSTER) == catalog.metrics(CLUSTER)

    site.list_metrics("mem_bw", "flops_any")
    site.start()
    assert await kept.refresh() and set(kept.metrics(CLUSTER)) == {"mem_bw", "flops_any"}
    assert not await kept.refresh()
    await client.close()
    await pool.stop(1)


@pytest.mark.parametrize("which", ["standalone", "internal"])
async def test_store_client(which: str, site: Site, metric_store: tuple[str, Secret]) -> None:
    base, token = metric_store if which == "standalone" else (site.url, site.token)
    client = StoreClient(base, token)
    begin = int(time.time()) // 10 * 10 - 600  # now, not when the module was read: health looks at the newest samples
    lines = [b"mem_bw,cluster=alpha,hostname=a02,type=node value=%d %d\n" % (n, begin + 10 * n) for n in range(60)]

    assert (await client.write(b"".join(lines[:30]))).complete
    assert (await client.write(b"".join(lines[30:]).replace(b"cluster=alpha,", b""), CLUSTER)).complete
    bad = await client.write(
        b"mem_bw,cluster=alpha,hostname=a02,type=node value=1 %d\nmem_bw,cluster=alpha,hostname=a02 value=many\n" % begin
    )
    assert not bad.complete and "line 2" in bad.text
    with pytest.raises(TooLarge):
        await client.write(b"#" * (65 << 20))

    asked = QueryRequest(cluster=CLUSTER, from_=begin + 10, to=begin + 600, queries=[ApiQuery(metric="mem_bw", host="a02")])
    found: list[float | None] = []
    for _ in range(50):  # the internal store may still be loading its kernel
        found = (await client.query(asked)).results[0][0].data
        if 59 in found:
            break
        await asyncio.sleep(0.1)
    assert [v for v in found if v is not None] == list(range(1, 60))
    nobody = QueryRequest(cluster=CLUSTER, from_=begin, to=begin + 600, queries=[ApiQuery(metric="mem_bw", host="nobody")])
    answer = (await client.query(nobody)).results
    assert len(answer) == 1 and (not answer[0] or answer[0][0].error)

    health = await client.health(CLUSTER, ["a02", "gone"], ["mem_bw"])
    assert (health["a02"].state, health["gone"].state) == ("full", "failed")
    assert "buffers freed" in await client.free([[CLUSTER, "a02"]], begin)
    await client.close()

    stranger = StoreClient(base, Secret("eyJwrong"))
    with pytest.raises(PeerError, match="401"):
        await stranger.write(lines[0])
    await stranger.close()
