"""What a text of the search bar may mean, among what its sender may see."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from cc_backend.access import Visibility
from cc_backend.db.jobs import visible
from cc_backend.db.tables import hpc_user, job


def is_user(conn: Connection, see: Visibility, text: str) -> bool:
    """Whether a visible job is of a user of exactly this name."""
    return _exists(conn, see, job.c.hpc_user == text)


def is_project(conn: Connection, see: Visibility, text: str) -> bool:
    return _exists(conn, see, job.c.project == text)


def persons(conn: Connection, see: Visibility, text: str, limit: int) -> list[str]:
    """Users whose real name has the text (ASCII case ignored), by username; those with visible jobs, unless everything is visible."""
    query = select(hpc_user.c.username).where(hpc_user.c.name.icontains(text, autoescape=True)).order_by(hpc_user.c.username)
    if not see.everything:
        query = query.where(hpc_user.c.username.in_(select(job.c.hpc_user).where(visible(see))))
    return list(conn.execute(query.limit(limit)).scalars())


def _exists(conn: Connection, see: Visibility, what: ColumnElement[bool]) -> bool:
    return conn.execute(select(job.c.id).where(visible(see), what).limit(1)).first() is not None
