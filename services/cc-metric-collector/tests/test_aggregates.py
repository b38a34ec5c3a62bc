"""Interval aggregates: selection, functions, cache, and the pitfalls of the reference."""

from __future__ import annotations

import pytest
from cc_metric_collector.aggregates import IntervalCache, alike, compile_aggregates
from cc_metric_collector.base import metric, typed_head
from cc_metric_collector.config import AggregateConfig
from cc_metric_collector.topology import read_topology
from ccmessage.message import U64

TICK = 1_700_000_010 * 10**9


def m(name, value, unit="", **tags):
    return metric(typed_head(name, {k.replace("_", "-"): v for k, v in ({"type": "node"} | tags).items()}, "S", "G", unit), value, TICK - 5)


@pytest.fixture
def evaluate(node, make_context):
    def make(messages, condition="true", function="sum(values)", tags=None, meta=None):
        aggregates, errors = compile_aggregates([AggregateConfig("new", condition, function, tags or {}, meta or {})])
        assert not errors
        cache = IntervalCache(aggregates, read_topology(node), "n1", make_context().log)
        cache.remember(messages)
        return cache.finish(TICK)

    return make


TEMPS = [m("temp_core_0", 40), m("temp_core_1", 50), m("temp_package_id_0", 60)]


@pytest.mark.parametrize(
    ("condition", "function", "result"),
    [
        ("match('temp_core_%d+', metric.Name())", "max(values)", 50),
        ("match('temp_core_%d+', metric.Name())", "avg(values)", 45.0),
        ("name =~ 'temp_core'", "sum(values)", 90),
        ("metric.HasTag('type')", "len(values)", 3),
        ("metric.HasTag('nothing')", "len(values)", None),
        ("tags.type == 'node' && value > 45", "min(values)", 50),
        ("true", "median(values)", 50),  # pitfall: an odd length
        ("name =~ 'core'", "median(values)", 45),  # pitfall: an even one
        ("name == 'temp_core_0'", "median(values)", 40),  # pitfall: one element
        ("true", "sum(values) / numHWThreads", 150 / 8),
        ("true", "len(metrics)", 3),  # pitfall: 0 in the reference
        ("true", "numSockets + numDies + numNumaDomains + smtWidth", 8),
        ("true", "getCpuSocket(2)", 1),  # pitfall: number literals are floats
        ("true", "len(getSockCpuList(1))", 4),
        ("true", "len(getCoreCpuList(3))", 2),
        ("true", "getCpuCore(7)", 3),
        ("true", "len(getCpuListOfType('memoryDomain', 0))", 4),
        ("0 in getCpuList()", "len(values)", 3),
        ("true", "endtime", TICK // 10**9),
        ("unknown == 'x'", "len(values)", None),
    ],
)
def test_expressions(evaluate, condition, function, result):
    made = evaluate(TEMPS, condition, function)
    assert [x.fields["value"] for x in made] == ([] if result is None else [result])
    assert all(x.time_ns == TICK and x.head.name == "new" for x in made)


def test_tags_and_copies_from_the_last_match(evaluate):
    messages = [m("a", 1, "W", cluster="x"), m("b", 2, "J"), m("c", 3)]
    (made,) = evaluate(messages, tags={"type": "node", "cluster": "<copy>", "none": "<copy>"}, meta={"unit": "<copy>", "group": "mine"})
    assert dict(made.head.tags) == {"type": "node", "cluster": "x"} and dict(made.head.meta) == {"unit": "J", "group": "mine"}


def test_pitfall_numeric_kinds_are_mixed(evaluate):
    assert evaluate([m("a", U64(2)), m("b", U64(3))])[0].fields["value"] == 5
    assert evaluate([m("a", U64(2)), m("b", 1.5), m("c", "text")])[0].fields["value"] == 3.5
    assert alike([U64(1), 2]) == [1, 2]


def test_pitfall_an_error_costs_only_its_own_aggregate(node, make_context, log_text):
    configs = [
        AggregateConfig("bad", "true", "getCpuListOfType('x', 1)"),
        AggregateConfig("list", "true", "values"),
        AggregateConfig("good", "true", "sum(values)"),
    ]
    aggregates, errors = compile_aggregates(configs)
    cache = IntervalCache(aggregates, read_topology(node), "n1", make_context().log)
    cache.remember(TEMPS)
    assert errors == [] and [x.head.name for x in cache.finish(TICK)] == ["good"]
    assert "bad" in log_text.getvalue()


def test_pitfall_truth_values_and_infinities_are_no_messages(evaluate):
    assert evaluate(TEMPS, function="1 == 1") == []
    assert evaluate([m("a", 1e308), m("b", 1e308)], function="sum(values) * 10") == []


def test_pitfall_exactly_the_messages_of_the_last_interval(node, make_context):
    aggregates, _ = compile_aggregates([AggregateConfig("n", "true", "len(values)")])
    cache = IntervalCache(aggregates, read_topology(node), "n1", make_context().log)
    counts = []
    for n in (5, 2, 0, 1):
        cache.remember([m("a", 1)] * n)
        counts.append([x.fields["value"] for x in cache.finish(TICK)])
    assert counts == [[5], [2], [], [1]]


def test_bad_expressions_are_all_named():
    _, errors = compile_aggregates([AggregateConfig("a", "1 +", "sum(values)"), AggregateConfig("b", "true", "summ(values)")])
    assert [e.path for e in errors] == ["[0].if", "[1].function"]


def test_a_second_entry_of_a_name_replaces_the_first():
    aggregates, _ = compile_aggregates([AggregateConfig("a", "true", "sum(values)"), AggregateConfig("a", "true", "len(values)")])
    assert [a.function.text for a in aggregates] == ["len(values)"]
