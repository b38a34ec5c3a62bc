"""Settings of users: rows of `configuration`, JSON texts by key."""

from __future__ import annotations

import json

from ccdaemon.errors import InputError
from sqlalchemy import Connection, delete, insert, select

from cc_backend.db.tables import configuration

MAX_VALUE = 20_000  # characters; a setting is a list of metric names at most


def settings_of(conn: Connection, username: str) -> dict[str, object]:
    """What the user changed, decoded."""
    rows = conn.execute(select(configuration.c.confkey, configuration.c.value).where(configuration.c.username == username))
    return {row.confkey: json.loads(row.value) for row in rows}


def set_setting(conn: Connection, username: str, key: str, value: str) -> None:
    """`value` is JSON text; InputError where it is not (it would break every page of the user)."""
    if not key or len(key) > 500 or len(value) > MAX_VALUE:
        raise InputError("the key is empty, or key or value is too long")
    try:
        json.loads(value)
    except ValueError as e:
        raise InputError(f"the value is no JSON: {e}", key) from e
    conn.execute(delete(configuration).where(configuration.c.username == username, configuration.c.confkey == key))
    conn.execute(insert(configuration).values(username=username, confkey=key, value=value))
