"""nfs3stat and nfs4stat on recorded output of nfsstat."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import CommandFailed, SourceMissing
from cc_metric_collector.collectors.nfsstat import Nfs3stat, Nfs4stat

NOW = 1_700_000_000_123_456_789
OUTPUT = """\
nfs v3 server        total:      900
nfs v3 server         read:      800
nfs v3 client        total:       10
nfs v3 client         read:        3
nfs v4 client        total:      100
nfs v4 client         read:       70
nfs v4 client        write:       30
nfs v4 server         read:     5000
"""


@pytest.fixture
def output(tmp_path, fake_command):
    """File whose content the fake nfsstat prints."""
    file = tmp_path / "output"
    file.write_text(OUTPUT)
    fake_command("nfsstat", f'[ "$*" = "-l --all" ] && cat {file}')
    return file


def test_requests_since_the_last_read(opened, output, selected):
    three, four = opened(Nfs3stat), opened(Nfs4stat)
    output.write_text(OUTPUT.replace("read:       70", "read:       77").replace("total:       10\n", "total:       14\n"))
    messages = four.read(NOW, 0)
    assert selected(messages, type="node") == {"nfs4_total": 0, "nfs4_read": 7, "nfs4_write": 0}
    assert dict(messages[0].head.meta) == {"source": "Nfs4Collector", "group": "NFS", "version": "v4"}
    assert selected(three.read(NOW, 0)) == {"nfs3_total": 4, "nfs3_read": 0}
    assert selected(four.read(NOW, 0))["nfs4_read"] == 0


def test_pitfall_lines_of_a_server_do_not_count(opened, output, selected):
    collector = opened(Nfs4stat)
    output.write_text(OUTPUT.replace("5000", "6000"))
    assert selected(collector.read(NOW, 0))["nfs4_read"] == 0


def test_operations_that_come_and_go_and_counters_that_go_back(opened, output, selected):
    collector = opened(Nfs4stat)
    output.write_text(OUTPUT.replace("write:       30", "open:       5").replace("read:       70", "read:       1"))
    assert selected(collector.read(NOW, 0)) == {"nfs4_total": 0}
    assert selected(collector.read(NOW, 0)) == {"nfs4_total": 0, "nfs4_open": 0, "nfs4_read": 0}


def test_pitfall_excludes_by_the_bare_name(opened, output, selected):
    assert selected(opened(Nfs4stat, exclude_metrics=["read", "nfs4_write"]).read(NOW, 0)) == {"nfs4_total": 0, "nfs4_write": 0}


def test_a_failure_of_one_round_loses_no_request(opened, output, selected):
    collector = opened(Nfs4stat)
    output.unlink()
    with pytest.raises(CommandFailed):
        collector.read(NOW, 0)
    output.write_text(OUTPUT.replace("read:       70", "read:       77"))
    assert selected(collector.read(NOW, 0))["nfs4_read"] == 7


def test_errors_of_open(opened, fake_command):
    with pytest.raises(SourceMissing, match="no-such"):
        opened(Nfs3stat, nfsstat="no-such-nfsstat")
    fake_command("nfsstat", "exit 1")
    with pytest.raises(SourceMissing, match="exit status 1"):
        opened(Nfs3stat)
    fake_command("nfsstat", "echo 'nfs v3 client read: many'")
    with pytest.raises(SourceMissing, match="many"):
        opened(Nfs3stat)
