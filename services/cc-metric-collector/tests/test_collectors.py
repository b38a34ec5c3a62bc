"""Every collector on the recorded node: names, kinds, tags, units, values, and each pitfall of the specification."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cc_metric_collector.base import SourceMissing
from cc_metric_collector.collectors import (
    cpufreq,
    cpustat,
    diskstat,
    iostat,
    loadavg,
    memstat,
    netstat,
    nfsiostat,
    numastats,
    schedstat,
    tempstat,
    topprocs,
)
from cc_metric_collector.collectors import self as self_usage
from ccmessage.message import U64, Message

NOW = 1_700_000_000_123_456_789
TICK = os.sysconf("SC_CLK_TCK")


def by_name(messages: list[Message], **tags: str) -> dict[str, object]:
    """Values by metric name of the messages with these tags; a name twice would be an error of the test."""
    found = [m for m in messages if all(m.head.tags.get(k.replace("_", "-")) == v for k, v in tags.items())]
    assert len({m.head.name for m in found}) == len(found), "several messages of one name: ask for more tags"
    assert all(m.time_ns == NOW and list(m.fields) == ["value"] for m in found)
    return {m.head.name: m.fields["value"] for m in found}


def one(messages: list[Message], name: str) -> Message:
    (found,) = (m for m in messages if m.head.name == name)
    return found


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# loadavg


def test_loadavg(opened):
    messages = opened(loadavg.Loadavg).read(NOW, 0)
    assert by_name(messages) == {"load_one": 0.5, "load_five": 1.25, "load_fifteen": 2.75, "proc_run": 3, "proc_total": 512}
    assert {type(v) for v in by_name(messages).values()} == {float, int}
    assert dict(messages[0].head.tags) == {"type": "node"}
    assert dict(messages[0].head.meta) == {"source": "LoadavgCollector", "group": "LOAD"}


def test_loadavg_excludes_and_leaves_out_what_is_no_number(opened, node):
    collector = opened(loadavg.Loadavg, exclude_metrics=["load_five", "proc_run"])
    edit(node, "proc/loadavg", "0.50", "broken")
    assert by_name(collector.read(NOW, 0)) == {"load_fifteen": 2.75, "proc_total": 512}


# cpustat


def test_cpustat_shares_of_node_and_threads(opened, node, clock):
    collector = opened(cpustat.Cpustat)
    clock.now += 2.0
    edit(node, "proc/stat", "cpu  1000 10 500 80000", f"cpu  {1000 + TICK} 10 {500 + TICK // 2} {80000 + TICK}")
    edit(node, "proc/stat", "cpu1 700", f"cpu1 {700 + TICK}")
    messages = collector.read(NOW, 0)
    values = by_name(messages, type="node")
    assert values["cpu_user"] == 50.0
    assert values["cpu_system"] == 25.0
    assert values["cpu_idle"] == 50.0
    assert values["cpu_used"] == 75.0  # without idle
    assert values["num_cpus"] == 2
    assert by_name(messages, type="hwthread", type_id="1")["cpu_user"] == 50.0
    user = next(m for m in messages if m.head.name == "cpu_user")
    assert user.head.tags["unit"] == "Percent" and "unit" not in user.head.meta  # the unit is a tag
    assert "unit" not in one(messages, "num_cpus").head.tags


def test_cpustat_excluding_idle_takes_used_along(opened, clock):
    collector = opened(cpustat.Cpustat, exclude_metrics=["cpu_idle", "num_cpus"])
    clock.now += 1
    names = {m.head.name for m in collector.read(NOW, 0)}
    assert not names & {"cpu_idle", "cpu_used", "num_cpus"} and "cpu_user" in names


def test_cpustat_pitfall_hot_plugged_cpu_and_fewer_columns(opened, node, clock):
    collector = opened(cpustat.Cpustat)
    edit(node, "proc/stat", "intr", "cpu2 1 2 3 4\nintr")
    clock.now += 1
    assert not by_name(collector.read(NOW, 0), type_id="2")  # its base reading
    clock.now += 1
    values = by_name(collector.read(NOW, 0), type_id="2")
    assert set(values) == {"cpu_user", "cpu_nice", "cpu_system", "cpu_idle", "cpu_used"}


def test_cpustat_pitfall_counter_that_went_backwards(opened, node, clock):
    collector = opened(cpustat.Cpustat)
    edit(node, "proc/stat", "cpu0 300 5 200 20000 20", "cpu0 300 5 200 20000 19")
    clock.now += 1
    values = by_name(collector.read(NOW, 0), type_id="0")
    assert "cpu_iowait" not in values and "cpu_used" not in values and values["cpu_user"] == 0.0


def test_cpustat_pitfall_missing_file_sends_nothing(opened, node, make_context):
    collector = opened(cpustat.Cpustat)
    (node / "proc/stat").unlink()
    with pytest.raises(OSError):
        collector.read(NOW, 0)
    with pytest.raises(SourceMissing):
        cpustat.Cpustat(cpustat.Keys()).open(make_context(node))


# memstat


def test_memstat_node(opened):
    messages = opened(memstat.Memstat).read(NOW, 0)
    values = by_name(messages, type="node")
    assert values["mem_total"] == 65536000.0 and isinstance(values["mem_total"], float)
    assert values["mem_used"] == 65536000.0 - 40000000 - 500000 - 10000000 - 200000
    assert one(messages, "mem_used").head.meta["unit"] == "kB"
    assert "mem_direct_mapped_4m" not in values  # the kernel does not report it
    assert "mem_active" in values and "swap_used" not in values


def test_memstat_pitfall_huge_pages_have_no_unit(opened):
    messages = opened(memstat.Memstat).read(NOW, 0)
    values = by_name(messages)
    assert [values[f"mem_hugepages_{k}"] for k in ("total", "free", "reserved", "surplus")] == [16, 4, 2, 1]
    assert "unit" not in one(messages, "mem_hugepages_total").head.meta


def test_memstat_pitfall_used_of_numa_domains(opened):
    messages = opened(memstat.Memstat, node_stats=False, numa_stats=True).read(NOW, 0)
    values = by_name(messages, type="memoryDomain", type_id="1")
    assert values["mem_used"] == 32768000.0 - 20000000 - 5000000
    assert values["mem_hugepages_total"] == 8
    assert not by_name(messages, type="node")


def test_memstat_errors_of_open(node, make_context):
    everything = [*memstat.KEYS.values(), "mem_used"]
    with pytest.raises(SourceMissing, match="excluded"):
        memstat.Memstat(memstat.Keys(exclude_metrics=everything)).open(make_context(node))
    (node / "proc/meminfo").write_text("")
    with pytest.raises(SourceMissing, match="no values"):
        memstat.Memstat(memstat.Keys()).open(make_context(node))


# netstat


def test_netstat_counters_and_rates(opened, node, clock):
    collector = opened(netstat.Netstat, include_devices=["eth0"], send_derived_values=True)
    edit(node, "proc/net/dev", "eth0:5000000   4000", "eth0:5004000   4010")
    clock.now += 2
    messages = collector.read(NOW, 0)
    values = by_name(messages, stype="network", stype_id="eth0")
    assert values["net_bytes_in"] == 5004000 and isinstance(values["net_bytes_in"], int)
    assert values["net_bytes_in_bw"] == 2000.0 and values["net_pkts_in_bw"] == 5.0 and values["net_bytes_out_bw"] == 0.0
    units = {m.head.name: m.head.meta["unit"] for m in messages}
    assert units["net_bytes_in_bw"] == "bytes/sec" and units["net_pkts_in"] == "packets"


def test_netstat_needs_devices_that_exist(node, make_context):
    with pytest.raises(SourceMissing, match="include_devices"):
        netstat.Netstat(netstat.Keys()).open(make_context(node))
    with pytest.raises(SourceMissing, match="eth7"):
        netstat.Netstat(netstat.Keys(include_devices=["eth7"])).open(make_context(node))


def test_netstat_pitfall_aliases_keep_state_per_system_name(opened, node, clock):
    collector = opened(
        netstat.Netstat,
        include_devices=["net"],
        interface_aliases={"net": ["eth0", "ib0"]},
        send_abs_values=False,
        send_derived_values=True,
    )
    edit(node, "proc/net/dev", "ib0: 7000000", "ib0: 7001000")
    clock.now += 1
    messages = collector.read(NOW, 0)
    assert by_name(messages, stype_id="ib0")["net_bytes_in_bw"] == 1000.0
    assert by_name(messages, stype_id="eth0")["net_bytes_in_bw"] == 0.0


def test_netstat_pitfall_counter_reset(opened, node, clock):
    collector = opened(netstat.Netstat, include_devices=["eth0"], send_derived_values=True)
    edit(node, "proc/net/dev", "eth0:5000000", "eth0:      5")
    clock.now += 1
    values = by_name(collector.read(NOW, 0))
    assert "net_bytes_in_bw" not in values and values["net_bytes_in"] == 5


# diskstat


def test_diskstat_real_statfs(opened):
    messages = opened(diskstat.Diskstat).read(NOW, 0)
    stat = os.statvfs("/")
    total = stat.f_blocks * stat.f_frsize // 10**9
    values = by_name(messages)
    assert values["disk_total"] == total and isinstance(values["disk_total"], U64)  # once, although bind-mounted (pitfall)
    assert one(messages, "disk_total").head.tags["device"] == "/dev/sda1"
    if total:
        assert values["part_max_used"] == 100 * (total - values["disk_free"]) // total


def test_diskstat_excludes(opened):
    messages = opened(diskstat.Diskstat, exclude_mounts=["/"], exclude_metrics=["disk_free"]).read(NOW, 0)
    assert by_name(messages) == {"part_max_used": 0}


def test_diskstat_mounts():
    text = "/dev/sdb1 /my\\040data xfs rw 0 0\n/dev/sdb1 /other xfs rw 0 0\n/dev/loop1 /x ext4 rw\n/dev/sdc /boot/efi vfat rw\nnone /y tmpfs rw\n"
    assert diskstat.mounts(text, ()) == {"/dev/sdb1": "/my data"}


def test_diskstat_mount_that_does_not_answer(opened, monkeypatch):
    import threading
    import time

    release = threading.Event()
    collector = opened(diskstat.Diskstat)
    monkeypatch.setattr(diskstat, "PATIENCE", 0.05)
    monkeypatch.setattr(diskstat.os, "statvfs", lambda _: release.wait(20))
    begin = time.monotonic()
    assert set(by_name(collector.read(NOW, 0))) == {"part_max_used"}
    assert set(by_name(collector.read(NOW, 0))) == {"part_max_used"}  # the same call still hangs: no second one
    assert time.monotonic() - begin < 5 and len(collector._hanging) == 1
    release.set()


# iostat


def test_iostat_differences(opened, node):
    collector = opened(iostat.Iostat)
    edit(node, "proc/diskstats", "sda 1000 10 80000", "sda 1005 10 80100")
    messages = collector.read(NOW, 0)
    values = by_name(messages, device="sda")
    assert values["io_reads"] == 5 and values["io_read_sectors"] == 100 and values["io_writes"] == 0
    assert values["io_flushes_ms"] == 0 and len(values) == 17
    assert not by_name(messages, device="loop0")


def test_iostat_pitfall_requests_in_flight_are_a_gauge(opened):
    assert by_name(opened(iostat.Iostat).read(NOW, 0), device="sda")["io_ioops"] == 3


def test_iostat_old_kernel_excludes_and_resets(opened, node):
    collector = opened(iostat.Iostat, exclude_devices=["sda"], exclude_metrics=["io_writes"])
    edit(node, "proc/diskstats", "sda1 900", "sda1 100")
    messages = collector.read(NOW, 0)
    values = by_name(messages, device="sda1")
    assert "io_discards" not in values and "io_writes" not in values  # fields the kernel does not have; excluded
    assert "io_reads" not in values and "io_reads_merged" in values  # went backwards
    assert not by_name(messages, device="sda")


# schedstat, numastats, cpufreq


def test_schedstat(opened, node, clock, make_context):
    collector = opened(schedstat.Schedstat)
    edit(node, "proc/schedstat", "1000000000 500000000", "1800000000 900000000")
    edit(node, "proc/schedstat", "cpu1 0", "cpu9 0 0 0 0 0 0 1 1 1\ncpu1 0")  # pitfall: hot plug
    clock.now += 2
    messages = collector.read(NOW, 0)
    assert by_name(messages, type="hwthread", type_id="0") == {"cpu_load_core": pytest.approx(0.6)}
    assert by_name(messages, type_id="1") == {"cpu_load_core": 0.0}
    assert not by_name(messages, type_id="9")
    (node / "proc/schedstat").unlink()
    with pytest.raises(SourceMissing):
        schedstat.Schedstat(schedstat.Keys()).open(make_context(node))


def test_pitfall_exclude_metrics_works_where_the_reference_ignores_it(node, make_context):
    for cls, names in (
        (schedstat.Schedstat, ["cpu_load_core"]),
        (cpufreq.Cpufreq, ["cpufreq"]),
    ):
        with pytest.raises(SourceMissing, match="excluded"):
            cls(cls.Config(exclude_metrics=names)).open(make_context(node))


def test_numastats(opened, node, clock):
    collector = opened(numastats.Numastats, send_derived_values=True)
    edit(node, "sys/devices/system/node/node1/numastat", "numa_hit 2000", "numa_hit 2500")
    clock.now += 5
    messages = collector.read(NOW, 0)
    values = by_name(messages, type="memoryDomain", type_id="1")
    assert values["numastats_numa_hit"] == 2500 and values["numastats_numa_hit_rate"] == 100.0
    assert values["numastats_other_node"] == 100 and len(values) == 12


def test_cpufreq_of_the_first_thread_of_each_core(opened, node, make_context):
    messages = opened(cpufreq.Cpufreq).read(NOW, 0)
    assert {(m.head.tags["type-id"], m.head.tags["package_id"], m.fields["value"]) for m in messages} == {
        ("0", "0", 2000000),
        ("1", "0", 2001000),
        ("2", "1", 2002000),
        ("3", "1", 2003000),
    }
    assert messages[0].head.meta["unit"] == "kHz"  # pitfall: the reference says Hz
    (node / "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq").unlink()
    with pytest.raises(SourceMissing):
        cpufreq.Cpufreq(cpufreq.Keys()).open(make_context(node))


# tempstat


def test_tempstat_names_and_values(opened):
    messages = opened(tempstat.Tempstat).read(NOW, 0)
    assert by_name(messages) == {
        "temp_package_id_0": 45,
        "temp_core_0": 44,
        "k10temp_tctl": 51,
        "temp_nvme_composite": -1,  # towards zero
        "temp_acpitz": 27,
    }
    assert messages[0].head.meta["unit"] == "degC"


def test_tempstat_limits(opened):
    messages = opened(tempstat.Tempstat, report_max_temperature=True, report_critical_temperature=True).read(NOW, 0)
    values = by_name(messages)
    assert values["max_temp_package_id_0"] == 90 and values["crit_temp_package_id_0"] == 100
    assert "crit_temp_core_0" not in values  # a limit of 0
    assert values["max_temp_nvme_composite"] == 80


def test_tempstat_pitfall_override_by_component_longest_first(opened):
    override = {"hwmon1": {"type": "socket", "type-id": "1"}, "hwmon10": {"type": "node", "stype": "disk"}, "hwmon": {"type": "x"}}
    messages = opened(tempstat.Tempstat, tag_override=override).read(NOW, 0)
    assert dict(one(messages, "k10temp_tctl").head.tags) == {"type": "socket", "type-id": "1"}
    assert dict(one(messages, "temp_nvme_composite").head.tags) == {"type": "node", "stype": "disk"}


def test_tempstat_excludes_and_warns_about_same_names(opened, node, log_text):
    (node / "sys/class/hwmon/hwmon4").mkdir()
    for name, text in {"name": "coretemp", "temp1_input": "40000", "temp1_label": "Core 0"}.items():
        (node / "sys/class/hwmon/hwmon4" / name).write_text(text)
    collector = opened(tempstat.Tempstat, exclude_metrics=["k10temp_tctl"])
    assert "k10temp_tctl" not in {m.head.name for m in collector.read(NOW, 0)}
    assert "temp_core_0" in log_text.getvalue() and "tag_override" in log_text.getvalue()


# topprocs, self, nfsiostat


def test_topprocs(opened):
    collector = opened(topprocs.Topprocs, num_procs=5)
    if TICK == 100:
        assert by_name(collector.read(NOW, 0)) == {
            "topproc1": "lbm",
            "topproc2": "a (odd) name",
            "topproc3": "systemd",
        }  # pitfall: fewer than N


def test_topprocs_pitfall_default_is_two(opened):
    assert len(opened(topprocs.Topprocs).read(NOW, 0)) == 2


def test_self(opened):
    messages = opened(self_usage.SelfUsage, read_mem_stats=True, read_goroutines=True, read_cgo_calls=True, read_rusage=True).read(NOW, 0)
    values = by_name(messages)
    assert len(values) == 7 + 1 + 1 + 7
    assert isinstance(values["heap_alloc"], U64) and values["heap_alloc"] > 5_000_000
    assert isinstance(values["rusage_user_time"], float) and values["num_goroutines"] >= 1
    assert opened(self_usage.SelfUsage).read(NOW, 0) == []


def test_nfsiostat(opened, node, clock):
    collector = opened(nfsiostat.Nfsiostat, send_derived_values=True, exclude_metrics=["dread"], exclude_filesystem=["/apps"])
    edit(node, "proc/self/mountstats", "100 200 10", "150 200 10")
    clock.now += 5
    messages = collector.read(NOW, 0)
    values = by_name(messages, type="node", stype="filesystem", stype_id="/home")
    assert values["nfsio_nread"] == 150 and values["nfsio_nread_bw"] == 10.0 and "nfsio_dread" not in values and len(values) == 14
    units = {m.head.name: m.head.meta["unit"] for m in messages}
    assert units["nfsio_pageread"] == "4K_pages" and units["nfsio_pageread_bw"] == "4K_pages/s"  # pitfall
    assert not by_name(messages, stype_id="/apps")


def test_nfsiostat_new_and_vanished_mounts_and_servers(opened, node, clock):
    collector = opened(nfsiostat.Nfsiostat, use_server_as_stype=True)
    assert {m.head.tags["stype-id"] for m in collector.read(NOW, 0)} == {"nfs1:/home", "nfs1:/apps"}
    new = "device n2:/new mounted on /new with fstype nfs4 statvers=1.1\n\tbytes:\t1 1 1 1 1 1 1 1\n"
    file = node / "proc/self/mountstats"
    file.write_text(file.read_text().replace("nfs1:/apps", "gone") + new)
    assert {m.head.tags["stype-id"] for m in collector.read(NOW, 0)} == {"nfs1:/home"}
    assert "n2:/new" in {m.head.tags["stype-id"] for m in collector.read(NOW, 0)}
    file.write_text("")
    assert collector.read(NOW, 0) == []
