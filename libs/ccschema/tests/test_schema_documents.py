"""Jobs, clusters, archive documents, request bodies, node states."""

import gzip
import json
import math

import msgspec
import pytest
from ccschema import api, archive, clusters, jobs, nodes, rules
from ccschema.jsonin import BodyError
from ccschema.scopes import Scope
from hypothesis import given
from hypothesis import strategies as st

REQUIRED_OF_A_JOB = [
    "cluster", "subCluster", "project", "user", "shared", "jobState", "resources", "energyFootprint", "footprint", "metaData",
    "concurrentJobs", "energy", "jobId", "duration", "numNodes", "statistics", "startTime",
]  # fmt: skip


def test_a_job_is_written_in_the_order_of_the_suite_and_omits_what_is_empty():
    assert list(json.loads(msgspec.json.encode(jobs.Job()))) == REQUIRED_OF_A_JOB
    full = jobs.Job(partition="p", tags=[jobs.Tag(type="a", name="b")], walltime=1, id=3, submit_time=4, monitoring_status=1, smt=1)
    keys = list(json.loads(msgspec.json.encode(full)))
    assert (
        keys.index("partition") == 2
        and keys.index("tags") == 7
        and keys.index("walltime") == 14
        and keys[-3:] == ["id", "submitTime", "startTime"]
    )


def test_concurrent_jobs_are_always_written():
    assert json.loads(msgspec.json.encode(jobs.Job()))["concurrentJobs"] == {"items": None, "count": 0}


def test_states():
    assert len(jobs.JobState) == 12
    assert {s for s in jobs.JobState if not s.final} == {"pending", "running", "suspended"}
    assert jobs.JobState.of("stopped") is None


# ---- archive documents


def _archived(shared_data):
    return sorted((shared_data / "job-archive" / "archive-v3").rglob("meta.json"))


def _without_empty(value):
    if isinstance(value, dict):
        return {k: w for k, v in value.items() if (w := _without_empty(v)) not in (None, {}, [], "", 0, False)}
    return [_without_empty(v) for v in value] if isinstance(value, list) else value


def test_meta_documents_load_and_write_back_equal(shared_data):
    found = [*_archived(shared_data), *(shared_data / "job-archive" / "import-fixtures").glob("meta-*.input")]
    assert len(found) >= 4
    for path in found:
        before = json.loads(path.read_bytes())
        before.pop("stopTime", None)  # not part of the format, ignored on reading
        written = archive.encode_meta(archive.decode_meta(path.read_bytes()))
        assert written.endswith(b"}\n")
        assert _without_empty(json.loads(written)) == _without_empty(before)


def test_meta_documents_hold_no_null():
    """PITFALL: the reference writes null where its own schema wants an object."""
    written = archive.encode_meta(jobs.Job(tags=[jobs.Tag("a", "b", "global", 7)]))
    assert b"null" not in written
    assert json.loads(written)["concurrentJobs"] == {"items": [], "count": 0}
    assert json.loads(written)["tags"][0]["id"] == 0


def test_filesystems_among_the_statistics_are_ignored():
    job = archive.decode_meta(
        b'{"jobId":1,"statistics":{"filesystems":[{"name":"work"}],"m":{"unit":{"base":"B"},"avg":1,"min":0,"max":2}}}'
    )
    assert job.statistics is not None and job.statistics.keys() == {"m"} and job.statistics["m"].avg == 1


def test_documents_of_archive_version_2_and_the_payloads_load_and_write_back_equal(shared_data):
    found = sorted((shared_data / "job-archive" / "archive-v2-meta").glob("*.json"))
    assert len(found) == 4
    for path in found:
        before = json.loads(path.read_bytes())
        after = json.loads(archive.encode_meta(archive.decode_meta(path.read_bytes())))
        known = {f.encode_name for f in msgspec.structs.fields(jobs.Job)}
        assert _without_empty({k: v for k, v in before.items() if k in known}) == _without_empty(after)
    start = (shared_data / "job-archive" / "api-payloads" / "startJobPayload.json").read_bytes()
    assert _without_empty(json.loads(start)).items() <= _without_empty(msgspec.to_builtins(api.decode_start_job(start))).items()
    stop = (shared_data / "job-archive" / "api-payloads" / "stopJobPayload.json").read_bytes()
    assert json.loads(msgspec.json.encode(api.decode_stop_job(stop))) == json.loads(stop)


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b'{"jobId":"x"}', b"\xff", b"null", b"[" * 5000, b'{"metaData":{"a\xff":"x"}}'])
def test_a_broken_meta_document_is_named(document):
    with pytest.raises(archive.DocumentError, match="meta document"):
        archive.decode_meta(document)


