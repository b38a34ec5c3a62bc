"""Rows of logged-in browsers. What a cookie holds is a secret of which only the hash is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from cc_backend.db.tables import session


def add_session(conn: Connection, id_hash: str, username: str, source: int, claims: Mapping[str, Any], now: int, expires: int) -> None:
    """Also forgets those that have expired."""
    conn.execute(delete(session).where(session.c.expires <= now))
    row = {
        "id_hash": id_hash,
        "username": username,
        "auth_source": source,
        "claims": json.dumps(claims),
        "created": now,
        "expires": expires,
    }
    conn.execute(insert(session).values(row))


def find_session(conn: Connection, id_hash: str, now: int) -> Row[Any] | None:
    return conn.execute(select(session).where(session.c.id_hash == id_hash, session.c.expires > now)).first()


def delete_session(conn: Connection, id_hash: str) -> None:
    conn.execute(delete(session).where(session.c.id_hash == id_hash))
