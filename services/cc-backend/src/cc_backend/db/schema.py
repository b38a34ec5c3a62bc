"""Version of the database: one linear alembic history; the version's number is the revision's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from ccdaemon.errors import OperatorError
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.exc import OperationalError

VERSION: Final = 1
"""What this program needs (`-version` prints it)."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def version_of(path: Path) -> int | None:
    """Version of a database of ours; None where there is no file or it is empty. OperatorError for anything else."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        try:
            tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" in tables:
                row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
                return int(row[0]) if row else None
        except sqlite3.DatabaseError as e:
            raise OperatorError(f"main.db: '{path}' is no usable database ({e})", "restore it from the backup") from e
    if "schema_migrations" in tables:
        raise OperatorError(
            f"main.db: '{path}' is a database of the reference cc-backend, which this version cannot import yet",
            "name a new file in main.db and create it with -migrate-db; the jobs of the archive come with -init-db",
        )
    if tables:
        raise OperatorError(f"main.db: '{path}' is not a database of cc-backend", "check the path")
    return None


def check(path: Path) -> None:
    """OperatorError unless the database has exactly the version this program needs."""
    found = version_of(path)
    if found is None:
        raise OperatorError(
            f"main.db: there is no database at '{path}'", "create it with cc-backend -migrate-db (or -init in a new directory)"
        )
    if found != VERSION:
        remedy = (
            "run cc-backend -migrate-db (after a backup)" if found < VERSION else "it was made by a newer release: install that one again"
        )
        raise OperatorError(f"unsupported database version {found}, need {VERSION}.", remedy)


def upgrade(path: Path) -> None:
    """Create the database or raise it to VERSION. The file's directory must exist."""
    if not path.parent.is_dir():
        raise OperatorError(f"main.db: there is no directory '{path.parent}'", "create it")
    found = version_of(path)
    if found is not None and found > VERSION:
        raise OperatorError(
            f"unsupported database version {found}, need {VERSION}.", "it was made by a newer release: install that one again"
        )
    engine = create_engine(f"sqlite:///{path}", poolclass=pool.NullPool)
    try:
        with engine.connect() as conn:
            # Off while tables are rebuilt: dropping one must not cascade into what refers to it.
            conn.exec_driver_sql("PRAGMA foreign_keys=OFF")
            run_upgrade(conn)
            conn.commit()
    except OperationalError as e:
        raise OperatorError(f"main.db: '{path}' cannot be written ({e.orig})", "check free space and permissions of its directory") from e
    finally:
        engine.dispose()


def run_upgrade(conn: Connection, revision: str = "head") -> None:
    """Alembic on a connection, whatever the server."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = conn
    command.upgrade(config, revision)
