"""Stamp, processing, host name, fan-out, warnings."""

from __future__ import annotations

import pytest
from cc_metric_collector.app import compile_router
from cc_metric_collector.base import metric, node_head, typed_head
from cc_metric_collector.config import RouterConfig, Settings
from cc_metric_collector.router import Router, local_hostname, router_options
from ccdaemon.config.jsonc import parse
from ccdaemon.config.walk import convert
from ccdaemon.ledger import Ledger
from ccmessage.message import head
from msgspec.structs import replace

TICK = 1_700_000_010 * 10**9
NOW = TICK + 123


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.full = False
        self.spooled = True
        self.safe = True
        self.got = []

    async def settled(self):
        return self.safe

    def put(self, ms):
        self.got += ms


@pytest.fixture
def make(make_context, tmp_path):
    def build(text: str = "{}", sinks: int = 1):
        config, problems = convert(parse(text, tmp_path / "router.json"), RouterConfig, "router")
        assert config is not None, problems
        kept = [Kept() for _ in range(sinks)]
        settings = Settings(None, config, {}, {}, {}, [])
        router = Router(
            compile_router(settings, "n1"),
            kept,
            stamp=config.interval_timestamp is not False,
            stamp_received=config.interval_timestamp is True,
            wall_ns=lambda: NOW,
            ledger=Ledger("router"),
            log=make_context().log,
        )
        return router, kept

    return build


def m(name="load_one", value=1.0, unit="", **tags):
    return metric(typed_head(name, {"type": "node", **{k.replace("_", "-"): v for k, v in tags.items()}}, "T", "G", unit), value, NOW)


def test_defaults_stamp_normalise_and_add_the_host(make):
    router, (sink,) = make()
    router.collected([m("mem_used", 5.0, "kBytes")], TICK)
    (got,) = sink.got
    assert got.time_ns == TICK and got.head.tags["hostname"] == "n1" and got.head.meta["unit"] == "KB"


def test_all_sinks_get_everything(make):
    router, sinks = make(sinks=3)
    router.collected([m(), m("b")], TICK)
    assert [len(s.got) for s in sinks] == [2, 2, 2]


def test_interval_timestamp_false_keeps_the_time(make):
    router, (sink,) = make('{"interval_timestamp": false}')
    router.collected([m()], TICK)
    assert sink.got[0].time_ns == NOW


def test_pitfall_received_messages_keep_their_time_unless_asked(make):
    for text, time_ns in (("{}", 5), ('{"interval_timestamp": true}', TICK)):
        router, (sink,) = make(text)
        router.tick(TICK)
        router.received([replace(m(), time_ns=5)])
        assert sink.got[0].time_ns == time_ns


def test_pitfall_stamped_with_the_round_they_belong_to(make):
    router, (sink,) = make()
    router.collected([m()], TICK + 10)
    router.collected([m()], TICK)  # a late one
    assert [x.time_ns for x in sink.got] == [TICK + 10, TICK]


def test_host_name_of_others_is_kept(make):
    router, (sink,) = make()
    router.received([m(hostname="other")])
    assert sink.got[0].head.tags["hostname"] == "other"


def test_pitfall_host_name_also_with_a_stage_order_that_has_no_add_tag(make):
    router, (sink,) = make('{"process_messages": {"stage_order": ["rename"], "rename_messages": {"load_one": "cpu_load"}}}')
    router.collected([m()], TICK)
    assert sink.got[0].head.name == "cpu_load" and sink.got[0].head.tags["hostname"] == "n1"


def test_hostname_keys(make):
    assert local_hostname(RouterConfig(), "n1.example.org") == "n1"
    assert local_hostname(RouterConfig(hostname="x.y"), "n1.example.org") == "x.y"
    router, (sink,) = make('{"hostname_tag": "host"}')
    router.collected([m()], TICK)
    assert sink.got[0].head.tags["host"] == "n1" and "hostname" not in sink.got[0].head.tags


def test_pitfall_drop_before_rename_the_production_idiom(make):
    router, (sink,) = make(
        '{"process_messages": {"drop_messages": ["net_bytes_in"], "rename_messages": {"net_bytes_in_bw": "net_bytes_in"}}}'
    )
    router.collected([m("net_bytes_in", 5), m("net_bytes_in_bw", 7.0)], TICK)
    assert [(x.head.name, x.fields["value"]) for x in sink.got] == [("net_bytes_in", 7.0)]
    assert sink.got[0].head.meta["oldname"] == "net_bytes_in_bw"


def test_deprecated_keys(make):
    router, (sink,) = make(
        """{"drop_metrics": ["a"], "drop_metrics_if": ["name == 'b'"], "rename_metrics": {"c": "d"},
        "add_tags": [{"key": "cluster", "value": "fritz", "if": "*"}, {"key": "x", "value": "y", "if": "name == 'e'"}],
        "delete_tags": [{"key": "device", "if": "*"}], "change_unit_prefix": {"mem's": "G"}}"""
    )
    router.collected([m("a"), m("b"), m("c", device="sda"), m("mem's", 2e9, "Bytes")], TICK)
    assert [x.head.name for x in sink.got] == ["d", "mem's"]
    assert dict(sink.got[0].head.tags) == {"type": "node", "cluster": "fritz", "hostname": "n1"}
    assert sink.got[1].fields["value"] == 2.0