def test_nulls_and_other_spellings_in_meta_documents_are_read():
    job = archive.decode_meta(b'{"JobID": 3, "tags": null, "metaData": null, "walltime": null, "exclusive": 1, "startTime": 5}')
    assert (job.job_id, job.tags, job.meta_data, job.walltime, job.start_time, job.shared) == (3, [], None, 0, 5, "")


def test_data_documents_load_and_write_back_equal(shared_data):
    path = _archived(shared_data)[0].parent / "data.json.gz"
    documents = [
        gzip.decompress(path.read_bytes()),
        *(p.read_bytes() for p in (shared_data / "job-archive" / "import-fixtures").glob("data-*")),
    ]
    for document in documents:
        data = archive.decode_data(document)
        again = archive.decode_data(archive.encode_data(data))
        assert data.keys() == again.keys() == json.loads(document).keys()
        for metric, by_scope in json.loads(document).items():
            for scope, before in by_scope.items():
                entry = again[metric][Scope(scope)]
                assert (entry.timestep, entry.unit.base) == (before["timestep"], before["unit"]["base"])
                for old, new in zip(before["series"], entry.series, strict=True):
                    assert json.loads(bytes(new.data)) == old["data"]
                    assert (new.hostname, new.id) == (old["hostname"], old.get("id"))
                    assert msgspec.to_builtins(new.statistics) == old.get("statistics", {"min": 0, "avg": 0, "max": 0})


def test_the_example_of_the_specification():
    text = b'{"cpu_load":{"node":{"unit":{"base":""},"series":[{"hostname":"n1","statistics":{"min":1.00,"avg":1.50,"max":2.00},"data":[1.00,null,2.00]}],"timestep":60}}}'
    metric = archive.decode_data(text)["cpu_load"][Scope.NODE]
    values = archive.samples(metric.series[0])
    assert values[0] == 1 and math.isnan(values[1]) and values[2] == 2
    assert list(json.loads(archive.encode_data({"cpu_load": {Scope.NODE: metric}}))["cpu_load"]["node"]) == ["unit", "series", "timestep"]


def test_only_the_asked_part_is_read():
    text = b'{"a":{"node":{"series":[{"hostname":"h"}],"timestep":1},"core":{"series":[{"hostname":"h"}]}},"b":{"node":"broken"}}'
    assert list(archive.decode_data(text, ["a"], [Scope.CORE])["a"]) == [Scope.CORE]
    with pytest.raises(archive.DocumentError, match="b"):
        archive.decode_data(text)


def test_filesystems_arrays_are_ignored():
    """PITFALL: the schema suggests them, the reference cannot read such a file."""
    assert archive.decode_data(b'{"filesystems":[{"name":"work"}],"a":{"unknown":{},"node":{"series":[]}}}').keys() == {"a"}


