"""The stdout sink."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import metric, node_head
from cc_metric_collector.common_keys import SinkConfig
from cc_metric_collector.sinks.setup import make_runner
from cc_metric_collector.sinks.stdout import Keys, StdoutSink
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Ledger

HEAD = node_head("m", "S", "G", "kB")


async def write(path, make_context, tmp_path, **keys):
    log, ledger = make_context().log, Ledger("out")
    config = Keys(type="stdout", output_file=str(path), **keys)
    runner = make_runner("out", StdoutSink(config, "out", log), config, tmp_path, ledger, log)
    await runner.start()
    runner.put([metric(HEAD, 1.5, 1_700_000_000_123_456_789)])
    await runner.stop(3)
    assert ledger.totals() == (1, 1, 0)


async def test_pitfall_a_file_is_appended_to(tmp_path, make_context):
    path = tmp_path / "out"
    await write(path, make_context, tmp_path)
    await write(path, make_context, tmp_path)
    assert path.read_text() == "m,type=node value=1.5 1700000000123456789\n" * 2
    assert path.stat().st_mode & 0o777 == 0o600


async def test_meta_as_tags(tmp_path, make_context):
    await write(tmp_path / "out", make_context, tmp_path, meta_as_tags=["unit", "source"])
    assert (tmp_path / "out").read_text() == "m,source=S,type=node,unit=kB value=1.5 1700000000123456789\n"


@pytest.mark.parametrize("word", ["stdout", "STDERR"])
async def test_words(tmp_path, make_context, capfd, word):
    await write(word, make_context, tmp_path)
    captured = capfd.readouterr()
    assert "value=1.5" in (captured.out if word == "stdout" else captured.err)


async def test_a_file_that_cannot_be_is_the_operators(make_context, tmp_path):
    with pytest.raises(OperatorError, match="output_file"):
        await StdoutSink(Keys(type="stdout", output_file=str(tmp_path / "no" / "x")), "out", make_context().log).open()
    assert SinkConfig(type="stdout").meta_as_tags == []
