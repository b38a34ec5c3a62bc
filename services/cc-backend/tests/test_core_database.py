"""Database: schema by migration, transactions, single file after a clean stop."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cc_backend.db import schema
from cc_backend.db.database import Database
from cc_backend.db.tables import metadata, tag
from ccdaemon.errors import OperatorError
from sqlalchemy import create_engine, insert, select, text


def tables_and_indexes(path):
    with sqlite3.connect(path) as conn:
        rows = conn.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'").fetchall()
    # The order of constraints inside a table is nobody's business.
    return {name: sorted(part.rstrip(" )") for part in " ".join((sql or "").split()).split(", ")) for name, sql in rows}


def test_migrated_schema_equals_tables(tmp_path):
    migrated, direct = tmp_path / "migrated.db", tmp_path / "direct.db"
    schema.upgrade(migrated)
    engine = create_engine(f"sqlite:///{direct}")
    metadata.create_all(engine)
    engine.dispose()
    assert tables_and_indexes(migrated) == tables_and_indexes(direct)
    engine = create_engine(f"sqlite:///{migrated}")
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    engine.dispose()
    assert schema.version_of(migrated) == schema.VERSION


def test_upgrade_twice_changes_nothing(tmp_path):
    path = tmp_path / "job.db"
    schema.upgrade(path)
    before = tables_and_indexes(path)
    schema.upgrade(path)
    assert tables_and_indexes(path) == before


def test_ids_of_deleted_jobs_are_not_given_again(tmp_path):
    schema.upgrade(tmp_path / "job.db")
    assert "AUTOINCREMENT" in " ".join(tables_and_indexes(tmp_path / "job.db")["job"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "there is no database"),
        (lambda p: sqlite3.connect(p).execute("CREATE TABLE schema_migrations (version)").connection.close(), "reference cc-backend"),
        (lambda p: sqlite3.connect(p).execute("CREATE TABLE something (x)").connection.close(), "not a database of cc-backend"),
        (lambda p: p.write_bytes(b"no database at all" * 100), "no usable database"),
    ],
)
def test_check_names_what_is_wrong(tmp_path, make, says):
    path = tmp_path / "job.db"
    make(path)
    with pytest.raises(OperatorError, match=says):
        schema.check(path)


def test_newer_database_is_refused(tmp_path):
    path = tmp_path / "job.db"
    schema.upgrade(path)
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '0999'")
    for check in (schema.check, schema.upgrade):
        with pytest.raises(OperatorError, match="unsupported database version 999, need"):
            check(path)


@pytest.fixture
def db(tmp_path):
    schema.upgrade(tmp_path / "job.db")
    db = Database(tmp_path / "job.db")
    yield db
    db.close()


def _add(name):
    return lambda conn: conn.execute(insert(tag).values(tag_type="t", tag_name=name))


def _names(conn):
    return list(conn.execute(select(tag.c.tag_name).order_by(tag.c.id)).scalars())


async def test_write_is_one_transaction(db):
    def half(conn):
        _add("a")(conn)
        raise KeyError("no")

    with pytest.raises(KeyError):
        await db.write(half)
    await db.write(_add("b"))
    assert await db.read(_names) == ["b"]


async def test_writes_from_many_tasks_do_not_collide(db):
    await asyncio.gather(*(db.write(_add(f"n{i}")) for i in range(50)))
    assert len(await db.read(_names)) == 50


async def test_readers_cannot_write(db):
    with pytest.raises(Exception, match="readonly"):
        await db.read(_add("x"))


async def test_cancelled_reader_stops_its_statement(db):
    endless = text("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c")
    for _ in range(8):  # twice the readers: none of them may stay busy
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await db.read(lambda conn: conn.execute(endless).all())
    async with asyncio.timeout(5):
        assert await db.read(_names) == []


async def test_clean_stop_leaves_one_complete_file(tmp_path):
    schema.upgrade(tmp_path / "job.db")
    db = Database(tmp_path / "job.db")
    await db.write(_add("kept"))
    db.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job.db"]
    shutil.copy(tmp_path / "job.db", tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as conn:
        assert conn.execute("SELECT tag_name FROM tag").fetchall() == [("kept",)]