def test_infinite_and_missing_statistics_make_valid_json_and_are_read_again():
    """PITFALL: an infinite sample breaks the whole document in the reference, and names of hosts are written without escaping."""
    series = archive.Series('n"1', None, archive.Statistics(math.nan, math.inf, 1.0), msgspec.Raw(b"[1]"))
    written = archive.encode_data({"m": {Scope.NODE: archive.JobMetric(series=[series], timestep=1)}})
    entry = archive.decode_data(written)["m"][Scope.NODE].series[0]
    assert json.loads(written) and entry.hostname == 'n"1'
    assert math.isnan(entry.statistics.min) and math.isnan(entry.statistics.avg) and entry.statistics.max == 1.0


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{", b'{"cpu\xff":1}', b'{"m":' + b"[" * 5000, b'{"m":{"node\xff":{}}}', b'{"m":{"node":{"series":[{}]}}}']
)
def test_a_broken_data_document_is_named(document):
    with pytest.raises(archive.DocumentError, match="data document"):
        archive.decode_data(document)


def test_metrics_without_series_are_left_out():
    assert archive.encode_data({"m": {Scope.NODE: archive.JobMetric()}}) == b"{}\n"


@given(st.binary(max_size=60))
def test_documents_raise_only_the_documented_error(body):
    for decode in (archive.decode_data, archive.decode_meta):
        try:
            decode(body)
        except archive.DocumentError:
            pass
    for decode in (
        api.decode_query,
        api.decode_start_job,
        api.decode_stop_job,
        api.decode_free,
        api.decode_health,
        nodes.decode_node_states,
    ):
        try:
            decode(body)
        except BodyError:
            pass
    try:
        clusters.load_cluster(body, "c")
    except clusters.ClusterError:
        pass


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "metricConfig", "subClusters", "nodes", "scope", "timestep", "topology", "unit", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(_JSON)
def test_any_json_as_cluster_configuration_raises_only_the_documented_error(value):
    try:
        clusters.load_cluster(json.dumps(value).encode(), "c")
    except clusters.ClusterError as e:
        assert e.problems


# ---- clusters


def _cluster(**changes):
    metric = {
        "name": "m",
        "unit": {"base": "B"},
        "scope": "node",
        "timestep": 60,
        "aggregation": "sum",
        "peak": 4,
        "normal": 3,
        "caution": 2,
        "alert": 1,
    }
    sub = {"name": "main", "nodes": "n[01-10]", "topology": {"node": [0, 1], "socket": [[0, 1]], "memoryDomain": [[0, 1]]}}
    return {"name": "c", "metricConfig": [metric], "subClusters": [sub]} | changes


def load(tree, directory="c"):
    return clusters.load_cluster(json.dumps(tree).encode(), directory)


@pytest.mark.slow
def test_cluster_files_load_and_write_back_equal(shared_data):
    found = [
        *(shared_data / "cluster-configs").glob("cluster-*.json"),
        *(shared_data / "job-archive" / "archive-v3").glob("*/cluster.json"),
    ]
    loaded = 0
    for path in found:
        before = json.loads(path.read_bytes())
        try:
            cluster, _ = clusters.load_cluster(path.read_bytes(), before["name"])
        except clusters.ClusterError:
            assert path.name == "cluster-emmy.json"  # the legacy form
            continue
        loaded += 1
        after = json.loads(clusters.encode_cluster(cluster))
        for metric in before["metricConfig"]:
            for override in metric.get("subClusters", []):
                override.pop("unit", None)
        assert _relevant(after, after) == _relevant(before, after)
        assert not rules.fatal(rules.cluster_findings(cluster))
    assert loaded >= 9


def _relevant(tree, like):
    """Without unknown keys and empty values."""
    known = {"name", "metricConfig", "subClusters", *clusters_keys(clusters.MetricConfig), *clusters_keys(clusters.SubCluster)}
    known |= {
        *clusters_keys(clusters.SubClusterConfig),
        *clusters_keys(clusters.Topology),
        "id",
        "type",
        "model",
        "value",
        "base",
        "prefix",
    }
    if isinstance(tree, dict):
        return {k: w for k, v in tree.items() if k in known and (w := _relevant(v, like)) not in (None, {}, [], "", 0, False)}
    return [_relevant(v, like) for v in tree] if isinstance(tree, list) else tree


def clusters_keys(struct):
    return {f.encode_name for f in msgspec.structs.fields(struct)}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": ""}, "cluster name is empty in config for 'c'"),
        ({"metricConfig": []}, "cluster 'c' has no metric configurations"),
        ({"subClusters": None}, "cluster 'c' has no subclusters defined"),
        ({"metricConfig": [{"timestep": 1}]}, "cluster 'c' has a metric config with empty name"),
        ({"metricConfig": [{"name": "m", "timestep": 0}]}, "metric 'm' in cluster 'c' has invalid timestep 0 (must be >= 1)"),
        ({"metricConfig": [{"name": "m", "timestep": 1, "scope": "thread"}]}, "metric 'm' in cluster 'c' has invalid scope 'thread'"),
        ({"metricConfig": [{"name": "m", "timestep": "1"}]}, "failed to load cluster config for 'c'"),
        ({"subClusters": [{"name": "s", "nodes": "a[1-2"}]}, "in c/cluster.json: unclosed bracket"),
        ({"subClusters": [7]}, "subClusters[0]: expected an object"),
        ({"metricConfig": {}}, "no metric configurations"),
    ],
)
def test_what_a_cluster_file_may_not_say(changes, text):
    with pytest.raises(clusters.ClusterError) as e:
        load(_cluster(**changes))
    assert any(text in problem for problem in e.value.problems), e.value.problems


