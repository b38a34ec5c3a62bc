"""lustrestat with an lctl that prints recorded statistics."""

from __future__ import annotations

import os

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.lustrestat import Lustrestat

NOW = 1_700_000_000_123_456_789
STATS = """\
snapshot_time             1700000000.123456789 secs.nsecs
read_bytes                127 samples [bytes] 4096 1048576 98765432
write_bytes               20 samples [bytes] 1 4096 8000
open                      50 samples [usec] 1 2 3
opendir                   7 samples [usec] 1 2 3
getattr                   9 samples [usec]
"""
LCTL = """\
[ "$1" = get_param ] || exit 2
case "$2" in
  "llite.*.stats") for f in DIR/*; do echo "llite.$(basename $f).stats="; cat $f; done ;;
  *) f=${2#llite.}; f=${f%.stats}; echo "$2="; cat DIR/$f ;;
esac"""
ALL = {"send_abs_values": True, "send_diff_values": True, "send_derived_values": True}


@pytest.fixture
def stats(tmp_path, fake_command):
    """stats(device, text): what the fake lctl prints for a device."""
    directory = tmp_path / "llite"
    directory.mkdir()
    fake_command("lctl", LCTL.replace("DIR", str(directory)))

    def write(text=STATS, device="scratch-ffff8c01"):
        (directory / device).write_text(text)
        return directory / device

    write()
    return write


def test_counters_changes_and_rates(opened, stats, selected, clock):
    collector = opened(Lustrestat, **ALL)
    stats(STATS.replace("127", "137").replace("98765432", "98767432").replace("open                      50", "open 53"))
    clock.now += 2
    messages = collector.read(NOW, 0)
    values = selected(messages, type="node", device="scratch-ffff8c01")
    assert (values["lustre_read_requests"], values["lustre_read_requests_diff"], values["lustre_read_requests_rate"]) == (137, 10, 5.0)
    assert (values["lustre_read_bytes"], values["lustre_read_bytes_diff"], values["lustre_read_bw"]) == (98767432, 2000, 1000.0)
    assert (values["lustre_open"], values["lustre_open_diff"]) == (53, 3) and values["lustre_getattr"] == 9
    assert values["lustre_close"] == 0 and len(values) == 24
    units = {m.head.name: m.head.meta.get("unit") for m in messages}
    assert units["lustre_read_bw"] == "bytes/sec" and units["lustre_write_requests_diff"] == "requests" and units["lustre_open"] is None
    assert {k: messages[0].head.meta[k] for k in ("source", "group")} == {"source": "LustreCollector", "group": "Lustre"}


def test_pitfall_a_rate_is_always_a_float_and_never_negative(opened, stats, selected, clock):
    collector = opened(Lustrestat, **ALL)
    stats(STATS.replace("127", "1"))
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert values["lustre_read_requests_diff"] == 0
    assert values["lustre_read_requests_rate"] == 0.0 and isinstance(values["lustre_read_requests_rate"], float)


def test_pitfall_short_and_missing_lines_repeat_the_last_value(opened, stats, selected, clock):
    collector = opened(Lustrestat, **ALL)
    stats("read_bytes 130 samples [bytes]\nopen\n")
    clock.now += 1
    values = selected(collector.read(NOW, 0))
    assert values["lustre_read_requests"] == 130 and values["lustre_read_bytes"] == 98765432 and values["lustre_read_bytes_diff"] == 0
    assert values["lustre_open"] == 50 and values["lustre_write_bytes"] == 8000


def test_pitfall_a_file_system_with_a_dot_in_its_name(opened, stats):
    stats(device="home.site-ffff01")
    messages = opened(Lustrestat, send_abs_values=True).read(NOW, 0)
    assert {m.head.tags["device"] for m in messages} == {"home.site-ffff01", "scratch-ffff8c01"}


def test_pitfall_excludes_by_the_full_name(opened, stats, selected):
    values = selected(opened(Lustrestat, send_abs_values=True, exclude_metrics=["lustre_open", "close"]).read(NOW, 0))
    assert "lustre_open" not in values and "lustre_close" in values and len(values) == 9


def test_a_device_that_fails_costs_only_itself(opened, stats, log_text):
    gone = stats(device="home-ffff01")
    collector = opened(Lustrestat, send_abs_values=True)
    gone.unlink()
    assert {m.head.tags["device"] for m in collector.read(NOW, 0)} == {"scratch-ffff8c01"}
    assert "home-ffff01" in log_text.getvalue()


def test_sudo_gets_the_absolute_path(opened, stats, fake_command, tmp_path, monkeypatch):
    fake_command("sudo", f'echo "$*" >> {tmp_path}/asked\nexec "$@"')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert opened(Lustrestat, send_abs_values=True, use_sudo=True).read(NOW, 0)
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"{tmp_path}/bin/lctl get_param llite.*.stats",
        f"{tmp_path}/bin/lctl get_param llite.scratch-ffff8c01.stats",
        f"{tmp_path}/bin/lctl get_param llite.scratch-ffff8c01.stats",
    ]
    with pytest.raises(SourceMissing, match="root"):
        opened(Lustrestat, send_abs_values=True)


def test_errors_of_open(opened, stats, fake_command, log_text):
    with pytest.raises(SourceMissing, match="no metrics"):
        opened(Lustrestat)
    opened(Lustrestat, send_abs_values=True, lctl_command="/no/such/lctl")  # the one in PATH is taken
    assert "/no/such/lctl" in log_text.getvalue()
    fake_command("lctl", "exit 0")
    with pytest.raises(SourceMissing, match="mounted"):
        opened(Lustrestat, send_abs_values=True)
    fake_command("lctl", "exit 3")
    with pytest.raises(SourceMissing, match="exit status 3"):
        opened(Lustrestat, send_abs_values=True)
