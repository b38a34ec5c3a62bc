"""This node as a subcluster of `cluster.json` (`-topology`).

Everything is read from `/proc` and `/sys`, except what nobody can read there: peak flop rates and memory bandwidth are
estimates from clock, instruction set and number of cores, good enough to draw a roofline until they are measured (likwid-bench).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from ccschema.clusters import Accelerator, MetricValue, SubCluster, Topology
from ccschema.ids import pci_address
from ccschema.units import MetricUnit

from .topology import NodeTopology

# Double precision operations of a core in a clock, by the widest instruction set (two pipes of current server cores).
SIMD = (("avx512f", 32), ("sve", 16), ("avx2", 16), ("avx", 8), ("asimd", 8), ("sse2", 4))
SCALAR_FUSED, SCALAR = 4, 2
BANDWIDTH_OF_A_CORE = 5.0  # GB/s: sockets of current servers give 3 to 8 a core
DEFAULT_CLOCK = 2.0  # GHz
VENDORS = {0x10DE: "Nvidia GPU", 0x1002: "AMD GPU", 0x8086: "Intel GPU"}
# PCI classes of accelerators: 3D controller, other display controller, processing accelerator; a VGA controller
# (0x0300) is one only from a vendor of compute cards, the others are consoles of the management controller.
CLASSES = (0x0302, 0x0380, 0x1200)
VGA = 0x0300


def sub_cluster(root: Path, topology: NodeTopology, hostname: str) -> tuple[SubCluster, list[str]]:
    """The node as it belongs into `subClusters`, and what of it was not read but estimated or guessed."""
    info = cpu_info((root / "proc/cpuinfo").read_text())
    cores = topology.cores()
    notes = []
    clock = clock_ghz(root, info)
    if clock is None:
        clock = DEFAULT_CLOCK
        notes.append(f"the clock cannot be read, {clock:g} GHz are assumed")
    flags = set((info.get("flags") or info.get("Features") or "").split())
    simd = next((flops for flag, flops in SIMD if flag in flags), SCALAR)
    scalar = SCALAR_FUSED if flags & {"fma", "asimd"} else SCALAR
    notes.append(
        f"flopRateScalar and flopRateSimd are estimates: {len(cores)} cores x {clock:g} GHz x {scalar} / {simd} operations a clock"
    )
    notes.append(f"memoryBandwidth is an estimate: {BANDWIDTH_OF_A_CORE:g} GB/s a core; measure it with likwid-bench or STREAM")
    sockets = topology.sockets()
    notes += gaps("socket", sockets)
    notes += core_numbers(cores)
    return SubCluster(
        name="main",
        nodes=hostname,
        processor_type=info.get("model name") or platform.machine(),
        sockets_per_node=len(sockets),
        cores_per_socket=len(cores) // max(len(sockets), 1),
        threads_per_core=topology.smt_width(),
        flop_rate_scalar=MetricValue(MetricUnit("F/s", "G"), rounded(len(cores) * clock * scalar)),
        flop_rate_simd=MetricValue(MetricUnit("F/s", "G"), rounded(len(cores) * clock * simd)),
        memory_bandwidth=MetricValue(MetricUnit("B/s", "G"), rounded(len(cores) * BANDWIDTH_OF_A_CORE)),
        topology=node_topology(root, topology),
    ), notes


def node_topology(root: Path, topology: NodeTopology) -> Topology:
    """Threads of the node and of each part; position in `socket` and `memoryDomain` = id of the part."""
    dies = topology.dies()
    return Topology(
        node=[thread.id for thread in topology.threads],
        socket=by_id(topology.sockets()),
        memory_domain=by_id(topology.memory_domains()) or [[thread.id for thread in topology.threads]],
        die=[list(threads) for threads in dies.values()],
        core=list(topology.cores().values()),
        accelerators=list(accelerators(root)),
    )


def by_id(parts: dict[int, list[int]]) -> list[list[int]]:
    """Position = id; ids without a thread (memory-only domains between others) are empty. Negative ids: in their order."""
    if not parts or min(parts) < 0:
        return list(parts.values())
    return [parts.get(i, []) for i in range(max(parts) + 1)]


def gaps(what: str, parts: dict[int, list[int]]) -> list[str]:
    missing = sorted(set(range(max(parts, default=-1) + 1)) - set(parts))
    return [f"{what} ids of this node have gaps ({', '.join(map(str, missing))}): these are empty lists"] if missing else []


def core_numbers(cores: dict[tuple[int, int, int], list[int]]) -> list[str]:
    """What to know where the position in `core` is not the kernel's core id: ids with gaps, ids that repeat on sockets."""
    if [core for _, _, core in cores] == list(range(len(cores))):
        return []
    return [
        "core ids of this node have gaps or repeat: in `core` the cores stand by socket, die and core id, "
        "and a metric of type core means that position, not the kernel's core id"
    ]


def accelerators(root: Path) -> Iterator[Accelerator]:
    """Graphics cards for computing, by PCI address as NVML writes it, from `/sys/bus/pci/devices`."""
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, pci_class = _hex(device / "vendor"), _hex(device / "class") >> 8
        kind = VENDORS.get(vendor)
        if kind is None or not (pci_class in CLASSES or (pci_class == VGA and kind != "Intel GPU")):
            continue
        yield Accelerator(pci_address(device.name), kind, model_of(root, device, vendor))


def model_of(root: Path, device: Path, vendor: int) -> str:
    """Name the driver gives, else vendor and device number."""
    try:
        text = (root / "proc/driver/nvidia/gpus" / device.name / "information").read_text()
    except OSError:
        return f"{vendor:04x}:{_hex(device / 'device'):04x}"
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Model:")), "")


def cpu_info(text: str) -> dict[str, str]:
    """Keys of the first processor of `/proc/cpuinfo`."""
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def clock_ghz(root: Path, info: dict[str, str]) -> float | None:
    """Base frequency where the kernel knows it, else largest one, else what `/proc/cpuinfo` shows."""
    directory = root / "sys/devices/system/cpu/cpu0/cpufreq"
    for name in ("base_frequency", "cpuinfo_max_freq"):
        try:
            return int((directory / name).read_text()) / 1e6
        except (OSError, ValueError):
            continue
    try:
        return round(float(info["cpu MHz"]) / 1000, 2)
    except (KeyError, ValueError):
        return None


def rounded(value: float) -> float:
    return float(round(value))


def _hex(file: Path) -> int:
    try:
        return int(file.read_text(), 16)
    except (OSError, ValueError):
        return 0
