"""`-add-user`, `-del-user`, `-jwt`, in this order."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from ccdaemon.errors import InputError, OperatorError
from ccdaemon.log import Log

from cc_backend.auth.keys import keys_of
from cc_backend.auth.local import hash_password
from cc_backend.auth.tokens import issue
from cc_backend.config import Config
from cc_backend.db import schema
from cc_backend.db import users as rows
from cc_backend.db.database import Database
from cc_backend.db.users import User


def run(config: Config, environ: Mapping[str, str], add: str, delete: str, jwt: str, log: Log) -> None:
    """OperatorError for everything that is wrong."""
    if config.main.disable_authentication and (add or delete):
        raise OperatorError("--add-user and --del-user can only be used if authentication is enabled")
    path = Path(config.main.db)
    schema.check(path)
    database = Database(path)
    try:
        if add:
            user = parse_user(add)
            database.write_now(lambda conn: rows.add_user(conn, user))
        if delete:
            database.write_now(lambda conn: rows.delete_user(conn, delete))
        if jwt:
            print_token(config, environ, database, jwt, log)
    except InputError as e:
        raise OperatorError(str(e)) from e
    finally:
        database.close()


def parse_user(text: str) -> User:
    """`name:role[,role…]:password`; the password may contain colons, `-` reads it from standard input. InputError."""
    parts = text.split(":", 2)
    if len(parts) < 3 or not parts[0]:
        raise InputError("invalid user format, want: <username>:<role>[,<role>…]:<password>", "-add-user")
    name, roles, password = parts
    if password == "-":  # noqa: S105 - on the command line everybody could read it in the process list
        password = getpass.getpass(f"Password of {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    user = User(username=name, roles=tuple(dict.fromkeys(role.strip().lower() for role in roles.split(",") if role.strip())))
    rows.check_user(user)
    return msgspec.structs.replace(user, password=hash_password(password) if password else None)


def print_token(config: Config, environ: Mapping[str, str], database: Database, username: str, log: Log) -> None:
    keys = keys_of(environ)
    if keys.private is None:
        raise OperatorError("JWT_PRIVATE_KEY is not set", "set it in the environment or in .env")
    user = database.read_now(lambda conn: rows.find_user(conn, username))
    if user is None:
        raise OperatorError(f"cannot make a token: there is no user '{username}'", "create it with -add-user")
    if "api" not in user.roles:
        log.warning(f"user '{username}' does not have the API role: its token cannot use /api")
    token = issue(keys.private, user, config.auth.jwts.max_age, int(time.time()))
    print(f"JWT: Successfully generated JWT for user '{username}': {token}")
