"""Files: sections, includes, the tutorial's snippets, all mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cc_metric_collector.__main__ import main
from cc_metric_collector.app import check
from cc_metric_collector.config import load_settings
from ccdaemon.errors import ConfigErrors

MAIN = {"main": {"interval": "10s", "duration": "1s"}, "collectors": {}, "router": {}, "sinks": {"out": {"type": "stdout"}}}

TUTORIAL_SINKS = """
{
"fritzstore": {
"type": "http",
"url": "http://monitoring.nhr.fau.de:8082/api/write?cluster=fritz",
"jwt": "XYZ",
"idle_connection_timeout": "60s"
},
"fritznats": {
"type": "nats",
"host": "monitoring.nhr.fau.de",
"database": "fritz",
"nkey_file": "/etc/cc-metric-collector/nats.nkey",
}
}
"""

TUTORIAL_ROUTER = {
    "rename": """{"process_messages" : {"rename_messages" : {"load_one" : "cpu_load", "net_bytes_in_bw" : "net_bytes_in"}}}""",
    "drop": """{"process_messages" : {"drop_messages" : ["load_five", "load_fifteen", "proc_run", "proc_total"]}}""",
    "normalize": """{"process_messages" : {"normalize_units": true}}""",
    "prefix": """{"process_messages" : {"change_unit_prefix": {"name == 'mem_used'": "G", "name == 'cpufreq'": "M"}}}""",
    "tags": """{"process_messages" : {"add_tags_if": [{"key": "cluster", "value": "alex", "if": "true"}]}}""",
    "attributes": """{"interval_timestamp": true, "num_cache_intervals": 1, "hostname_tag": "hostname", "max_forward": 50}""",
}


@pytest.fixture
def write(tmp_path):
    def make(text: object, name: str = "config.json") -> Path:
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return make


def fatal(path: Path) -> list[str]:
    try:
        return [str(p) for p in check(load_settings(path)) if p.fatal]
    except ConfigErrors as errors:
        return [str(p) for p in errors.problems]


def warnings(path: Path) -> list[str]:
    return [str(p) for p in check(load_settings(path)) if not p.fatal]


def test_smallest(write):
    assert fatal(write(MAIN)) == [] and warnings(write(MAIN)) == []


def test_tutorial_sinks_load_as_they_are(write):
    write(TUTORIAL_SINKS, "sinks.json")
    path = write(json.dumps({k: v for k, v in MAIN.items() if k != "sinks"} | {"sinks-file": "sinks.json"}))
    assert fatal(path) == [] and warnings(path) == []


@pytest.mark.parametrize("name", TUTORIAL_ROUTER)
def test_tutorial_router_snippets(write, name):
    write(TUTORIAL_ROUTER[name], "router.json")
    path = write({k: v for k, v in MAIN.items() if k != "router"} | {"router-file": "./router.json"})
    assert fatal(path) == [] and warnings(path) == []


def test_receivers_may_be_empty_or_missing(write):
    assert fatal(write(MAIN | {"receivers": {}})) == []


def test_includes_beside_the_file_or_in_the_working_directory(write, tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    write(MAIN["sinks"], "sinks.json")
    path = write({k: v for k, v in MAIN.items() if k != "sinks"} | {"sinks-file": "sinks.json"}, "etc/config.json")
    assert fatal(path) != []
    monkeypatch.chdir(tmp_path)
    assert fatal(path) == []


def test_layout_of_old_releases(write):
    for name in ("sinks", "router", "collectors", "receivers"):
        write(MAIN.get(name, {}), f"{name}.json")
    path = write(
        {
            "sinks": "./sinks.json",
            "collectors": "./collectors.json",
            "receivers": "./receivers.json",
            "router": "./router.json",
            "interval": "10s",
            "duration": "1s",
        }
    )
    assert fatal(path) == []
    assert load_settings(path).main.interval == 10
    assert any("old form" in w for w in warnings(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"main": None}, "main"),
        ({"main": {"interval": "10"}}, "no duration"),
        ({"main": {}}, "interval"),
        ({"main": {"interval": "0s"}}, "greater than zero"),
        ({"main": {"interval": "-10s"}}, "greater than zero"),
        ({"main": {"interval": "10s", "duration": "11s"}}, "interval"),
        ({"router": None}, "router"),
        ({"sinks": None}, "sinks"),
        ({"sinks-file": "sinks.json"}, "same section"),
        ({"collectors": []}, "object"),
        ({"collectors": {"ibstatt": {}}}, "there is no collector 'ibstatt', there are: beegfs_meta, beegfs_storage, cpufreq"),
        ({"collectors": {"topprocs": {"num_procs": 11}}}, "at most 10"),
        ({"sinks": {"a": {"type": "htpp", "url": "x"}}}, "there is no sink 'htpp'"),
        ({"sinks": {"a": {}}}, "has no type"),
        ({"sinks": {"a": {"type": "http"}}}, "url"),
        ({"sinks": {"a": {"type": "http", "url": "http://h/", "flush_delay": "5"}}}, "no duration"),
        ({"sinks": {"a": {"type": "nats", "host": "h"}}}, "subject"),
        ({"sinks": {"a": {"type": "http", "url": "ftp://x"}}}, "no http or https URL"),
        ({"sinks": {"a": {"type": "http", "url": "http://h/", "username": "u"}}}, "password is missing"),
        ({"sinks": {"a": {"type": "nats", "host": "h", "subject": "x", "tls_key_file": "k"}}}, "tls_cert_file is missing"),
        ({"receivers": {"a": {"type": "http", "password": "p"}}}, "username is missing"),
        ({"receivers": {"a": {"type": "nats"}}}, "subject"),
        ({"router": {"process_messages": {"drop_messages_if": ["nam == 'x'"]}}}, "nam"),
        ({"router": {"process_messages": {"drop_messages_if": ["match('temp', name)"]}}}, "match"),
        ({"router": {"interval_aggregates": [{"name": "a", "if": "1 +", "function": "sum(values)"}]}}, "interval_aggregates[0].if"),
        ({"router": {"interval_aggregates": [{"name": "a", "function": "sum(values)"}]}}, "if"),
        ({"sinks": {"a": {"type": "stdout", "process_messages": {"drop_messages_if": ["1 +"]}}}}, "drop_messages_if"),
    ],
)
def test_mistakes_say_what_is_wrong(write, change, says):
    document = {k: v for k, v in (MAIN | change).items() if v is not None}
    found = fatal(write(document))
    assert found and any(says in text for text in found), found


def test_bad_rules_have_their_place(write):
    text = """{"main": {"interval": "10s"}, "collectors": {}, "sinks": {"o": {"type": "stdout",
    "process_messages": {
      "add_tags_if": [{"key": "a", "value": "b", "if": "true"},
                      {"key": "a", "value": "b", "if": "nam == 'x'"}]}}},
    "router": {"process_messages": {
       "change_unit_prefix": {"name == 'a'": "G",
                              "nam == 'x'": "G"}}}}"""
    path = write(text)
    lines = sorted(int(p.removeprefix(f"{path}:").split(":")[0]) for p in fatal(path))
    assert lines == [4, 7]


def test_all_mistakes_at_once(write):
    found = fatal(write(MAIN | {"main": {"interval": 10}, "router": {"max_forward": "x"}}))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"odd": 1}, "odd"),
        ({"main": {"interval": "10s", "intervall": "1s"}}, "intervall"),
        ({"router": {"num_cache_intervals": 0, "interval_aggregates": [{"name": "a", "if": "true", "function": "x"}]}}, "not computed: a"),
        ({"router": {"max_forward": 1}}, "2 is taken"),
        ({"router": {"hostname_tag": "node17"}}, "hostname"),
        ({"router": {"manipulate_messages": []}}, "manipulate_messages"),
        ({"router": {"process_messages": {"add_base_tags": []}}}, "add_base_tags"),
        ({"collectors": {"loadavg": {"send_meta": True}}}, "send_meta"),
        ({"sinks": {"a": {"type": "http", "url": "http://h/", "path": "x"}}}, "path"),
    ],
)
def test_pitfall_unknown_and_odd_values_are_warnings_and_cost_nothing(write, change, says):
    path = write(MAIN | change)
    assert fatal(path) == []
    assert any(says in text for text in warnings(path)), warnings(path)


def test_aliases_of_production_files(write):
    router = {"normalize_metrics": True, "del_tags": [{"key": "x", "if": "*"}], "add_tags": [{"key": "cluster", "value": "c", "if": "*"}]}
    path = write(MAIN | {"router": router})
    assert fatal(path) == []
    assert load_settings(path).router.normalize_units is True


def test_check_config_prints_everything(write, capsys):
    assert main(["-check-config", "-config", str(write(MAIN))]) == 0
    assert "good" in capsys.readouterr().out
    path = write(MAIN | {"collectors": {"nosuch": {}, "loadavg": {"x": 1}}})
    assert main(["--check-config", f"--config={path}"]) == 1
    out = capsys.readouterr().out
    assert "error:" in out and "nosuch" in out and "warning:" in out and f"{path}:1:" in out


def test_a_missing_file_is_no_traceback(tmp_path, capsys):
    assert main(["-config", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
