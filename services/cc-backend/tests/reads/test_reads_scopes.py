"""The scope table of metric-store 8.1, every cell, and the pitfalls around it."""

from __future__ import annotations

import pytest
from cc_backend.metrics.scopes import HostShare, JobShape, delivered, plan
from ccschema.clusters import Accelerator, MetricConfig, Topology
from ccschema.scopes import Scope

# Two sockets of two cores of two threads, two domains a socket. Core ids are not thread ids: thread 4 is core 0.
TOPO = Topology(
    node=list(range(8)),
    socket=[[0, 1, 4, 5], [2, 3, 6, 7]],
    memory_domain=[[0, 4], [1, 5], [2, 6], [3, 7]],
    core=[[0, 4], [1, 5], [2, 6], [3, 7]],
    accelerators=[Accelerator("gpu0"), Accelerator("gpu1")],
)
SHARE = HostShare("n1", (4, 5, 2), ("gpu1",))  # cores and domains 0, 1, 2, sockets 0 and 1

# native, requested → delivered, [(ids, aggregate, name)]; None: nothing
ONE = {
    "node": [((), False, None)],
    "sockets": [(("0", "1"), False, None)],
    "domains": [(("0", "1", "2"), False, None)],
    "cores": [(("0", "1", "2"), False, None)],
    "threads": [(("2", "4", "5"), False, None)],
    "gpus": [(("gpu1",), False, None)],
}
TABLE = [
    *[("node", scope, "node", ONE["node"]) for scope in Scope],
    ("socket", "node", "node", [(("0", "1"), True, None)]),
    *[("socket", scope, "socket", ONE["sockets"]) for scope in ("socket", "memoryDomain", "core", "hwthread", "accelerator")],
    ("memoryDomain", "node", "node", [(("0", "1", "2"), True, None)]),
    ("memoryDomain", "socket", "socket", [(("0", "1"), True, "0"), (("2",), True, "1")]),
    *[("memoryDomain", scope, "memoryDomain", ONE["domains"]) for scope in ("memoryDomain", "core", "hwthread", "accelerator")],
    ("core", "node", "node", [(("0", "1", "2"), True, None)]),
    # PITFALL: thread ids are not core ids; the cores of a whole socket, also those the job does not have
    ("core", "socket", "socket", [(("0", "1"), True, "0"), (("2", "3"), True, "1")]),
    # PITFALL: the reference fails the whole request here
    ("core", "memoryDomain", "memoryDomain", [(("0",), True, "0"), (("1",), True, "1"), (("2",), True, "2")]),
    *[("core", scope, "core", ONE["cores"]) for scope in ("core", "hwthread", "accelerator")],
    ("hwthread", "node", "node", [(("2", "4", "5"), True, None)]),
    ("hwthread", "socket", "socket", [(("0", "1", "4", "5"), True, "0"), (("2", "3", "6", "7"), True, "1")]),
    ("hwthread", "memoryDomain", "memoryDomain", [(("0", "4"), True, "0"), (("1", "5"), True, "1"), (("2", "6"), True, "2")]),
    ("hwthread", "core", "core", [(("0", "4"), True, "0"), (("1", "5"), True, "1"), (("2", "6"), True, "2")]),
    *[("hwthread", scope, "hwthread", ONE["threads"]) for scope in ("hwthread", "accelerator")],
    ("accelerator", "node", "node", [(("gpu1",), True, None)]),
    *[("accelerator", scope, None, []) for scope in ("socket", "memoryDomain", "core", "hwthread")],
    ("accelerator", "accelerator", "accelerator", ONE["gpus"]),
]


def metric(native, name="m"):
    return MetricConfig(name=name, scope=Scope(native), timestep=10)


def asked(native, requested, share=SHARE, accelerators=True):
    return plan(JobShape((share,), accelerators), [metric(native)], [Scope(r) for r in requested], TOPO)


@pytest.mark.parametrize(("native", "requested", "target", "queries"), TABLE)
def test_every_cell_of_the_table(native, requested, target, queries):
    got = asked(native, [requested])
    assert [(q.ids, q.aggregate, q.name) for q in got] == queries
    assert {q.scope for q in got} == ({Scope(target)} if target else set())
    assert {q.type for q in got} <= {None if native == "node" else native}


def test_the_table_is_whole():
    assert {(native, str(requested)) for native, requested, *_ in TABLE} == {(a.value, b.value) for a in Scope for b in Scope}


def test_scopes_that_deliver_the_same_are_asked_once():
    assert delivered(Scope.SOCKET, [Scope.CORE, Scope.SOCKET, Scope.NODE, Scope.HWTHREAD]) == [Scope.SOCKET, Scope.NODE]


def test_a_host_without_threads_has_all_of_the_node():
    assert asked("hwthread", ["node"], HostShare("n1"))[0].ids == tuple("01234567")


def test_accelerator_metrics_are_left_out_for_jobs_without_accelerators():
    assert asked("accelerator", ["accelerator"], accelerators=False) == []


def test_a_host_without_accelerators_costs_the_others_nothing():
    # PITFALL: the first such host ended the loop.
    shape = JobShape((HostShare("cpu1"), HostShare("gpu1", (), ("gpu0",))), accelerators=True)
    assert [q.host for q in plan(shape, [metric("accelerator")], [Scope.ACCELERATOR], TOPO)] == ["gpu1"]


def test_order_is_metric_scope_host():
    shape = JobShape((HostShare("n2"), HostShare("n1")), accelerators=False)
    got = plan(shape, [metric("socket", "b"), metric("node", "a")], [Scope.SOCKET, Scope.NODE], TOPO)
    assert [(q.metric, q.scope, q.host) for q in got] == [
        ("b", "socket", "n2"), ("b", "socket", "n1"), ("b", "node", "n2"), ("b", "node", "n1"), ("a", "node", "n2"), ("a", "node", "n1"),
    ]  # fmt: skip
