"""Fixtures of cc-backend's tests: two small clusters, a database, jobs."""

from __future__ import annotations

import json

import pytest

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
