"""Node states (backend-api 10) by REST and NATS."""

from __future__ import annotations

import json
import time

import pytest
from cc_backend.db.nodes import current_states, delete_states


async def report(backend, *nodes, cluster="alpha", **kwargs):
    body = {"cluster": cluster, "nodes": [{"hostname": host, "states": states, "memoryAllocated": 512} for host, states in nodes]}
    return (await backend.call("POST", "/api/nodestate/", json=body, **kwargs))[:2]


async def states(backend, cluster="alpha"):
    found = await backend.database.read(lambda conn: current_states(conn, cluster))
    return {host: (row.subcluster, row.node_state, row.health_state) for host, row in found.items()}


async def test_states_and_health(backend):
    now = int(time.time())
    names = ["cpu_load", "mem_used"]
    lines = "".join(f"{name},cluster=alpha,hostname=a001 value=1 {now - 10}\n" for name in names)
    assert (await backend.call("POST", "/api/write", data=lines))[0] == 200
    assert await report(backend, ("a001", ["MIXED"]), ("a002", ["idle", "DOWN"]), ("g001", ["allocated", "x"]), ("zzz", ["idle"])) == (
        200,
        "",
    )
    assert await states(backend) == {
        "a001": ("main", "mixed", "partial"),
        "a002": ("main", "down", "full"),
        "g001": ("gpu", "allocated", "failed"),
    }
    row = (await backend.database.read(lambda conn: current_states(conn, "alpha")))["a001"]
    assert set(json.loads(row.health_metrics)["missing"]) == {"flops_any", "cpu_power"}
    assert row.memory_allocated == 512


async def test_newest_counts_and_survives_retention(backend):
    await report(backend, ("a001", ["idle"]))
    await report(backend, ("a001", ["allocated"]))
    assert (await states(backend))["a001"][1] == "allocated"
    assert await backend.database.write(lambda conn: delete_states(conn, int(time.time()) + 10)) == 1
    assert (await states(backend))["a001"][1] == "allocated"


async def test_star_clusters_take_every_host(backend):
    """Pitfall: `*` is not honoured for single hosts."""
    await report(backend, ("anything", ["idle"]), cluster="beta")
    assert await states(backend, "beta") == {"anything": ("all", "idle", "failed")}


@pytest.mark.parametrize("body", [{"cluster": "nope", "nodes": []}, {"cluster": "alpha", "nodes": 5}, {"x": 1}, "x"])
async def test_bad_reports(backend, body):
    assert (await backend.call("POST", "/api/nodestate/", json=body))[0] == 400


async def test_by_nats(backend):
    from cc_backend.api.nodes import NodeReports
    from ccdaemon.ledger import Ledger
    from ccdaemon.log import make_log

    reports = NodeReports(backend.database, backend.core.catalogue, None, Ledger("node_states"), make_log("test"))
    event = json.dumps({"cluster": "alpha", "nodes": [{"hostname": "a001", "states": ["idle"]}]}).replace('"', '\\"')
    await reports.handle(
        "s", f'rubbish\nnodestate event="{event}" 1760000000000000000\nnodestate event="{{" 1760000000000000000\n'.encode()
    )
    assert await states(backend) == {"a001": ("main", "idle", "failed")}
    assert reports._ledger.held() == 0
    assert reports._ledger.reasons()["refused"] == 2
