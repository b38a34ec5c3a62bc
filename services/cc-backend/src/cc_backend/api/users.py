"""REST of accounts: lists and roles by token, administration in a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from ccdaemon.errors import InputError
from ccschema.jsonin import decode

from cc_backend.access import Right, Role, require
from cc_backend.auth.local import hash_password
from cc_backend.auth.middleware import WHO
from cc_backend.db import users as rows
from cc_backend.db.users import User
from cc_backend.errors import Conflict

from .answers import error_answer, json_answer
from .rooms import Gate, Rooms, identity


class Change(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """The first that is present is done."""

    add_role: str = ""
    remove_role: str = ""
    add_project: str = ""
    remove_project: str = ""


def routes(rooms: Rooms, gate: Gate) -> list[web.RouteDef]:
    """/api/users/, /api/user/{id} by token; /config/users/, /config/user/{id}, /config/roles/ for an administrator's session."""
    database = rooms.database

    async def list_users(request: web.Request) -> web.Response:
        special = request.query.get("not-just-user") == "true"
        found = await database.read(lambda conn: rows.list_users(conn, special_only=special))
        return json_answer([user_json(user) for user in found])

    async def list_by_token(request: web.Request) -> web.Response:
        require(identity(request), Right.LIST_USERS)
        return await list_users(request)

    async def change_by_token(request: web.Request) -> web.Response:
        require(identity(request), Right.LIST_USERS)
        name = request.match_info["id"]
        done = await change(name, decode(await request.read(), Change, strict=True))
        return json_answer({"msg": f"{done} Success for user {name}"})

    async def change_in_session(request: web.Request) -> web.Response:
        form = await form_of(request)
        fields = {name.replace("-", "_"): form.get(name, "") for name in ("add-role", "remove-role", "add-project", "remove-project")}
        return json_answer({"msg": f"{await change(request.match_info['id'], Change(**fields))} Success"})

    async def change(username: str, wanted: Change) -> str:
        if role := wanted.add_role or wanted.remove_role:
            add = bool(wanted.add_role)
            await _refused(database.write(lambda conn: rows.change_role(conn, username, role, add=add)))
            return "Add Role" if add else "Remove Role"
        if project := wanted.add_project or wanted.remove_project:
            add = bool(wanted.add_project)
            await _refused(database.write(lambda conn: rows.change_project(conn, username, project, add=add)))
            return "Add Project" if add else "Remove Project"
        raise InputError("no operation specified: give add-role, remove-role, add-project or remove-project")

    async def create(request: web.Request) -> web.Response:
        user, password = new_user(await form_of(request))
        hashed = await rooms.work.run(hash_password, password) if password else None
        await database.write(lambda conn: rows.add_user(conn, msgspec.structs.replace(user, password=hashed)))
        return web.Response(text=f"User {user.username} successfully created!\n")

    async def delete(request: web.Request) -> web.Response:
        name = (await form_of(request)).get("username", "")
        if name == identity(request).username:
            return error_answer(422, "you cannot delete your own account")
        await database.write(lambda conn: rows.delete_user(conn, name))
        return web.Response()

    async def roles(request: web.Request) -> web.Response:
        return json_answer([role.value for role in Role])

    def token(handler: Handler) -> Handler:
        return gate.guarded(Right.USE_API, handler)

    return [
        *(web.get(path, token(list_by_token)) for path in ("/api/users/", "/api/users")),
        web.post("/api/user/{id}", token(change_by_token)),
        *(web.get(path, administrator(list_users)) for path in ("/config/users/", "/config/users")),
        *(web.route(method, "/config/users/", administrator(create)) for method in ("POST", "PUT")),
        web.delete("/config/users/", administrator(delete)),
        web.post("/config/user/{id}", administrator(change_in_session)),
        web.get("/config/roles/", administrator(roles)),
    ]


def administrator(handler: Handler) -> Handler:
    """Only for the session of an administrator, else 401."""

    async def ask(request: web.Request) -> web.StreamResponse:
        require(request[WHO], Right.ADMINISTER)
        return await handler(request)

    return ask


def user_json(user: User) -> dict[str, Any]:
    """An account as lists show it; never the password."""
    return {
        "username": user.username,
        "name": user.name,
        "roles": user.roles,
        "email": user.email,
        "projects": user.projects,
        "authType": 0,
        "authSource": int(user.source),
    }


def new_user(form: Mapping[str, str]) -> tuple[User, str]:
    """(account without password, password) of a form; InputError."""
    name, password, role, project = (form.get(key, "").strip() for key in ("username", "password", "role", "project"))
    if not 1 <= len(name.encode()) <= 100:
        raise InputError("username must have 1 to 100 bytes", "username")
    if not password and role != "api":
        raise InputError("only API users are allowed to have a blank password", "password")
    if project and role != "manager":
        raise InputError("only managers can have a project", "project")
    if role == "manager" and not project:
        raise InputError("managers need a project", "project")
    user = User(
        username=name,
        roles=(role.lower(),),
        projects=(project,) if project else (),
        name=form.get("name", "").strip(),
        email=form.get("email", "").strip(),
    )
    rows.check_user(user)
    return user, form.get("password", "")


MAX_FORM: Final = 256 << 10


async def form_of(request: web.Request, limit: int = MAX_FORM) -> dict[str, str]:
    """Fields of an urlencoded or multipart body, and of the query. HTTPRequestEntityTooLarge above `limit` bytes, also without a length."""
    fields = dict(request.query)
    if request.method != "DELETE" or request.content_type == "multipart/form-data":
        body = request.clone(client_max_size=limit)  # the site's own limit is that of metric data
        for name, value in (await body.post()).items():
            if isinstance(value, str):
                fields[name] = value
            elif isinstance(value, web.FileField):
                value.file.close()  # no form of ours has files
    return fields


async def _refused(change: Any) -> None:
    """Every rule that is broken is 422 here, a bad role's name too."""
    try:
        await change
    except InputError as e:
        raise Conflict(str(e)) from e
