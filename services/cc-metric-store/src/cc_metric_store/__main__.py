"""cc-metric-store: flags, configuration, port, privileges, then the parts (metric-store 6.6, 6.7)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
from ccdaemon.app import Application, guarded, parse_address
from ccdaemon.errors import ConfigErrors
from ccdaemon.flags import parse_flags
from ccdaemon.log import Log, make_log
from ccdaemon.tls import server_tls
from ccdaemon.tokens import Verifier, load_public_key
from msgspec import Meta

from .config import Config, read_config

NAME = "cc-metric-store"
STOP_DEADLINE = 90.0
"""Seconds for a clean stop, below the unit's TimeoutStopSec=100."""


class Flags(msgspec.Struct):
    config: Annotated[str, Meta(description="Configuration file.")] = "./config.json"
    loglevel: Annotated[str, Meta(description="debug, info, warn, err or crit.")] = "warn"
    logdate: Annotated[bool, Meta(description="Date and time in log lines.")] = False
    dev: Annotated[bool, Meta(description="Accepted; the interface is described in the documentation.")] = False
    gops: Annotated[bool, Meta(description="Accepted, without effect.")] = False
    cleanup_checkpoints: Annotated[bool, Meta(description="One cleanup run on the files of a store that is stopped, then exit.")] = False
    check_config: Annotated[bool, Meta(description="Read the configuration, report all mistakes, exit 0 or 1.")] = False


def main(argv: Sequence[str] | None = None) -> int:
    flags = parse_flags(Flags, sys.argv[1:] if argv is None else argv, prog=NAME, version=version_text(), about="Keeps metrics in memory.")
    if flags.check_config:
        return check_config(Path(flags.config))
    log = make_log(NAME, level=flags.loglevel, dates=flags.logdate)
    if flags.cleanup_checkpoints:
        return guarded(log, lambda: cleanup(read_config(Path(flags.config)), log))
    return guarded(log, lambda: serve(read_config(Path(flags.config)), log))


def check_config(path: Path) -> int:
    """Prints every problem, also those that would not stop the start."""
    try:
        config = read_config(path)
        found = list(config.warnings)
    except ConfigErrors as e:
        found = [*e.problems, *e.warnings]
    for problem in found:
        print(problem if problem.fatal else f"warning: {problem}")
    if any(problem.fatal for problem in found):
        return 1
    print(f"{path}: fine")
    return 0


def cleanup(config: Config, log: Log) -> int:
    """Locks the folder: on that of a running server it says so and changes nothing."""
    from .app import cleanup_once

    hosts, rows = asyncio.run(cleanup_once(config, log))
    if config.store.cleanup.mode == "archive":
        print(f"Cleanup done: {hosts} checkpoint files, {rows} rows archived to parquet.")
    else:
        print(f"Cleanup done: {hosts} checkpoint files deleted or shortened.")
    return 0


def serve(config: Config, log: Log) -> int:
    """Secrets, keys and the port as the user that was started; everything that makes files or threads behind the drop."""
    for problem in config.warnings:
        log.warning(str(problem))
    main = config.main
    verifier = Verifier((load_public_key(main.jwt_public_key),)) if main.jwt_public_key else None
    if verifier is None:
        log.warning("main.allow-unauthenticated: everybody who reaches this port may write, read and free")
    tls = server_tls(main.https_cert_file, main.https_key_file)
    app = Application(NAME, log=log, stop_deadline=STOP_DEADLINE)
    (sock,) = app.bind([parse_address(main.addr, "main.addr")])
    app.drop(main.user, main.group)
    from .app import add_parts  # numpy starts threads when it is imported: not before the drop

    add_parts(app, config, sock, tls, verifier, log)
    if tls is not None:

        async def renew() -> None:
            tls.reload()

        app.on_reload(renew)
    code = app.run()
    print("Graceful shutdown completed!" if code == 0 else f"Ended with code {code}.")
    return code


def version_text() -> str:
    return f"Version:\t{version(NAME)}\nGit hash:\t\nBuild time:\t"


if __name__ == "__main__":
    sys.exit(main())
