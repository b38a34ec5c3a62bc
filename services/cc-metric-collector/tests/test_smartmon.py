"""smartmon with a smartctl that prints recorded output."""

from __future__ import annotations

import json

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.smartmon import Device, Keys, Smartmon
from ccdaemon.config.jsonc import parse
from ccdaemon.config.walk import convert

NOW = 1_700_000_000_123_456_789
SCAN = {"devices": [{"name": "/dev/nvme0", "info_name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"}]}
LOG = {
    "critical_warning": 0,
    "temperature": 34,
    "available_spare": 100,
    "available_spare_threshold": 10,
    "percentage_used": 3,
    "data_units_read": 33_000_000,
    "data_units_written": 22_000_000,
    "host_reads": 440_000_000,
    "host_writes": 330_000_000,
    "controller_busy_time": 1500,
    "power_cycles": 12,
    "power_on_hours": 1000,
    "unsafe_shutdowns": 2,
    "media_errors": 0,
    "num_err_log_entries": 5,
    "warning_temp_time": 0,
    "critical_comp_time": 0,
    "temperature_sensors": [34, 40],
}


@pytest.fixture
def disk(tmp_path, fake_command):
    """disk(status, output): what the fake smartctl does when it is asked for a disk."""

    def make(status=0, output=None, scan=SCAN):
        (tmp_path / "scan").write_text(json.dumps(scan))
        (tmp_path / "all").write_text(json.dumps({"smartctl": {}, "nvme_smart_health_information_log": LOG} if output is None else output))
        fake_command(
            "smartctl",
            f'case "$*" in\n"--scan --json=c") cat {tmp_path}/scan ;;\n'
            f'"--json=c --device=nvme --all /dev/nvme0") cat {tmp_path}/all; exit {status} ;;\n*) exit 1 ;;\nesac',
        )

    make()
    return make


def test_values(opened, disk, selected):
    messages = opened(Smartmon).read(NOW, 0)
    values = selected(messages, type="node", stype="disk", stype_id="/dev/nvme0")
    assert values["smartmon_temp"] == 34 and values["smartmon_power_on"] == 3_600_000 and values["smartmon_data_units_write"] == 22_000_000
    assert values["smartmon_media_errors"] == 0 and len(values) == 14
    assert {type(v) for v in values.values()} == {int}
    units = {m.head.name: m.head.meta.get("unit") for m in messages}
    assert (units["smartmon_temp"], units["smartmon_power_on"], units["smartmon_host_reads"]) == ("degC", "sec", None)
    assert {k: messages[0].head.meta[k] for k in ("source", "group")} == {"source": "SmartMonCollector", "group": "Disk"}


@pytest.mark.parametrize(("status", "count"), [(4, 14), (64, 14), (248, 14), (1, 0), (2, 0), (6, 0)])
def test_pitfall_the_exit_status_is_a_bit_mask(opened, disk, status, count):
    disk(status)
    assert len(opened(Smartmon).read(NOW, 0)) == count


def test_pitfall_a_disk_without_the_log_sends_nothing(opened, disk, selected):
    disk(output={"ata_smart_attributes": {}})
    assert opened(Smartmon).read(NOW, 0) == []
    disk(output={"nvme_smart_health_information_log": {"temperature": 30}})
    assert selected(opened(Smartmon).read(NOW, 0)) == {"smartmon_temp": 30}


def test_output_that_is_no_json(opened, disk, fake_command, log_text):
    collector = opened(Smartmon)
    fake_command("smartctl", "echo oops")
    assert collector.read(NOW, 0) == [] and "/dev/nvme0" in log_text.getvalue()
    with pytest.raises(SourceMissing, match="search"):
        opened(Smartmon)


def test_named_devices_excluded_ones_and_none(opened, disk):
    disk(scan={"devices": []})
    assert opened(Smartmon).read(NOW, 0) == []
    named = [Device("/dev/nvme0", "nvme"), Device("/dev/nvme1", "nvme")]
    assert len(opened(Smartmon, devices=named, exclude_devices=["/dev/nvme1"]).read(NOW, 0)) == 14


def test_exclude_metrics_in_both_spellings_and_unknown_names(opened, disk, selected, log_text, tmp_path):
    text = '{"excludeMetrics": ["smartmon_temp", "smartmon_tmp"], "exclude_metrics": ["smartmon_power_on"], "devices": [{"name": "a", "type": "b"}]}'
    config, problems = convert(parse(text, tmp_path / "x.json"), Keys, "collectors.smartmon")
    assert problems == [] and config.devices == [Device("a", "b")]
    values = selected(opened(Smartmon, exclude_metrics=["smartmon_power_on"], old_exclude_metrics=config.old_exclude_metrics).read(NOW, 0))
    assert "smartmon_temp" not in values and "smartmon_power_on" not in values and len(values) == 12
    assert "smartmon_tmp" in log_text.getvalue()


def test_sudo_and_errors_of_open(opened, disk, fake_command, monkeypatch, tmp_path):
    fake_command("sudo")
    assert len(opened(Smartmon, use_sudo=True).read(NOW, 0)) == 14
    (tmp_path / "bin" / "smartctl").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(SourceMissing, match="smartctl"):
        opened(Smartmon)
