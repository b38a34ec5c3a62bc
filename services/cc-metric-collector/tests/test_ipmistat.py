"""ipmistat with tools that print recorded output."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.ipmistat import Ipmistat

NOW = 1_700_000_000_123_456_789
SENSORS = """\
ID,Name,Type,Reading,Units,Event
4,CPU1 Temp,Temperature,45.00,C,'OK'
5,FAN 1,Fan,N/A,RPM,N/A
6,PS1 Input Power,Power Supply,120.00,W,'OK'
7,Chassis,Physical Security,0x0180,,'OK'
8,Odd,Other,much,,'OK'
"""
TOOL = """\
CPU1 Temp        | 45.000     | degrees C  | ok    | 0.000     | 0.000
Inlet Temp F     | 72.000     | degrees F  | ok    | na
FAN 1            | na         | RPM        | na    | na
PS1 Status       | 0x1        | discrete   | 0x0180| na
VCORE            | 1.820      | Volts      | ok
Broken           | 1
"""


@pytest.fixture
def tools(tmp_path, fake_command):
    """Both tools; the files they print."""
    (tmp_path / "sensors").write_text(SENSORS)
    (tmp_path / "tool").write_text(TOOL)
    fake_command("ipmi-sensors", f'[ "$*" = "--comma-separated-output --sdr-cache-recreate" ] && cat {tmp_path}/sensors')
    fake_command("ipmitool", f'[ "$*" = "sensor" ] && cat {tmp_path}/tool')


def test_ipmi_sensors_is_preferred(opened, tools, selected):
    messages = opened(Ipmistat).read(NOW, 0)
    assert selected(messages, type="node") == {"cpu1_temp": 45.0, "ps1_input_power": 120.0}
    assert dict(messages[0].head.meta) == {"source": "IpmiCollector", "group": "IPMI", "unit": "C"}


def test_ipmitool_where_the_preferred_one_fails(opened, tools, selected, fake_command):
    fake_command("ipmi-sensors", "exit 1")
    messages = opened(Ipmistat).read(NOW, 0)
    assert selected(messages) == {"cpu1_temp": 45.0, "inlet_temp_f": 72.0, "vcore": 1.82}
    assert {m.head.name: m.head.meta["unit"] for m in messages} == {"cpu1_temp": "degC", "inlet_temp_f": "degF", "vcore": "Volts"}


def test_pitfall_discrete_sensors_say_nothing_in_the_log(opened, tools, log_text):
    opened(Ipmistat).read(NOW, 0)
    assert "chassis" not in log_text.getvalue() and "odd" in log_text.getvalue()


def test_include(opened, tools, selected):
    assert selected(opened(Ipmistat, include_metrics=["cpu1_temp"]).read(NOW, 0)) == {"cpu1_temp": 45.0}


def test_a_tool_that_fails_later_has_sent_what_it_printed(opened, tools, selected, fake_command, log_text):
    collector = opened(Ipmistat)
    fake_command("ipmi-sensors", "echo '4,CPU1 Temp,Temperature,46.00,C,OK'; exit 1")
    assert selected(collector.read(NOW, 0)) == {"cpu1_temp": 46.0}
    assert "exit status 1" in log_text.getvalue()


def test_sudo_never_asks_for_a_password(opened, tools, selected, fake_command):
    fake_command("sudo", '[ "$1" = -n ] || exit 1\nshift\nexec "$@"')
    assert selected(opened(Ipmistat, use_sudo=True).read(NOW, 0))["cpu1_temp"] == 45.0


def test_no_tool(opened, tools, fake_command):
    fake_command("ipmi-sensors", "exit 1")
    with pytest.raises(SourceMissing, match=r"exit status 1.*no-such-tool"):
        opened(Ipmistat, ipmitool_path="no-such-tool")
