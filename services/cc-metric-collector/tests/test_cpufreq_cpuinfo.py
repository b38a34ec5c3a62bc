"""cpufreq_cpuinfo on a recorded /proc/cpuinfo."""

from __future__ import annotations

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors.cpufreq_cpuinfo import CpufreqCpuinfo

NOW = 1_700_000_000_123_456_789


def entry(processor: int, package: int, core: int, mhz: str = "2400.125") -> str:
    return f"processor\t: {processor}\nmodel name\t: A CPU @ 2.4GHz\ncpu MHz\t\t: {mhz}\nphysical id\t: {package}\ncore id\t\t: {core}\n\n"


def values(messages):
    return {(m.head.tags["type-id"], m.head.tags["package_id"]): m.fields["value"] for m in messages}


def test_first_thread_of_each_core(opened, node):
    (node / "proc/cpuinfo").write_text(entry(0, 0, 0) + entry(1, 1, 0, "3000") + entry(2, 0, 0) + entry(3, 1, 0))
    messages = opened(CpufreqCpuinfo).read(NOW, 0)
    assert values(messages) == {("0", "0"): 2400.125, ("1", "1"): 3000.0}
    assert isinstance(messages[1].fields["value"], float)
    assert dict(messages[0].head.meta) == {"source": "CPUFreqCpuInfoCollector", "group": "CPU", "unit": "MHz"}
    assert messages[0].head.tags["type"] == "hwthread" and messages[0].time_ns == NOW


def test_pitfall_threads_that_come_and_go_shift_nothing(opened, node):
    file = node / "proc/cpuinfo"
    file.write_text(entry(0, 0, 0) + entry(1, 0, 1) + entry(2, 0, 2))
    collector = opened(CpufreqCpuinfo)
    file.write_text(entry(0, 0, 0, "1000") + entry(2, 0, 2, "3000"))
    assert values(collector.read(NOW, 0)) == {("0", "0"): 1000.0, ("2", "0"): 3000.0}
    file.write_text("".join(entry(n, 0, n, f"{n}000") for n in range(5)))
    assert values(collector.read(NOW, 0)) == {(str(n), "0"): n * 1000.0 for n in range(3)}


def test_a_machine_without_clocks_in_the_file(opened, node):
    (node / "proc/cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 50.00\n\n")
    with pytest.raises(SourceMissing):
        opened(CpufreqCpuinfo)
