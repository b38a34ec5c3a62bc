"""`-migrate-db` and `-optimize-db`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cc_backend.config import Config
from cc_backend.db import schema


def run(config: Config) -> int:
    path = Path(config.main.db)
    schema.upgrade(path)
    print(f"MigrateDB Success: Migrated SQLite database at '{path}' to version {schema.VERSION}.")
    return 0


def optimize(config: Config) -> int:
    path = Path(config.main.db)
    schema.check(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        for step in ("VACUUM", "ANALYZE"):
            print(f"OptimizeDB: {step}...")
            conn.execute(step)
    print(f"OptimizeDB Success: Database '{path}' optimized (VACUUM + ANALYZE).")
    return 0
