"""Tags and their relation to jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ccschema.jobs import Tag
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select

from cc_backend.access import Visibility
from cc_backend.db import jobs as rows
from cc_backend.db.tables import job, jobtag, tag


def tags_of(conn: Connection, see: Visibility | None, job_ids: Sequence[int]) -> dict[int, list[Tag]]:
    """Tags of jobs, by job; only readable ones, or all of them for `see` None (the archive keeps every scope)."""
    out: dict[int, list[Tag]] = defaultdict(list)
    for start in range(0, len(job_ids), rows.CHUNK):
        query = (
            select(jobtag.c.job_id, tag)
            .join_from(jobtag, tag, jobtag.c.tag_id == tag.c.id)
            .where(jobtag.c.job_id.in_(job_ids[start : start + rows.CHUNK]))
            .order_by(tag.c.tag_type, tag.c.tag_name, tag.c.id)
        )
        if see is not None:
            query = query.where(tag.c.tag_scope.in_(see.tag_scopes))
        for row in conn.execute(query):
            out[row.job_id].append(_tag(row))
    return dict(out)


def all_tags(conn: Connection, see: Visibility) -> list[Tag]:
    """Readable tags."""
    return [
        _tag(row)
        for row in conn.execute(select(tag).where(tag.c.tag_scope.in_(see.tag_scopes)).order_by(tag.c.tag_type, tag.c.tag_name, tag.c.id))
    ]


def tag_counts(conn: Connection, see: Visibility) -> dict[int, int]:
    """Tag id → number of visible jobs that have it; tags without such a job are missing."""
    query = select(jobtag.c.tag_id, func.count()).join(job, job.c.id == jobtag.c.job_id).where(rows.visible(see)).group_by(jobtag.c.tag_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def find_tag(conn: Connection, type_: str, name: str, scope: str) -> int | None:
    return conn.execute(select(tag.c.id).where(_is(type_, name, scope))).scalar()


def ensure_tag(conn: Connection, type_: str, name: str, scope: str, now: int) -> int:
    """Id of the tag, created where it is unknown."""
    known = find_tag(conn, type_, name, scope)
    if known is not None:
        return known
    row = {"tag_type": type_, "tag_name": name, "tag_scope": scope, "insert_ts": now}
    return int(conn.execute(insert(tag).values(row).returning(tag.c.id)).scalar_one())


def tag_by_id(conn: Connection, see: Visibility, tag_id: int) -> Tag | None:
    row = conn.execute(select(tag).where(tag.c.id == tag_id, tag.c.tag_scope.in_(see.tag_scopes))).first()
    return _tag(row) if row else None


def attach(conn: Connection, job_id: int, tag_id: int, now: int) -> None:
    """Attaching twice is as good as once."""
    if conn.execute(select(jobtag.c.job_id).where(jobtag.c.job_id == job_id, jobtag.c.tag_id == tag_id)).first() is None:
        conn.execute(insert(jobtag).values(job_id=job_id, tag_id=tag_id, insert_ts=now))


def detach(conn: Connection, job_id: int, tag_id: int) -> bool:
    return bool(conn.execute(delete(jobtag).where(jobtag.c.job_id == job_id, jobtag.c.tag_id == tag_id)).rowcount)


def delete_tag(conn: Connection, tag_id: int) -> list[int]:
    """Delete the tag everywhere; the ids of jobs that had it and are archived (their meta documents are to be rewritten)."""
    had = select(job.c.id).join(jobtag, jobtag.c.job_id == job.c.id).where(jobtag.c.tag_id == tag_id, job.c.monitoring_status == 3)
    ids = list(conn.execute(had).scalars())
    conn.execute(delete(tag).where(tag.c.id == tag_id))
    return ids


def _is(type_: str, name: str, scope: str) -> ColumnElement[bool]:
    return and_(tag.c.tag_type == type_, tag.c.tag_name == name, tag.c.tag_scope == scope)


def _tag(row: Row[Any]) -> Tag:
    return Tag(type=row.tag_type, name=row.tag_name, scope=row.tag_scope, id=row.id)
