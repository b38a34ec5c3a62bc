"""Every validation rule has a wrong document whose message is held here: `wrong_documents.json`, a line each.

`change` is laid over a right document of the kind; null takes the key out. `says` is the begin or a part of one message.
"""

import json
from pathlib import Path

import pytest
from ccschema import api, archive, clusters, nodes, rules
from ccschema.jsonin import BodyError

CASES = json.loads(Path(__file__).with_name("wrong_documents.json").read_text())
RATE = {"unit": {"base": "B/s", "prefix": "G"}, "value": 1}
METRIC = {
    "name": "mem_bw",
    "unit": {"base": "B/s"},
    "scope": "node",
    "timestep": 60,
    "aggregation": "sum",
    "peak": 4,
    "normal": 3,
    "caution": 2,
    "alert": 1,
}
SUB = {
    "name": "main", "nodes": "n[01-10]", "processorType": "any", "socketsPerNode": 1, "coresPerSocket": 2, "threadsPerCore": 1, "flopRateScalar": RATE,
    "flopRateSimd": RATE, "memoryBandwidth": RATE, "topology": {"node": [0, 1], "socket": [[0, 1]], "memoryDomain": [[0, 1]]},
}  # fmt: skip
META = {
    "jobId": 1, "user": "u", "project": "p", "cluster": "c", "subCluster": "main", "numNodes": 1, "shared": "none", "startTime": 5, "jobState": "completed",
    "duration": 0, "resources": [{"hostname": "n"}], "statistics": {"mem_bw": {"unit": {"base": "B/s"}, "avg": 1, "min": 0, "max": 2}},
}  # fmt: skip
SERIES = {
    "unit": {"base": "B/s"},
    "timestep": 60,
    "series": [{"hostname": "n", "statistics": {"min": 0, "avg": 1, "max": 2}, "data": [1, None]}],
}


def changed(right, change):
    return {key: value for key, value in (right | change).items() if value is not None}


def in_cluster(tree):
    document = json.dumps(tree).encode()
    try:
        cluster, warnings = clusters.load_cluster(document, "c")
    except clusters.ClusterError as e:
        return e.problems
    return [*warnings, *map(str, rules.cluster_findings(cluster)), *map(str, rules.missing_cluster_keys(document))]


def cluster_of(metric=METRIC, sub=SUB):
    return {"name": "c", "metricConfig": [metric], "subClusters": [sub]}


def main():
    return clusters.load_cluster(json.dumps(cluster_of()).encode(), "c")[0].sub_clusters[0]


def in_meta(tree):
    try:
        return list(map(str, rules.job_findings(archive.decode_meta(json.dumps(tree).encode()), main())))
    except archive.DocumentError as e:
        return [str(e)]


def in_data(tree):
    try:
        return list(map(str, rules.data_findings(archive.decode_data(json.dumps(tree).encode()), main())))
    except archive.DocumentError as e:
        return [str(e)]


def in_body(decode):
    def messages(tree):
        try:
            decode(json.dumps(tree).encode())
        except BodyError as e:
            return [str(e)]
        return []

    return messages


KINDS = {
    "meta": lambda change: in_meta(changed(META, change)),
    "data": lambda change: in_data({"mem_bw": {"node": changed(SERIES, change)}}),
    "metrics": lambda change: in_data(changed({"mem_bw": {"node": SERIES}}, change)),
    "cluster": lambda change: in_cluster(changed(cluster_of(), change)),
    "metric": lambda change: in_cluster(cluster_of(metric=changed(METRIC, change))),
    "sub": lambda change: in_cluster(cluster_of(sub=changed(SUB, change))),
    "node states": lambda change: in_body(nodes.decode_node_states)({"cluster": "c"} | change),
    "start": lambda change: in_body(api.decode_start_job)(META | change),
    "stop": lambda change: in_body(api.decode_stop_job)({"jobId": 1} | change),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_documents_are_right(kind):
    assert KINDS[kind]({}) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["says"][-60:])
def test_a_wrong_document_gets_its_message(case):
    messages = KINDS[case["document"]](case["change"])
    assert any(case["says"] in message for message in messages), messages


def test_hints_do_not_make_a_document_invalid():
    data = archive.decode_data(json.dumps({"mem_used": {"socket": SERIES}}).encode())
    assert len(rules.data_findings(data)) == 1 and rules.fatal(rules.data_findings(data)) == []
