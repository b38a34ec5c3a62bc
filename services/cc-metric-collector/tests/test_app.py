"""Wiring: what assembling a configuration gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cc_metric_collector.app import assemble
from cc_metric_collector.base import metric, node_head
from cc_metric_collector.config import load_settings
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Registry


@pytest.fixture
def assembled(tmp_path, make_context, node):
    def make(**sections):
        document = {"main": {"interval": "10s", "state_dir": str(tmp_path / "state")}, "router": {}, "collectors": {}} | sections
        path = tmp_path / "config.json"
        path.write_text(json.dumps(document))
        registry = Registry("t")
        return assemble(load_settings(path), make_context().log, registry, root=node), registry

    return make


async def test_a_sink_that_cannot_be_opened_gets_nothing(assembled, tmp_path):
    parts, registry = assembled(
        sinks={
            "file": {"type": "stdout", "output_file": str(tmp_path / "out")},
            "fritznats": {"type": "nats", "host": "127.0.0.1", "database": "fritz", "nkey_file": str(tmp_path / "no.nkey")},
        }
    )
    await parts.sinks.start()
    assert [r.name for r in parts.sinks.runners] == ["file"]
    parts.router.collected([metric(node_head("a", "S", "G"), 1.0, 5)], 10**9)
    await parts.sinks.stop(3)
    assert registry.ledger("sink fritznats").totals() == (0, 0, 0)
    assert (tmp_path / "out").read_text().startswith("a,hostname=")


async def test_no_sink_left_is_the_operators(assembled, tmp_path):
    parts, _ = assembled(sinks={"file": {"type": "stdout", "output_file": str(tmp_path / "no" / "x")}})
    with pytest.raises(OperatorError, match="no usable sink"):
        await parts.sinks.start()
    with pytest.raises(OperatorError, match="no usable sink"):
        assembled(sinks={"x": {"type": "nosuch"}})


async def test_spool_directory_is_that_of_the_configuration(assembled, tmp_path):
    parts, _ = assembled(sinks={"store": {"type": "http", "url": "http://127.0.0.1:9/"}})
    await parts.sinks.start()
    await parts.sinks.stop(1)
    assert (Path(tmp_path) / "state" / "spool" / "store" / "lock").exists()


async def test_without_a_place_for_it_there_is_no_spool_but_a_warning(assembled, tmp_path, log_text):
    (tmp_path / "state").write_text("a file")
    assembled(sinks={"store": {"type": "http", "url": "http://127.0.0.1:9/"}})
    assert "sink.no_spool" in log_text.getvalue()
