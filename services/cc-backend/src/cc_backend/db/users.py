"""Accounts: rows of `hpc_user`, and the rules of changing them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from ccdaemon.errors import InputError
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from cc_backend.access import RESERVED_NAMES, AuthSource, Role, roles_of
from cc_backend.db.tables import configuration, hpc_user, session
from cc_backend.errors import Conflict, NotFound


class User(msgspec.Struct, frozen=True):
    """An account. `password` is the bcrypt hash, None where it cannot log in with a local password."""

    username: str
    roles: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    source: AuthSource = AuthSource.LOCAL
    name: str = ""
    email: str = ""
    password: str | None = None
    tokens_valid_from: int = 0


def find_user(conn: Connection, username: str) -> User | None:
    row = conn.execute(select(hpc_user).where(hpc_user.c.username == username)).first()
    return _user(row) if row else None


def list_users(conn: Connection, *, special_only: bool = False) -> list[User]:
    """All accounts by name; `special_only` leaves out those that are nothing but users, or nothing at all."""
    users = [_user(row) for row in conn.execute(select(hpc_user).order_by(hpc_user.c.username))]
    return [user for user in users if not special_only or user.roles not in (("user",), ())]


def names_of(conn: Connection, usernames: Sequence[str]) -> dict[str, tuple[str, str]]:
    """username → (real name, e-mail)."""
    out: dict[str, tuple[str, str]] = {}
    for start in range(0, len(usernames), 500):
        query = select(hpc_user.c.username, hpc_user.c.name, hpc_user.c.email).where(
            hpc_user.c.username.in_(usernames[start : start + 500])
        )
        out |= {row.username: (row.name, row.email) for row in conn.execute(query)}
    return out


def add_user(conn: Connection, user: User) -> None:
    """InputError for a bad account, Conflict where the name is taken."""
    check_user(user)
    if find_user(conn, user.username) is not None:
        raise Conflict(f"user '{user.username}' exists already")
    conn.execute(
        insert(hpc_user).values(
            username=user.username,
            password=user.password,
            auth_source=int(user.source),
            name=user.name,
            email=user.email,
            roles=json.dumps(list(user.roles)),
            projects=json.dumps(list(user.projects)),
        )
    )


def check_user(user: User) -> None:
    if not 1 <= len(user.username.encode()) <= 255 or any(ord(c) < 32 for c in user.username):
        raise InputError("a username has 1 to 255 bytes and no control characters")
    if user.username in RESERVED_NAMES:
        raise InputError(f"'{user.username}' is the name of a tag scope and cannot be a username")
    for role in user.roles:
        if not roles_of([role]):
            raise InputError(f"'{role}' is no role; roles are {', '.join(Role)}")


def delete_user(conn: Connection, username: str) -> bool:
    """Delete an account with its settings and sessions; False where there was none. Refuses the last administrator."""
    user = find_user(conn, username)
    conn.execute(delete(session).where(session.c.username == username))
    conn.execute(delete(configuration).where(configuration.c.username == username))
    if user is None:
        return False
    if "admin" in user.roles:
        _not_the_last_admin(conn, username)
    conn.execute(delete(hpc_user).where(hpc_user.c.username == username))
    return True


def change_role(conn: Connection, username: str, role: str, *, add: bool) -> None:
    user, role = _existing(conn, username), role.lower()
    if not roles_of([role]):
        raise InputError(f"supplied role is no valid option : {role}")
    if add:
        if role in user.roles:
            raise Conflict(f"user {username} already has role {role}")
        _set(conn, username, "roles", [*user.roles, role])
        return
    if role not in user.roles:
        raise Conflict(f"user {username} has no role {role}")
    if role == "manager" and user.projects:
        raise Conflict(f"cannot remove role manager from {username}: projects are assigned ({', '.join(user.projects)})")
    if role == "admin":
        _not_the_last_admin(conn, username)
    _set(conn, username, "roles", [r for r in user.roles if r != role])


def change_project(conn: Connection, username: str, project: str, *, add: bool) -> None:
    user = _existing(conn, username)
    if "manager" not in user.roles:
        raise Conflict(f"user {username} is no manager")
    if not project:
        raise InputError("the name of a project is empty")
    if add and project in user.projects:
        raise Conflict(f"user {username} manages project {project} already")
    if not add and project not in user.projects:
        raise Conflict(f"user {username} does not manage project {project}")
    _set(conn, username, "projects", [*user.projects, project] if add else [p for p in user.projects if p != project])


def set_password(conn: Connection, username: str, password: str) -> None:
    """`password` is the hash."""
    _existing(conn, username)
    conn.execute(update(hpc_user).where(hpc_user.c.username == username).values(password=password))
    conn.execute(delete(session).where(session.c.username == username))


def _existing(conn: Connection, username: str) -> User:
    user = find_user(conn, username)
    if user is None:
        raise NotFound(f"unknown user: {username}")
    return user


def _not_the_last_admin(conn: Connection, username: str) -> None:
    others = select(func.count()).where(hpc_user.c.roles.contains('"admin"'), hpc_user.c.username != username)
    if not conn.execute(others).scalar_one():
        raise Conflict(f"{username} is the last administrator")


def _set(conn: Connection, username: str, column: str, values: Sequence[str]) -> None:
    conn.execute(update(hpc_user).where(hpc_user.c.username == username).values({column: json.dumps(list(values))}))


def _user(row: Row[Any]) -> User:
    return User(
        username=row.username,
        roles=tuple(json.loads(row.roles or "[]") or ()),
        projects=tuple(json.loads(row.projects or "[]") or ()),
        source=AuthSource(row.auth_source),
        name=row.name,
        email=row.email,
        password=row.password,
        tokens_valid_from=row.tokens_valid_from,
    )
