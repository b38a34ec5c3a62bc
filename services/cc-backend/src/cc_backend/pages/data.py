"""The data block of a page (README.md beside this file). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from ccschema.clusters import Cluster, MetricConfig, MetricValue, SubCluster
from ccschema.hostlist import NodeList
from ccschema.units import MetricUnit

from cc_backend.access import Identity

LEVELS: Final = {"api": 1, "user": 2, "manager": 3, "support": 4, "admin": 5}


def level(who: Identity | None) -> int:
    """Of the highest role; 0 without any that is known."""
    return max((LEVELS[role] for role in who.roles), default=0) if who is not None else 0


def user(who: Identity, anonymous: bool) -> dict[str, object]:
    return {
        "username": who.username,
        "name": who.name,
        "roles": sorted(who.roles, key=lambda role: role.rank),
        "projects": sorted(who.projects),
        "level": level(who),
        "anonymous": anonymous,
    }


def menu(who: Identity, clusters: Sequence[str], anonymous: bool) -> list[dict[str, object]]:
    """Entries of the pages that there are, as web-ui 4.2 names them."""
    rank = level(who)
    entries: list[dict[str, object]] = []
    if rank >= LEVELS["user"]:
        if not anonymous:
            entries.append(_entry("My Jobs", f"/monitoring/user/{quote(who.username, safe='')}", ""))
        label = {2: "Job Search", 3: "Managed Jobs"}.get(rank, "Jobs")
        entries.append(_entry(label, "/monitoring/jobs/", "Jobs"))
    if rank >= LEVELS["support"] and clusters:
        children = [{"label": name, "href": f"/monitoring/systems/{quote(name, safe='')}"} for name in clusters]
        entries.append(_entry("Nodes", str(children[0]["href"]), "Info") | {"children": children})
    return entries


def _entry(label: str, href: str, group: str) -> dict[str, object]:
    return {"label": label, "href": href, "group": group, "children": []}


def clusters(all_: Iterable[Cluster], restricted: bool) -> list[dict[str, object]]:
    """restricted: without the metrics that plain users and managers may not see."""
    return [
        {"name": cluster.name, "subClusters": [_sub_cluster(cluster, sub, restricted) for sub in cluster.sub_clusters]} for cluster in all_
    ]


def _sub_cluster(cluster: Cluster, sub: SubCluster, restricted: bool) -> dict[str, object]:
    hidden = {m.name for m in cluster.metric_config if restricted and m.restricted(sub.name)}
    topology = sub.topology
    return {
        "name": sub.name,
        "nodes": sub.nodes,
        "numberOfNodes": len(NodeList(sub.nodes)),
        "processorType": sub.processor_type,
        "socketsPerNode": sub.sockets_per_node,
        "coresPerSocket": sub.cores_per_socket,
        "threadsPerCore": sub.threads_per_core,
        "flopRateScalar": _value(sub.flop_rate_scalar),
        "flopRateSimd": _value(sub.flop_rate_simd),
        "memoryBandwidth": _value(sub.memory_bandwidth),
        "topology": {
            "node": topology.node,
            "socket": topology.socket,
            "memoryDomain": topology.memory_domain,
            "die": topology.die,
            "core": topology.core,
            "accelerators": [{"id": a.id, "type": a.type, "model": a.model} for a in topology.accelerators],
        },
        "metricConfig": [_metric(metric) for metric in sub.metric_config if metric.name not in hidden],
        "footprint": [name for name in sub.footprint if name not in hidden],
    }


def _metric(metric: MetricConfig) -> dict[str, object]:
    return {
        "name": metric.name,
        "unit": _unit(metric.unit),
        "scope": metric.scope,
        "aggregation": metric.aggregation,
        "timestep": metric.timestep,
        "peak": metric.peak,
        "normal": metric.normal,
        "caution": metric.caution,
        "alert": metric.alert,
        "lowerIsBetter": metric.lower_is_better,
        "footprint": metric.footprint,
        "energy": metric.energy,
    }


def _unit(unit: MetricUnit) -> dict[str, str]:
    return {"base": unit.base, "prefix": unit.prefix}


def _value(value: MetricValue) -> dict[str, object]:
    return {"unit": _unit(value.unit), "value": value.value}


def presets(query: Mapping[str, Sequence[str]], form: str) -> dict[str, Any]:
    """form: "filter" takes all, "span" takes `from` and `to` as seconds where both mean a time, anything else nothing."""
    if form == "filter":
        return {name: list(values) for name, values in query.items()}
    if form == "span":
        times = {name: moment(query[name][0]) for name in ("from", "to") if query.get(name)}
        return {name: time for name, time in times.items() if time is not None}
    return {}


def moment(text: str) -> int | None:
    """Unix seconds or RFC 3339; None: neither."""
    try:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def safe_redirect(target: str) -> str:
    """The path to go to after a login: one `/` and then neither `/` nor `\\`, without control characters; else the start page."""
    if target[:1] != "/" or target[1:2] in ("/", "\\") or any(ord(c) < 33 or c == "\x7f" for c in target) or target.startswith("/login"):
        return "/"
    return target
