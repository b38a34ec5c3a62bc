"""cc-backend: which of the actions were asked for, in their fixed order; each is a module that is imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from ccdaemon.app import guarded
from ccdaemon.flags import parse_flags
from ccdaemon.log import Log, make_log
from msgspec import Meta

NAME: Final = "cc-backend"
ABOUT: Final = "Jobs, users, archive, interfaces and web pages; has a metric store built in."


class Flags(msgspec.Struct):
    """Flags of the command line; the order of the actions is that of `actions`."""

    init: Annotated[bool, Meta(description="Create ./var, config.json, .env and the database.")] = False
    config: Annotated[str, Meta(description="Configuration file.")] = "./config.json"
    check_config: Annotated[bool, Meta(description="Read the configuration, report all mistakes, exit 0 or 1.")] = False
    migrate_db: Annotated[bool, Meta(description="Create the database or bring it to this version, then exit.")] = False
    optimize_db: Annotated[bool, Meta(description="Vacuum and analyze the database, then exit.")] = False
    add_user: Annotated[
        str, Meta(description="Create a local user: <username>:<role>[,<role>…]:<password>; password - reads it from standard input.")
    ] = ""
    del_user: Annotated[str, Meta(description="Delete the account of this name.")] = ""
    jwt: Annotated[str, Meta(description="Print an API token for this user.")] = ""
    init_db: Annotated[bool, Meta(description="Rebuild the job tables from the job archive.")] = False
    server: Annotated[bool, Meta(description="Run the server.")] = False
    loglevel: Annotated[str, Meta(description="debug, info, warn, err or crit.")] = "warn"
    logdate: Annotated[bool, Meta(description="Date and time in log lines.")] = False
    gops: Annotated[bool, Meta(description="Accepted, without effect.")] = False


def main(argv: Sequence[str] | None = None) -> int:
    flags = parse_flags(Flags, sys.argv[1:] if argv is None else argv, prog=NAME, version=version_text(), about=ABOUT)
    log = make_log(NAME, level=flags.loglevel, dates=flags.logdate)
    return guarded(log, lambda: actions(flags, log))


def actions(flags: Flags, log: Log) -> int:
    """Do what was asked for; the exit code. Errors are raised."""
    if flags.init:
        from .commands import init

        return init.run()
    from ccdaemon.env import load_env

    found = load_env(Path(sys.argv[0]))
    if found is not None:
        log.info("environment.read", file=str(found))
    if flags.check_config:
        from .commands import check_config

        return check_config.run(Path(flags.config))
    from .config import read_config

    config, warnings = read_config(Path(flags.config))
    for warning in warnings:
        log.warning(warning)
    if flags.migrate_db or flags.optimize_db:
        from .commands import migrate

        return migrate.run(config) if flags.migrate_db else migrate.optimize(config)
    if flags.add_user or flags.del_user or flags.jwt:
        from .commands import users

        users.run(config, os.environ, flags.add_user, flags.del_user, flags.jwt, log)
    if flags.init_db:
        from .commands import init_db

        init_db.run(config, log)
    if not flags.server:
        print("No errors, server flag not set. Exiting cc-backend.")
        return 0
    from .commands import serve

    return serve.run(config, os.environ, log)


def version_text() -> str:
    from importlib.metadata import version

    from .archive import VERSION as ARCHIVE_VERSION
    from .db.schema import VERSION as DB_VERSION

    return f"Version:\t{version(NAME)}\nGit hash:\t\nBuild time:\t\nSQL db version:\t{DB_VERSION}\nJob archive version:\t{ARCHIVE_VERSION}"


if __name__ == "__main__":
    sys.exit(main())