def test_all_problems_of_a_cluster_file_are_reported_at_once():
    with pytest.raises(clusters.ClusterError) as e:
        load({"name": "", "metricConfig": [{"name": "", "timestep": 0}], "subClusters": [{"name": "s", "nodes": "a b"}]})
    assert len(e.value.problems) == 4


def test_overrides_replace_totally_and_removed_metrics_are_gone():
    """PITFALL: derived lists that stand in the file are appended to in the reference, so what it answers cannot be fed back."""
    tree = _cluster()
    tree["metricConfig"][0] |= {"footprint": "avg", "energy": "power", "lowerIsBetter": True, "restrict": True}
    tree["metricConfig"][0]["subClusters"] = [{"name": "b", "peak": 9}, {"name": "x", "remove": True}]
    tree["subClusters"] = [tree["subClusters"][0] | {"name": name, "metricConfig": ["ignored"]} for name in ("a", "b", "x")]
    cluster, _ = load(tree)
    a, b, x = cluster.sub_clusters
    assert (a.footprint, a.energy_footprint, a.metric_config[0].peak) == (["m"], ["m"], 4)
    assert (b.footprint, b.energy_footprint, b.metric_config[0].peak, b.metric_config[0].normal) == ([], [], 9, 0)
    assert not b.metric_config[0].lower_is_better and x.metric_config == []
    (item,) = clusters.global_metrics([cluster])
    assert [v.sub_clusters for v in item.availability] == [["a", "b"]] and item.footprint == "avg"
    (item,) = clusters.global_metrics([cluster], restricted=False)
    assert [v.sub_clusters for v in item.availability] == [["b"]]
    assert (
        b"ignored" not in clusters.encode_cluster(cluster)
        and json.loads(clusters.encode_cluster(cluster))["subClusters"][0].keys() & {"footprint"} == set()
    )


def test_written_cluster_files_hold_no_empty_values():
    """PITFALL: the reference writes `"energy":""` and nulls that its own schema refuses."""
    written = clusters.encode_cluster(load(_cluster())[0])
    assert b"null" not in written and b'""' not in written.replace(b'"processorType":""', b"").replace(b'"base":""', b"")
    assert b"energy" not in written and b"accelerators" not in written and b"die" not in written


def test_the_metric_list_has_the_order_of_first_definition():
    """PITFALL: it is random in the reference."""
    first, second = _cluster(), _cluster(name="d")
    first["metricConfig"] = [first["metricConfig"][0] | {"name": name} for name in ("z", "a")]
    second["metricConfig"] = [second["metricConfig"][0] | {"name": name} for name in ("k", "a", "b")]
    items = clusters.global_metrics([load(first)[0], load(second, "d")[0]])
    assert [item.name for item in items] == ["z", "a", "k", "b"]
    assert [v.cluster for v in items[1].availability] == ["c", "d"]


def test_a_subcluster_that_stands_twice_is_warned_about():
    tree = _cluster()
    tree["subClusters"] *= 2
    assert "cluster 'c' has the subcluster 'main' twice; the first counts" in load(tree)[1]


def test_hosts_find_their_subcluster_in_the_order_of_the_file():
    """PITFALL: the reference picks one of two overlapping lists at random, and knows no `*` for single hosts."""
    tree = _cluster()
    base = tree["subClusters"][0]
    tree["subClusters"] = [
        base | {"name": "rest", "nodes": "*"},
        base | {"name": "a", "nodes": "n[1-5]"},
        base | {"name": "b", "nodes": "n[3-7]"},
    ]
    cluster, warnings = load(tree)
    hosts = clusters.HostMap(cluster)
    assert [hosts.find(h) for h in ("n1", "n4", "n7", "x")] == ["a", "a", "b", "rest"]
    assert len(warnings) == 1 and "3 hosts (n3 …)" in warnings[0]
    assert len(hosts.nodes("rest")) == 0


def test_subclusters_of_jobs():
    cluster, _ = load(_cluster())
    hosts = clusters.HostMap(cluster)
    assert hosts.assign("main", []) == "main" and hosts.assign("", ["n03"]) == "main"
    for given_, listed, text in (
        ("x", [], "unkown"),
        ("", [], "job without any resources/hosts"),
        ("", ["q"], "no subcluster found for cluster c and host q"),
    ):
        with pytest.raises(clusters.NoSubCluster, match=text):
            hosts.assign(given_, listed)


