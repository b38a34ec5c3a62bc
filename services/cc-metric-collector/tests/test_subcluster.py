"""`-topology`: the node as a subcluster that cc-backend can load."""

from __future__ import annotations

import json

import msgspec
from cc_metric_collector.subcluster import by_id, core_numbers, sub_cluster
from cc_metric_collector.topology import read_topology
from ccschema.clusters import load_cluster


def test_recorded_node(node):
    document, notes = sub_cluster(node, read_topology(node), "n1")
    found = msgspec.to_builtins(document)
    assert found["nodes"] == "n1" and found["processorType"] == "Intel(R) Xeon(R) Platinum 8360Y CPU @ 2.40GHz"
    assert (found["socketsPerNode"], found["coresPerSocket"], found["threadsPerCore"]) == (2, 2, 2)
    assert found["topology"] == {
        "node": list(range(8)),
        "socket": [[0, 1, 4, 5], [2, 3, 6, 7]],
        "memoryDomain": [[0, 1, 4, 5], [2, 3, 6, 7]],
        "die": [[0, 1, 4, 5], [2, 3, 6, 7]],
        "core": [[0, 4], [1, 5], [2, 6], [3, 7]],
        "accelerators": [{"id": "00000000:49:00.0", "type": "Nvidia GPU", "model": "NVIDIA A100-SXM4-40GB"}],
    }  # the console of the management controller is no accelerator
    assert found["flopRateScalar"] == {"unit": {"base": "F/s", "prefix": "G"}, "value": 4 * 2.4 * 4 // 1}
    assert found["flopRateSimd"]["value"] == round(4 * 2.4 * 32)
    assert found["memoryBandwidth"]["unit"] == {"base": "B/s", "prefix": "G"}
    assert any("estimate" in note for note in notes)


def test_cc_backend_can_load_it(node):
    document, _ = sub_cluster(node, read_topology(node), "n1")
    metric = {
        "name": "cpu_load",
        "unit": {"base": ""},
        "scope": "node",
        "aggregation": "avg",
        "timestep": 60,
        "peak": 8,
        "normal": 8,
        "caution": 4,
        "alert": 1,
    }
    text = json.dumps({"name": "t", "metricConfig": [metric], "subClusters": [msgspec.to_builtins(document)]})
    cluster, _ = load_cluster(text.encode(), "t")
    assert cluster.sub_clusters[0].topology.memory_domain[1] == [2, 3, 6, 7]


def test_position_is_the_id_also_with_memory_only_domains():
    assert by_id({0: [0, 1], 2: [2, 3]}) == [[0, 1], [], [2, 3]]
    assert by_id({-1: [0, 1]}) == [[0, 1]]


def test_sparse_and_repeated_core_ids_keep_all_cores_and_are_said(node):
    for cpu, core in ((1, 8), (5, 8)):  # core 1 of socket 0 is number 8 now
        (node / f"sys/devices/system/cpu/cpu{cpu}/topology/core_id").write_text(f"{core}\n")
    document, notes = sub_cluster(node, read_topology(node), "n1")
    assert document.topology.core == [[0, 4], [1, 5], [2, 6], [3, 7]] and document.cores_per_socket == 2
    assert any("core ids" in note for note in notes)
    assert core_numbers({(0, 0, 0): [0], (1, 1, 1): [1]}) == []
