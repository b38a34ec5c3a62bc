"""Native scope × requested scope → what the store is asked: the table of metric-store 8.1 as a pure function.

Values of sockets, domains and cores are those of the whole unit, also where the job has only some of its threads; values of a node are the job's
share. Everything is ascending. Core and hwthread to memoryDomain, which the reference cannot do, are grouped like sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ccschema.clusters import MetricConfig, Topology
from ccschema.scopes import Scope, coarser

from . import SeriesQuery


class HostShare(NamedTuple):
    """What a job has of a host; threads empty: all of the node."""

    name: str
    threads: tuple[int, ...] = ()
    accelerators: tuple[str, ...] = ()


class JobShape(NamedTuple):
    """The part of a job that decides what is asked. accelerators False: accelerator metrics are left out (numAcc 0)."""

    hosts: tuple[HostShare, ...]
    accelerators: bool


def plan(shape: JobShape, metrics: Sequence[MetricConfig], scopes: Sequence[Scope], topo: Topology) -> list[SeriesQuery]:
    """The queries in the order metric, requested scope, host. Requested scopes that deliver the same are asked once."""
    queries: list[SeriesQuery] = []
    for metric in metrics:
        if metric.scope is Scope.ACCELERATOR and not shape.accelerators:
            continue
        for target in delivered(metric.scope, scopes):
            for host in shape.hosts:
                queries.extend(_of_host(metric, target, host, topo))
    return queries


def delivered(native: Scope, requested: Sequence[Scope]) -> list[Scope]:
    """The scopes that come when `requested` are asked for, in that order, each once."""
    targets = dict.fromkeys(coarser(native, scope) for scope in requested)
    if native is Scope.ACCELERATOR:  # an accelerator belongs to a node, to no socket or core
        return [scope for scope in targets if scope in (Scope.NODE, Scope.ACCELERATOR)]
    return list(targets)


def _of_host(metric: MetricConfig, target: Scope, host: HostShare, topo: Topology) -> Iterator[SeriesQuery]:
    native = metric.scope
    if native is Scope.NODE:
        yield SeriesQuery(metric.name, target, host.name)
        return
    ids = _ids(native, host, topo)
    if not ids:
        return
    if target is native or target is Scope.NODE:
        yield SeriesQuery(metric.name, target, host.name, native.value, ids, aggregate=target is not native)
        return
    for unit in _units(target, host, topo):
        if members := _members(native, target, unit, ids, topo):
            yield SeriesQuery(metric.name, target, host.name, native.value, members, aggregate=True, name=str(unit))


def _units(scope: Scope, host: HostShare, topo: Topology) -> list[int]:
    return topo.units_of(scope, host.threads or topo.node)


def _ids(native: Scope, host: HostShare, topo: Topology) -> tuple[str, ...]:
    if native is Scope.ACCELERATOR:
        return host.accelerators
    return tuple(str(unit) for unit in _units(native, host, topo))


def _members(native: Scope, target: Scope, unit: int, ids: Sequence[str], topo: Topology) -> tuple[str, ...]:
    """Ids of the native level that lie in one unit of the target level. A core or domain lies where its first thread does."""
    threads = topo.groups(target)[unit]
    if native is Scope.HWTHREAD:
        return tuple(str(thread) for thread in sorted(threads))
    inside = set(threads)
    parts = [str(index) for index, group in enumerate(topo.groups(native)) if group and group[0] in inside]
    if native is Scope.MEMORY_DOMAIN:  # only the job's domains: a domain is read whole, but a socket may have several
        mine = set(ids)
        return tuple(part for part in parts if part in mine)
    return tuple(parts)
