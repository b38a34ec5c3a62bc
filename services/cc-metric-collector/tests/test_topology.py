"""Topology of the recorded node and of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cc_metric_collector.topology import parse_cpu_list, read_topology


def test_cpu_list():
    assert parse_cpu_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_cpu_list("") == []
    with pytest.raises(ValueError, match="no list"):
        parse_cpu_list("0-x")


def test_recorded_node(node):
    topology = read_topology(node)
    assert [t.id for t in topology.threads] == list(range(8))  # pitfall: the offline processor is left out
    assert topology.sockets() == {0: [0, 1, 4, 5], 1: [2, 3, 6, 7]}
    assert topology.memory_domains() == {0: [0, 1, 4, 5], 1: [2, 3, 6, 7]}
    # pitfall: core ids repeat on each socket
    assert topology.cores() == {(0, 0, 0): [0, 4], (0, 0, 1): [1, 5], (1, 0, 0): [2, 6], (1, 0, 1): [3, 7]}
    assert topology.smt_width() == 2
    assert topology.thread(6).smt == 1 and topology.thread(2).smt == 0 and topology.thread(8) is None


def test_old_kernels_have_other_names(node):
    for cpu in (node / "sys/devices/system/cpu").glob("cpu[0-7]"):
        (cpu / "topology/core_cpus_list").rename(cpu / "topology/thread_siblings_list")
        (cpu / "topology/die_id").unlink()
    topology = read_topology(node)
    assert topology.thread(6).smt == 1
    assert {t.die for t in topology.threads} == {0, 1}  # the socket's


def test_this_machine():
    topology = read_topology(Path("/"))
    assert len(topology.threads) == len(os.sched_getaffinity(0)) or len(topology.threads) == os.cpu_count()
    try:
        text = subprocess.run(["lscpu", "-p=CPU,CORE,SOCKET"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no lscpu")
    rows = [tuple(map(int, line.split(","))) for line in text.splitlines() if not line.startswith("#")]
    assert len(topology.cores()) == len({core for _, core, _ in rows})
    assert [t.id for t in topology.threads] == [cpu for cpu, _, _ in rows]