def test_topology_look_ups_are_ascending():
    topology = clusters.Topology(
        node=list(range(8)), socket=[[0, 1, 4, 5], [2, 3, 6, 7]], memory_domain=[[0, 1, 4, 5], [2, 3, 6, 7]],
        core=[[0, 4], [1, 5], [2, 6], [3, 7]], accelerators=[clusters.Accelerator("00000000:CE:00.0")],
    )  # fmt: skip
    assert topology.sockets_of([7, 0]) == ([0, 1], False)
    assert topology.cores_of([4, 0]) == ([0], True)
    assert topology.memory_domains_of([2]) == ([1], False)
    assert topology.sockets_of_cores([3, 99]) == ([1], False)
    assert topology.units_of(Scope.HWTHREAD, [3, 1, 99]) == [1, 3]
    assert topology.memory_domains_by_socket() == [[0], [1]]
    assert topology.accelerator_id("0000:ce:00.0") == "00000000:CE:00.0" and topology.accelerator_id("0000:cf:00.0") is None
    for domain in ([], [99]):
        with pytest.raises(ValueError, match="memory domain"):
            clusters.Topology(socket=[[0]], memory_domain=[domain]).memory_domains_by_socket()


# ---- request bodies


def test_query_bodies_are_read_leniently():
    q = api.decode_query(
        b'{"Cluster":"a","FROM":1,"to":2,"with-data":null,"x":1,"queries":[{"metric":"m","scale-by":null,"y":1}]} trailing'
    )
    assert (q.cluster, q.from_, q.to, q.with_data, q.with_stats, q.with_padding) == ("a", 1, 2, True, True, True)
    assert q.queries[0].scale_by is None and q.queries[0].aggreg is False
    assert api.decode_query(b'{"cluster":"a","CLUSTER":"b"}').cluster == "a"  # the exact key is preferred
    assert api.decode_query(b'{"cluster":"a","cluster":"b"}').cluster == "b"


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"", "EOF"), (b"  ", "EOF"), (b'{"from":1.5}', "from"), (b'{"queries":[{"type-ids":[1]}]}', "type-ids"), (b"[]", "object"), (b"\xff", "UTF-8"), (b'{"from":NaN}', "NaN")],
)  # fmt: skip
def test_query_bodies_that_cannot_be_read(body, text):
    with pytest.raises(BodyError, match=text):
        api.decode_query(body)


def test_strict_bodies_name_the_unknown_key():
    for decode, body in (
        (api.decode_start_job, b'{"jobId":1,"exclusive":1}'),
        (api.decode_start_job, b'{"resources":[{"hostname":"a","exclusive":1}]}'),
        (api.decode_stop_job, b'{"exclusive":1}'),
        (api.decode_health, b'{"exclusive":1}'),
        (nodes.decode_node_states, b'{"nodes":[{"exclusive":1}]}'),
    ):
        with pytest.raises(BodyError, match='json: unknown field "exclusive"'):
            decode(body)


def test_start_and_stop_bodies():
    job = api.decode_start_job(
        b'{"cluster":"alpha","subCluster":"","user":"alice","jobState":"","resources":[{"hostname":"g","accelerators":["00000000:01:00.0"]}],'
        b'"energyFootprint":null,"footprint":null,"metaData":{"a":"b"},"concurrentJobs":{"items":null,"count":0},"energy":0,"jobId":2,"statistics":null,"startTime":5,"tags":null}'
    )
    assert (job.shared, job.monitoring_status, job.energy, job.tags) == ("none", 1, 0.0, [])
    stop = api.decode_stop_job(b'{"jobId":2,"cluster":"alpha","jobState":"completed","stopTime":1795354923}')
    assert (stop.job_id, stop.start_time, stop.stop_time) == (2, None, 1795354923)
    assert msgspec.json.encode(stop) == b'{"jobId":2,"cluster":"alpha","jobState":"completed","stopTime":1795354923}'


def test_numbers_beyond_their_bits_are_refused():
    for body in (b'{"jobId":9223372036854775808}', b'{"numNodes":2147483648}', b'{"jobId":' + b"9" * 5000 + b"}"):
        with pytest.raises(BodyError):
            api.decode_start_job(body)


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    job = api.decode_start_job(b'{"user":"a\\ud800b","metaData":{"jobName":"\\ud83d\\ude00"}}')
    assert (job.user, job.meta_data) == ("a\ufffdb", {"jobName": "\U0001f600"})
    job.user.encode()


