"""Partitions that jobs of a cluster named."""

from __future__ import annotations

from sqlalchemy import Connection, select

from cc_backend.db.tables import job


def partitions(conn: Connection, cluster: str) -> list[str]:
    """By name; jobs without a partition name none."""
    query = select(job.c.cluster_partition).distinct().where(job.c.cluster == cluster, job.c.cluster_partition != "")
    return list(conn.execute(query.order_by(job.c.cluster_partition)).scalars())
