"""gpfs with an mmpmon that prints recorded statistics."""

from __future__ import annotations

import os

import pytest
from cc_metric_collector.base import CommandFailed, SourceMissing
from cc_metric_collector.collectors.gpfs import Gpfs

COUNTERS = {"br": 1000, "bw": 2000, "oc": 10, "cc": 9, "rdc": 100, "wc": 200, "dir": 3, "iu": 4}
ALL = {"send_abs_values": True, "send_diff_values": True, "send_derived_values": True, "send_total_values": True}


def line(second=1700000000, fs="home", rc=0, **changes):
    counters = " ".join(f"_{k}_ {v}" for k, v in {**COUNTERS, **changes}.items())
    return f"_fs_io_s_ _n_ 10.0.0.1 _nn_ n1 _rc_ {rc} _t_ {second} _tu_ 5 _cl_ c.example _fs_ {fs} _d_ 12 {counters}\n"


@pytest.fixture
def output(tmp_path, fake_command):
    """File whose content the fake mmpmon prints."""
    file = tmp_path / "output"
    file.write_text(line())
    fake_command("mmpmon", f'[ "$*" = "-p -s" ] && [ "$(cat)" = "once fs_io_s" ] && cat {file}')
    return file


def test_counters_changes_rates_and_totals(opened, output, selected):
    collector = opened(Gpfs, **ALL)
    first = collector.read(1, 0)
    assert len(first) == 11 and {m.time_ns for m in first} == {1_700_000_000_000_005_000}
    assert selected(first)["gpfs_num_opens"] == 10 and not any(m.head.name.endswith(("_diff", "_rate")) for m in first)
    output.write_text(line(1700000002, br=3000, oc=14, rdc=110))
    messages = collector.read(1, 0)
    values = selected(messages, type="node", filesystem="home")
    assert (values["gpfs_bytes_read"], values["gpfs_bytes_read_diff"], values["gpfs_bw_read"]) == (3000, 2000, 1000.0)
    assert (values["gpfs_bytes_total"], values["gpfs_bytes_total_diff"], values["gpfs_bw_total"]) == (5000, 2000, 1000.0)
    assert (values["gpfs_iops"], values["gpfs_iops_rate"], values["gpfs_metaops"], values["gpfs_metaops_diff"]) == (310, 5.0, 30, 4)
    assert len(values) == 33
    units = {m.head.name: m.head.meta["unit"] for m in messages}
    assert units["gpfs_opens_rate"] == "requests/sec" and units["gpfs_bw_total"] == "bytes/sec" and units["gpfs_iops"] == "requests"
    assert {k: messages[0].head.meta[k] for k in ("source", "group")} == {"source": "GpfsCollector", "group": "GPFS"}


def test_pitfall_rate_of_closes_comes_from_closes(opened, output, selected):
    collector = opened(Gpfs, send_derived_values=True)
    collector.read(1, 0)
    output.write_text(line(1700000001, oc=110, cc=11))
    values = selected(collector.read(1, 0))
    assert values["gpfs_closes_rate"] == 2.0 and values["gpfs_opens_rate"] == 100.0


def test_pitfall_odd_and_empty_lines(opened, output, log_text):
    output.write_text("\n_fs_io_s_\n" + line().strip() + " _odd_\n" + line(fs="bad", rc=1) + "_response_ x\n")
    messages = opened(Gpfs, send_abs_values=True).read(1, 0)
    assert {m.head.tags["filesystem"] for m in messages} == {"home"} and len(messages) == 8
    assert "no file system" in log_text.getvalue()  # the first reason; the next ones are throttled


def test_counters_that_go_back_or_are_missing(opened, output, selected):
    collector = opened(Gpfs, **ALL)
    collector.read(1, 0)
    output.write_text(line(1700000001, br=1).replace(" _wc_ 200", ""))
    values = selected(collector.read(1, 0))
    assert values["gpfs_bytes_read_diff"] == 0 and values["gpfs_bw_read"] == 0.0 and isinstance(values["gpfs_bw_read"], float)
    assert values["gpfs_num_writes"] == 200 and values["gpfs_num_writes_diff"] == 0


@pytest.mark.parametrize("keys", [{"send_bandwidths": True}, {"send_bandwidths": True, "send_total_values": True}])
def test_pitfall_bandwidths_are_always_three(opened, output, selected, keys):
    collector = opened(Gpfs, **keys)
    assert collector.read(1, 0) == []
    output.write_text(line(1700000001))
    assert selected(collector.read(1, 0)) == {"gpfs_bw_read": 0.0, "gpfs_bw_write": 0.0, "gpfs_bw_total": 0.0}


def test_excludes(opened, output):
    output.write_text(line() + line(fs="work"))
    messages = opened(Gpfs, send_abs_values=True, exclude_filesystem=["home"], exclude_metrics=["gpfs_num_opens"]).read(1, 0)
    assert {m.head.tags["filesystem"] for m in messages} == {"work"} and len(messages) == 7


def test_a_failure_sends_nothing(opened, output):
    collector = opened(Gpfs, send_abs_values=True)
    output.unlink()
    with pytest.raises(CommandFailed):
        collector.read(1, 0)


def test_sudo_and_errors_of_open(opened, output, fake_command, tmp_path, monkeypatch):
    with pytest.raises(SourceMissing, match="no metrics"):
        opened(Gpfs, send_total_values=True)
    with pytest.raises(SourceMissing, match="absolute"):
        opened(Gpfs, send_abs_values=True, use_sudo=True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SourceMissing, match="root"):
        opened(Gpfs, send_abs_values=True)
    fake_command("sudo")
    assert opened(Gpfs, send_abs_values=True, use_sudo=True, mmpmon_path=f"{tmp_path}/bin/mmpmon").read(1, 0)