def test_free_and_selectors():
    assert api.decode_free(b'[["alex","a0329","memoryDomain2"],[]]') == [("alex", "a0329", "memoryDomain2"), ()]
    assert api.decode_free(b"[]") == []
    assert api.parse_selector(None) == api.parse_selector("") == ()
    # PITFALL: accelerator levels contain the separator.
    assert ("alex", "a0603", "accelerator00000000:49:00.0") in api.selector_candidates("alex:a0603:accelerator00000000:49:00.0")
    assert api.selector_candidates("a:b")[0] == ("a", "b")


def test_the_queries_of_a_request_are_written_as_the_reference_echoes_them():
    q = api.ApiQuery(type="socket", metric="m", host="h", type_ids=["0"])
    assert list(api.query_to_builtins(q)) == ["type", "metric", "host", "resolution", "type-ids", "scale-by", "aggreg"] or list(
        api.query_to_builtins(q)
    ) == ["type", "metric", "host", "resolution", "type-ids", "aggreg"]
    assert list(api.query_to_builtins(api.ApiQuery(metric="m", host="h"))) == ["metric", "host", "resolution", "aggreg"]


@pytest.mark.parametrize(
    ("words", "state"),
    [(["IDLE", "DOWN"], "down"), (["idle"], "idle"), (["MIXED", "ALLOCATED"], "allocated"), (["RESERVED", "IDLE"], "reserved"), (["MIXED"], "mixed"),
     (["DRAIN"], "unknown"), ([], "unknown")],
)  # fmt: skip
def test_node_states(words, state):
    assert nodes.reduce_states(words) == state


# ---- validation


def _job(**changes):
    base = {"jobId": 1, "user": "u", "project": "p", "cluster": "c", "subCluster": "main", "numNodes": 1, "shared": "none", "startTime": 5}
    return archive.decode_meta(
        json.dumps(base | {"jobState": "completed", "duration": 0, "resources": [{"hostname": "n"}]} | changes).encode()
    )


def test_a_plain_job_is_valid():
    assert rules.job_findings(_job(metaData=None, footprint=None)) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"shared": ""}, "shared"), ({"jobState": "stopped"}, "jobState"), ({"numNodes": 0}, "numNodes"), ({"resources": []}, "resources"), ({"user": ""}, "user"),
     ({"tags": [{"type": "a", "name": "b"}] * 2}, "tags[1]"), ({"duration": -1}, "duration"),
     ({"statistics": {"x": {"unit": {"base": "B"}, "avg": -1, "min": 0, "max": 0}}}, "statistics.x.avg")],
)  # fmt: skip
def test_what_makes_a_job_invalid(changes, path):
    assert [f.path for f in rules.fatal(rules.job_findings(_job(**changes)))] == [path]


def test_only_metrics_of_the_cluster_are_demanded():
    tree = _cluster()
    tree["metricConfig"][0]["name"] = "mem_bw"
    cluster, _ = load(tree)
    found = rules.job_findings(_job(statistics={}), cluster.sub_clusters[0])
    assert [str(f) for f in found] == [
        "SCHEMA/VALIDATE > statistics: the metric mem_bw is missing, which cluster.json defines for the subcluster main"
    ]


def test_unknown_unit_bases_are_warnings():
    (found,) = rules.job_findings(_job(statistics={"x": {"unit": {"base": "load"}, "avg": 1, "min": 0, "max": 2}}))
    assert not found.fatal and "load" in found.text


def test_data_rules():
    def data(series, **more):
        return archive.decode_data(json.dumps({"m": {"node": {"unit": {"base": ""}, "timestep": 60, "series": [series], **more}}}).encode())

    good = {"hostname": "n", "statistics": {"min": 0, "avg": 1, "max": 2}, "data": [1, None]}
    assert rules.data_findings(data(good)) == []
    assert rules.data_findings(data(good, statisticsSeries={"min": [1, None, 2], "max": [1, 2, 3], "mean": None})) == []  # PITFALL: gaps
    for wrong, more in ((good | {"data": [None]}, {}), (good | {"data": []}, {}), (good | {"hostname": ""}, {}), (good, {"timestep": 0}),
                        (good | {"data": ["x"]}, {}), (good, {"statisticsSeries": {"min": [1], "max": [1, 2, 3]}})):  # fmt: skip
        assert len(rules.data_findings(data(wrong, **more))) == 1, (wrong, more)


def test_archived_examples_are_valid(shared_data):
    for path in _archived(shared_data):
        assert rules.fatal(rules.job_findings(archive.decode_meta(path.read_bytes()))) == []
