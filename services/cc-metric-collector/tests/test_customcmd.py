"""Commands and files of the administrator."""

from __future__ import annotations

import time

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.customcmd import Customcmd, Keys

NOW = 1_700_000_000_000_000_000


@pytest.fixture
def opened(make_context, tmp_path):
    def make(interval=10.0, **keys):
        collector = Customcmd(Keys(**keys))
        collector.open(make_context(tmp_path, interval))
        return collector

    return make


def test_lines_pass_unchanged(opened, tmp_path):
    (tmp_path / "metrics").write_text('a,type=node,x=1 value=1.5 1700000000000000001\nb,type=core,type-id=3 value=2i,event="x" 5\n')
    collector = opened(files=["/metrics"], commands=["echo c,type=node value=3u 7"])
    found = {m.head.name: (dict(m.head.tags), dict(m.head.meta), dict(m.fields), m.time_ns) for m in collector.read(NOW, 0)}
    assert found == {
        "a": ({"type": "node", "x": "1"}, {}, {"value": 1.5}, 1700000000000000001),
        "b": ({"type": "core", "type-id": "3"}, {}, {"value": 2, "event": "x"}, 5),
        "c": ({"type": "node"}, {}, {"value": 3}, 7),
    }


def test_pitfall_one_bad_line_costs_only_itself_and_time_may_be_missing(opened, tmp_path, log_text):
    (tmp_path / "metrics").write_text("a value=1\nthis is wrong\nb value=2 9\n")
    messages = opened(files=["/metrics"]).read(NOW, 0)
    assert [(m.head.name, m.time_ns) for m in messages] == [("a", NOW), ("b", 9)]
    assert "bad_line" in log_text.getvalue()


def test_exclude(opened, tmp_path):
    (tmp_path / "metrics").write_text("a value=1 1\nb value=2 1\n")
    assert [m.head.name for m in opened(files=["/metrics"], exclude_metrics=["a"]).read(NOW, 0)] == ["b"]


def test_what_does_not_work_at_start_is_left_out(opened, log_text):
    collector = opened(commands=["false", "echo a value=1 1", "no-such-program"], files=["/none"])
    assert [m.head.name for m in collector.read(NOW, 0)] == ["a"]
    assert log_text.getvalue().count("left_out") == 3
    with pytest.raises(SourceMissing):
        opened(commands=["false"])
    with pytest.raises(SourceMissing):
        opened()


def test_pitfall_a_command_has_the_interval_and_no_more(opened, tmp_path):
    script = tmp_path / "cmd"
    script.write_text(f"#!/bin/sh\n[ -e {tmp_path}/slow ] && sleep 30\necho a value=1 1\n")
    script.chmod(0o755)
    collector = opened(interval=0.5, commands=[str(script)])
    (tmp_path / "slow").touch()
    begin = time.monotonic()
    assert collector.read(NOW, 0) == []
    assert time.monotonic() - begin < 5


def test_failing_later_discards_the_output_of_that_round(opened, tmp_path):
    script = tmp_path / "cmd"
    script.write_text(f"#!/bin/sh\necho a value=1 1\n[ ! -e {tmp_path}/bad ]\n")
    script.chmod(0o755)
    collector = opened(commands=[str(script)])
    assert len(collector.read(NOW, 0)) == 1
    (tmp_path / "bad").touch()
    assert collector.read(NOW, 0) == []
