"""`-init-db`: the job tables from the job archive, in one transaction."""

from __future__ import annotations

import sys
import time

from ccdaemon.log import Log

from cc_backend.archive import JobKey
from cc_backend.config import Config
from cc_backend.jobs.importer import rebuild

from .serve import refuse_what_is_missing


def run(config: Config, log: Log) -> None:
    """OperatorError where database or archive cannot be opened; jobs that cannot be read are logged and left out."""
    refuse_what_is_missing(config)
    from cc_backend.app import open_core

    core = open_core(config, log)
    failures = 0

    def failed(key: JobKey, reason: str) -> None:
        nonlocal failures
        failures += 1
        log.error("init_db.job_failed", cluster=key.cluster, job_id=key.job_id, start=key.start_time, reason=reason)

    def progress(count: int) -> None:
        sys.stdout.write(f"{count} jobs inserted...\r")
        sys.stdout.flush()

    print("Building job table...")
    try:
        count = core.database.write_now(lambda conn: rebuild(conn, core.archive, core.catalogue, int(time.time()), failed, progress))
    finally:
        core.database.close()
    if failures:
        log.warning("init_db.failures", jobs=failures)
    print(f"{count} jobs inserted...")
    print("Init DB: Successfully re-initialized repository DB.")
