"""What exists: type name → "module:Class", imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

COLLECTORS: Mapping[str, str] = {
    "loadavg": "loadavg:Loadavg",
    "cpustat": "cpustat:Cpustat",
    "memstat": "memstat:Memstat",
    "netstat": "netstat:Netstat",
    "diskstat": "diskstat:Diskstat",
    "iostat": "iostat:Iostat",
    "schedstat": "schedstat:Schedstat",
    "numastats": "numastats:Numastats",
    "cpufreq": "cpufreq:Cpufreq",
    "tempstat": "tempstat:Tempstat",
    "topprocs": "topprocs:Topprocs",
    "customcmd": "customcmd:Customcmd",
    "self": "self:SelfUsage",
    "nfsiostat": "nfsiostat:Nfsiostat",
    "slurm_cgroup": "slurm_cgroup:SlurmCgroup",
    "cpufreq_cpuinfo": "cpufreq_cpuinfo:CpufreqCpuinfo",
    "rapl": "rapl:Rapl",
    "ibstat": "ibstat:Ibstat",
    "nfs3stat": "nfsstat:Nfs3stat",
    "nfs4stat": "nfsstat:Nfs4stat",
    "lustrestat": "lustrestat:Lustrestat",
    "beegfs_meta": "beegfs:BeegfsMeta",
    "beegfs_storage": "beegfs:BeegfsStorage",
    "gpfs": "gpfs:Gpfs",
    "smartmon": "smartmon:Smartmon",
    "ipmistat": "ipmistat:Ipmistat",
}
SINKS: Mapping[str, str] = {"http": "http:HttpSink", "nats": "nats:NatsSink", "stdout": "stdout:StdoutSink"}
RECEIVERS: Mapping[str, str] = {"http": "http:HttpReceiver", "nats": "nats:NatsReceiver"}
TABLES = {"collectors": COLLECTORS, "sinks": SINKS, "receivers": RECEIVERS}


class UnknownPlugin(LookupError):
    """No such type; the text names those that exist."""


def plugin(kind: str, name: str) -> Any:
    """The class of a `kind` (`collectors`, `sinks`, `receivers`); UnknownPlugin."""
    table = TABLES[kind]
    place = table.get(name)
    if place is None:
        raise UnknownPlugin(f"there is no {kind[:-1]} {name!r}, there are: {', '.join(sorted(table))}")
    module, _, class_name = place.partition(":")
    return getattr(import_module(f"{__package__}.{kind}.{module}"), class_name)
