"""SQLite behind one writer thread and a few reader threads; every call is one transaction.

Callers write plain functions `f(conn, …)` and hand them to `read` or `write`; nothing else of the database is asynchronous.
The file stays a WAL database while the program runs (so that it can be replicated continuously) and is one complete file
after `close`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from ccdaemon.errors import OperatorError
from ccdaemon.executors import Pool
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

T = TypeVar("T")


class Tuning(msgspec.Struct, frozen=True):
    """SQLite's knobs. `cache_mb` is per connection; times in milliseconds."""

    readers: int = 4
    cache_mb: int = 64
    busy_ms: int = 60_000


def sqlite_engine(path: Path, tuning: Tuning, *, writer: bool) -> Engine:
    """Engine with WAL, foreign keys and explicit transactions. The parent directory must exist (OperatorError)."""
    if not path.parent.is_dir():
        raise OperatorError(f"main.db: there is no directory '{path.parent}'", "create it, or run cc-backend -init")
    size = 1 if writer else tuning.readers
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": tuning.busy_ms / 1000},
    )

    @event.listens_for(engine, "connect")
    def _connected(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves; the driver's own guesses end transactions early
        # Settings stand on every connection of the pool, not only on the first.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"cache_size=-{tuning.cache_mb * 1024}",
            f"query_only={'OFF' if writer else 'ON'}",
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


class Database:
    """Opens at once; `close` leaves one complete file."""

    def __init__(self, path: Path, tuning: Tuning | None = None) -> None:
        tuning = tuning or Tuning()
        self.path = path
        self._writer = sqlite_engine(path, tuning, writer=True)
        self._reader = sqlite_engine(path, tuning, writer=False)
        self._write_pool = Pool("database-write", 1, 10_000)
        self._read_pool = Pool("database-read", tuning.readers, 1_000)

    async def read(self, f: Callable[[Connection], T]) -> T:
        """`f` in a reader thread, in one transaction. A cancelled caller interrupts the statement."""
        return await _interruptible(self._read_pool, self._reader, f)

    async def write(self, f: Callable[[Connection], T]) -> T:
        """`f` in the writer thread, committed when it returns, rolled back when it raises. Runs to its end in any case."""
        return await self._write_pool.run(self.write_now, f)

    def read_now(self, f: Callable[[Connection], T]) -> T:
        """`read` in the calling thread: commands, and threads that block anyway."""
        with self._reader.connect() as conn, conn.begin():
            return f(conn)

    def write_now(self, f: Callable[[Connection], T]) -> T:
        """`write` in the calling thread: commands only, the daemon has one writer."""
        with self._writer.connect() as conn, conn.begin():
            return f(conn)

    def close(self, deadline: float = 10.0) -> None:
        """Finish what runs, put the log into the file, close."""
        self._read_pool.close(deadline)
        self._write_pool.close(deadline)
        self._reader.dispose()
        with self._writer.connect() as conn:  # no statement of ours: a checkpoint runs outside of transactions
            _raw(conn).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._writer.dispose()


def _raw(conn: Connection) -> sqlite3.Connection:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


async def _interruptible(pool: Pool, engine: Engine, f: Callable[[Connection], T]) -> T:
    # The lock holds an interrupt back from a connection that has gone on to somebody else.
    lock = threading.Lock()
    held: list[sqlite3.Connection] = []

    def call() -> T:
        with engine.connect() as conn, conn.begin():
            with lock:
                held.append(_raw(conn))
            try:
                return f(conn)
            finally:
                with lock:
                    held.clear()

    result = asyncio.wrap_future(pool.submit(call))
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # "interrupted" is no news to anybody
        with lock:
            for raw in held:
                raw.interrupt()
        raise
