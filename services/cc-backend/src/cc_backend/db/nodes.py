"""Nodes and their states over time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from cc_backend.db.tables import node, node_state


class StateRow(msgspec.Struct, frozen=True):
    """State of one node at one time; `health_metrics` is JSON text or empty, memory in MB."""

    hostname: str
    subcluster: str
    node_state: str
    health_state: str
    health_metrics: str = ""
    jobs_running: int = 0
    cpus_allocated: int = 0
    memory_allocated: int = 0
    gpus_allocated: int = 0


def add_states(conn: Connection, cluster: str, states: Sequence[StateRow], now: int) -> None:
    """One row per node, all with the same time; nodes that are new get theirs."""
    ids = {row.hostname: row.id for row in conn.execute(select(node.c.hostname, node.c.id).where(node.c.cluster == cluster))}
    for state in states:
        if state.hostname not in ids:
            row = {"hostname": state.hostname, "cluster": cluster, "subcluster": state.subcluster}
            ids[state.hostname] = conn.execute(insert(node).values(row).returning(node.c.id)).scalar_one()
    rows = []
    for state in states:
        columns = msgspec.structs.asdict(state)
        del columns["hostname"], columns["subcluster"]
        rows.append({**columns, "node_id": ids[state.hostname], "time_stamp": now})
    if rows:
        conn.execute(insert(node_state), rows)


def current_states(conn: Connection, cluster: str) -> dict[str, StateRow]:
    """The newest state of each node of a cluster."""
    newest = select(node_state.c.node_id, func.max(node_state.c.id).label("id")).group_by(node_state.c.node_id).subquery()
    query = (
        select(node.c.hostname, node.c.subcluster, node_state)
        .join_from(newest, node_state, node_state.c.id == newest.c.id)
        .join(node, node.c.id == node_state.c.node_id)
        .where(node.c.cluster == cluster)
    )
    fields = StateRow.__struct_fields__
    return {row.hostname: StateRow(**{field: row._mapping[field] for field in fields}) for row in conn.execute(query)}


def delete_states(conn: Connection, before: int) -> int:
    """Delete states older than `before`, except the newest of each node; how many."""
    newest = select(func.max(node_state.c.id)).group_by(node_state.c.node_id)
    return conn.execute(delete(node_state).where(node_state.c.time_stamp < before, node_state.c.id.not_in(newest))).rowcount