def test_process_messages_wins_over_rename_metrics():
    config, _ = convert(
        parse('{"process_messages": {"rename_messages": {"a": "b"}}, "rename_metrics": {"a": "c"}}', None), RouterConfig, "router"
    )
    assert dict(router_options(config).rename_messages) == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("{}", "KB"),
        ('{"normalize_units": false}', "kB"),
        ('{"process_messages": {"normalize_units": true}}', "KB"),
        ('{"process_messages": {"normalize_units": true}, "normalize_units": false}', "KB"),
        ('{"process_messages": {"normalize_units": false}}', "kB"),
        ('{"process_messages": {}, "normalize_metrics": true}', "KB"),
    ],
)
def test_pitfall_normalize_units_effective_value(make, text, unit):
    router, (sink,) = make(text)
    router.collected([m("mem_used", 5.0, "kB")], TICK)
    assert sink.got[0].head.meta["unit"] == unit


def test_ledger_closes(make):
    router, (sink,) = make('{"process_messages": {"drop_messages": ["a"]}}')
    router.collected([m("a"), m("b")], TICK)
    assert router._ledger.totals() == (2, 1, 1)


def test_two_parts_of_a_node_in_one_series_are_warned_about_once(make, log_text):
    router, _ = make()
    messages = [m(name, 1, stype="network", stype_id=d) for d in ("eth0", "ib0") for name in ("net_bytes_in", "net_bytes_out")]
    router.collected(messages, TICK)
    router.collected(messages, TICK + 10)
    assert log_text.getvalue().count("same_series") == 1
    assert "net_bytes_in net_bytes_out" in log_text.getvalue()
    assert "eth0 ib0" in log_text.getvalue() and "rename_messages_if" in log_text.getvalue()


def test_one_part_or_names_kept_apart_are_fine(make, log_text):
    router, _ = make('{"process_messages": {"rename_messages_if": {"name == \'x\' && tags[\'stype-id\'] == \'ib0\'": "x_ib"}}}')
    router.collected([m("x", 1, stype="network", stype_id="eth0"), m("x", 1, stype="network", stype_id="ib0")], TICK)
    router.collected([m("y", 1, type="hwthread", device="a"), m("y", 1, type="hwthread", device="b")], TICK)
    assert "same_series" not in log_text.getvalue()


def test_not_taken_when_closed_or_when_no_sink_has_room(make):
    router, sinks = make(sinks=2)
    sinks[0].full = True
    assert router.received([m()]) is True
    sinks[1].full = True
    assert router.received([m()]) is False
    sinks[1].full = False
    router.close()
    assert router.received([m()]) is False
    assert len(sinks[1].got) == 1


def test_events_pass_too(make):
    from ccmessage.message import Message

    router, (sink,) = make()
    router.received([Message(head("job", {"function": "start_job"}, {}), {"event": "{}"}, 7)])
    assert sink.got[0].fields == {"event": "{}"} and sink.got[0].time_ns == 7


def test_node_head_is_what_the_collectors_use():
    assert dict(node_head("a", "S", "G").tags) == {"type": "node"}


def test_aggregates_pass_the_rules_and_see_what_was_dropped(make, node, make_context):
    from cc_metric_collector.aggregates import IntervalCache, compile_aggregates
    from cc_metric_collector.config import AggregateConfig
    from cc_metric_collector.topology import read_topology

    router, (sink,) = make(
        '{"process_messages": {"drop_messages": ["a"], "add_tags_if": [{"key": "cluster", "value": "fritz", "if": "true"}]}}'
    )
    aggregates, _ = compile_aggregates([AggregateConfig("total", "name == 'a' || name == 'total'", "sum(values)")])
    router._cache = IntervalCache(aggregates, read_topology(node), "n1", make_context().log)
    router.collected([m("a", 1.0), m("a", 2.0)], TICK)
    assert sink.got == []  # pitfall: a dropped message crashes or misses the cache of the reference
    router.tick(TICK + 10)
    (total,) = sink.got
    assert total.fields["value"] == 3.0 and total.time_ns == TICK + 10 and total.head.tags["cluster"] == "fritz"
    router.tick(TICK + 20)  # it was among the messages of the interval that began with it
    assert sink.got[1].fields["value"] == 3.0


async def test_settled_asks_the_sinks_that_have_a_peer(make):
    router, sinks = make(sinks=2)
    assert await router.settled()
    sinks[1].safe = False
    assert not await router.settled()
    sinks[1].spooled = False  # stdout
    assert await router.settled()


def test_the_tutorials_prefixes_with_the_units_that_the_collectors_send(make):
    router, (sink,) = make("""{"process_messages": {"change_unit_prefix": {"name == 'mem_used'": "G", "name == 'cpufreq'": "M"}}}""")
    router.collected([m("mem_used", 32_000_000.0, "kB"), m("cpufreq", 2_400_000, "kHz")], TICK)
    assert [(x.fields["value"], x.head.meta["unit"]) for x in sink.got] == [(32.0, "GB"), (2400, "MHz")]
