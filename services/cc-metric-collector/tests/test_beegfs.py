"""beegfs_meta and beegfs_storage with a beegfs-ctl that prints recorded statistics."""

from __future__ import annotations

import os

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.beegfs import BeegfsMeta, BeegfsStorage

NOW = 1_700_000_000_123_456_789
META = """\
====== 1700000000 (Tue Nov 14 22:13:20 2023)
10.0.0.1:  5 [sum]  1 [open]
Sum:  12 [sum]  3 [open]  4 [close]  2 [refrEnt]  3 [ack]
"""
STORAGE = "Sum:       14 [sum]   5 [ops-rd]   1.5 [MiB-rd/s]   4 [ack]\n"


@pytest.fixture
def mounted(node, tmp_path, fake_command):
    (node / "proc/mounts").write_text(
        "beegfs_ondemand_7 /mnt/beeond beegfs rw 0 0\nbeegfs_nodev /home beegfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n"
    )
    (tmp_path / "meta").write_text(META)
    (tmp_path / "storage").write_text(STORAGE)
    fake_command(
        "beegfs-ctl",
        f'[ "$1 $3 $4" = "--clientstats --mount=/mnt/beeond --allstats" ] || exit 2\n'
        f'[ "$(od -An -c | tr -d " ")" = "\\\\n" ] || exit 3\ncat {tmp_path}/${{2#--nodetype=}}',
    )


def test_pitfall_named_metrics_have_their_values(opened, mounted, selected):
    messages = opened(BeegfsMeta).read(NOW, 0)
    assert selected(messages, type="node", filesystem="/mnt/beeond") == {
        "beegfs_cmeta_sum": 12.0,
        "beegfs_cmeta_open": 3.0,
        "beegfs_cmeta_close": 4.0,
        "beegfs_cmeta_refrEnt": 2.0,
        "beegfs_cmeta_ack": 3.0,
    }
    assert dict(messages[0].head.meta) == {"source": "BeegfsMetaCollector", "group": "BeegfsMeta"}
    messages = opened(BeegfsStorage).read(NOW, 0)
    assert selected(messages)["beegfs_cstorage_MiB-rd/s"] == 1.5 and selected(messages)["beegfs_cstorage_ops-rd"] == 5.0
    assert dict(messages[0].head.meta) == {"source": "BeegfsStorageCollector", "group": "BeegfsStorage"}


@pytest.mark.parametrize("name", ["refrEn", "refrEnt"])
def test_pitfall_excluded_operations_are_summed_under_the_own_prefix(opened, mounted, selected, name):
    values = selected(opened(BeegfsMeta, exclude_metrics=["ack", name]).read(NOW, 0))
    assert values == {"beegfs_cmeta_sum": 12.0, "beegfs_cmeta_open": 3.0, "beegfs_cmeta_close": 4.0, "beegfs_cmeta_other": 5.0}


def test_no_file_system_and_excluded_ones(opened, mounted, node):
    assert opened(BeegfsMeta, exclude_filesystem=["/mnt/beeond"]).read(NOW, 0) == []
    (node / "proc/mounts").write_text("")
    assert opened(BeegfsMeta).read(NOW, 0) == []


def test_a_command_that_fails(opened, mounted, fake_command, log_text):
    collector = opened(BeegfsMeta)
    fake_command("beegfs-ctl", "exit 4")
    assert collector.read(NOW, 0) == [] and "exit status 4" in log_text.getvalue()
    fake_command("beegfs-ctl", "echo 'Sum: nothing'")
    assert collector.read(NOW, 0) == []


def test_errors_of_open(opened, mounted, monkeypatch):
    with pytest.raises(SourceMissing, match="/no/such"):
        opened(BeegfsMeta, beegfs_path="/no/such")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SourceMissing, match="root"):
        opened(BeegfsMeta)
