"""The table of pages, and what is checked before one is shown: login, role, that its object exists and may be seen."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, NoReturn

from aiohttp import web
from ccdaemon.errors import PeerError
from ccdaemon.log import Log

from cc_backend.access import Denied, Identity, Right, may, visibility
from cc_backend.auth.middleware import WHO
from cc_backend.clusters import Catalogue
from cc_backend.config import Config
from cc_backend.db import jobs as job_rows
from cc_backend.db import search as search_rows
from cc_backend.db.database import Database
from cc_backend.db.settings import settings_of
from cc_backend.metrics.dispatch import Dispatcher

from . import data
from . import search as searching
from .assets import CHECKED, IMMUTABLE, Assets, answer
from .settings import merged, site_settings
from .shell import Message, Shell
from .texts import SiteText

NOT_FOUND: Final = Message("info", "Page Not Found", "There is no such page, or you may not see it.", 404)
NOT_ALLOWED: Final = Message("warning", "Not Allowed", "Your account does not have the role that this page needs.", 403)
LOGIN_FIRST: Final = Message("danger", "Authentication failed", "unauthorized (please login first)", 401)


class PageSpec(NamedTuple):
    """One row. path: as aiohttp writes it; level: lowest role; title: with the names of the path; presets: what of the query string is handed over."""

    name: str
    path: str
    title: str
    level: int
    presets: str


USER, SUPPORT = data.LEVELS["user"], data.LEVELS["support"]
PAGES: Final = (
    PageSpec("home", "/", "ClusterCockpit", USER, ""),
    PageSpec("jobs", "/monitoring/jobs/", "Jobs - ClusterCockpit", USER, "filter"),
    PageSpec("job", r"/monitoring/job/{id:\d{1,18}}", "Job {id} - ClusterCockpit", USER, ""),
    PageSpec("user", "/monitoring/user/{username}", "User {username} - ClusterCockpit", USER, "filter"),
    PageSpec("systems", "/monitoring/systems/{cluster}", "Cluster {cluster} Node Overview - ClusterCockpit", SUPPORT, "span"),
    PageSpec("node", "/monitoring/node/{cluster}/{hostname}", "Node {cluster} ({hostname}) - ClusterCockpit", SUPPORT, "span"),
)


class Rooms(NamedTuple):
    """What pages need of the rooms below. texts: imprint and privacy. anonymous: authentication is disabled."""

    database: Database
    catalogue: Catalogue
    dispatcher: Dispatcher
    config: Config
    shell: Shell
    log: Log
    texts: Mapping[str, SiteText]
    anonymous: bool = False
    clock: Callable[[], float] = time.time


def routes(rooms: Rooms, assets: Assets) -> list[web.RouteDef]:
    """Pages, login form and static files. POST /login and /logout are `api.login`, which draws with `show_login`."""
    found = [web.get("/login", _login_form(rooms)), web.get("/search", _search(rooms)), *_files(assets)]
    found += [web.get(f"/{name}", _text(rooms.shell, text)) for name, text in rooms.texts.items()]
    for spec in PAGES:
        found.append(web.get(spec.path, _handler(rooms, spec)))
        if spec.path != "/":
            found.append(web.get(spec.path.rstrip("/") if spec.path.endswith("/") else f"{spec.path}/", _to_canonical))
    return found


def show_login(shell: Shell) -> Callable[[int, str, str, str], web.StreamResponse]:
    """(status, kind, text, target) → the login page with that message, which keeps the target of a form that failed."""

    def show(status: int, kind: str, text: str, target: str) -> web.StreamResponse:
        title = "Bye - ClusterCockpit" if status == 200 else "Login failed - ClusterCockpit"
        return shell.login(status, title, Message(kind, "", text, status), data.safe_redirect(target))

    return show


def error_pages(shell: Shell, log: Log, prefixes: tuple[str, ...]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Middleware: errors of everything outside of the path prefixes of APIs are HTML."""

    @web.middleware
    async def middleware(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if request.path.startswith(prefixes):
            return await handler(request)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return shell.message(NOT_FOUND)
        except web.HTTPException:
            raise
        except PeerError as e:
            log.throttled(10, "page.peer", path=request.path, error=str(e))
            return shell.message(Message("danger", "Temporarily Unavailable", "A part of the system does not answer. Try again.", 503))
        except Exception as e:
            log.bug("page.bug", e, path=request.path)
            return shell.message(Message("danger", "Internal Error", "This page could not be made. The log of cc-backend says why.", 500))

    return middleware


def _handler(rooms: Rooms, spec: PageSpec) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        who = request.get(WHO)
        if who is None:
            target = data.safe_redirect(request.path_qs)
            return rooms.shell.login(401, "Authentication failed - ClusterCockpit", LOGIN_FIRST, target)
        path = dict(request.match_info)
        if not _allowed(spec, who, path):
            return rooms.shell.message(NOT_ALLOWED)
        params = await _params(rooms, spec, who, path)
        query = {name: request.query.getall(name) for name in request.query}
        return rooms.shell.page(await _block(rooms, spec, who, path, params, data.presets(query, spec.presets)))

    return handle


def _allowed(spec: PageSpec, who: Identity, path: Mapping[str, str]) -> bool:
    if data.level(who) < spec.level:
        return False
    return spec.name != "user" or path["username"] == who.username or may(who, Right.LOOK_UP_USER, path["username"])


async def _params(rooms: Rooms, spec: PageSpec, who: Identity, path: Mapping[str, str]) -> dict[str, object]:
    """The `params` of the block; HTTPNotFound where the object of the page does not exist or is none of the caller's business."""
    match spec.name:
        case "job":
            return {"id": await _visible_job(rooms, who, int(path["id"]))}
        case "user":
            return {"username": path["username"]}
        case "systems":
            if rooms.catalogue.find(path["cluster"]) is None:
                _missing()
            return {"cluster": path["cluster"]}
        case "node":
            cluster, host = path["cluster"], path["hostname"]
            if rooms.catalogue.find(cluster) is None:
                _missing()
            sub = rooms.catalogue.subcluster_of(cluster, host)
            # A host that sends data but is in no node list has a page: it says so.
            if sub is None and host not in await rooms.dispatcher.hosts(cluster):
                _missing()
            return {"cluster": cluster, "hostname": host, "subCluster": sub or ""}
    return {}


def _missing() -> NoReturn:
    raise web.HTTPNotFound


async def _visible_job(rooms: Rooms, who: Identity, id_: int) -> int:
    try:
        see = visibility(who)
    except Denied:
        _missing()
    now = int(rooms.clock())
    if id_ >= 1 << 63 or await rooms.database.read(lambda conn: job_rows.job_by_id(conn, see, id_, now=now)) is None:
        _missing()
    return id_


async def _block(
    rooms: Rooms, spec: PageSpec, who: Identity, path: Mapping[str, str], params: Mapping[str, object], presets: Mapping[str, object]
) -> dict[str, object]:
    main = rooms.config.main
    clusters = rooms.catalogue.all()
    site = site_settings(rooms.config.ui, clusters, main.short_running_jobs_duration)
    resampling = main.resampling
    return {
        "page": spec.name,
        "title": spec.title.format(**path),
        "version": rooms.shell.version,
        "now": int(rooms.clock()),
        "params": params,
        "presets": presets,
        "user": data.user(who, rooms.anonymous),
        "menu": data.menu(who, rooms.catalogue.names(), rooms.anonymous),
        "clusters": data.clusters(clusters, restricted=not may(who, Right.READ_RESTRICTED)),
        "settings": merged(site, await _stored(rooms, who)),
        "resampling": None
        if resampling is None
        else {
            "trigger": resampling.trigger,
            "resolutions": sorted(resampling.resolutions, reverse=True),
            "minimumPoints": rooms.dispatcher.resampling.minimum_points,
        },
        "emissionConstant": main.emission_constant,
        "message": None,
    }


async def _stored(rooms: Rooms, who: Identity) -> Mapping[str, object]:
    try:
        return await rooms.database.read(lambda conn: settings_of(conn, who.username))
    except ValueError as e:  # a row that is no JSON must not lock its user out
        rooms.log.throttled(60, "settings.broken", user=who.username, error=str(e))
        return {}


def _login_form(rooms: Rooms) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        target = data.safe_redirect(request.query.get("redirect", ""))
        if request.get(WHO) is not None:
            return web.Response(status=302, headers={"Location": target})
        return rooms.shell.login(200, "Login", None, target)

    return handle


def _search(rooms: Rooms) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        who = request.get(WHO)
        if who is None:
            return rooms.shell.login(401, "Authentication failed - ClusterCockpit", LOGIN_FIRST, data.safe_redirect(request.path_qs))
        if data.level(who) < USER:
            return rooms.shell.message(NOT_ALLOWED)
        now = int(rooms.clock())
        found = searching.search(request.query.get("searchId", ""), data.level(who), now)
        if isinstance(found, searching.LookUp):
            found = searching.looked_up(found, await _known(rooms, who, found), now)
        if isinstance(found, searching.Wrong):
            return rooms.shell.message(Message("info", found.title, found.text, 200))
        return web.Response(status=302, headers={"Location": found.address})

    return handle


async def _known(rooms: Rooms, who: Identity, asked: searching.LookUp) -> searching.Known:
    see, text = visibility(who), asked.text
    return await rooms.database.read(
        lambda conn: searching.Known(
            is_user=search_rows.is_user(conn, see, text),
            persons=search_rows.persons(conn, see, text, searching.MAX_PERSONS),
            is_project=search_rows.is_project(conn, see, text),
        )
    )


def _text(shell: Shell, text: SiteText) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(_request: web.Request) -> web.StreamResponse:
        """For everybody, logged in or not."""
        return shell.text(text.title, text.body)

    return handle


async def _to_canonical(request: web.Request) -> web.StreamResponse:
    """The other form of the trailing slash."""
    path = request.rel_url.raw_path
    there = path.rstrip("/") if path.endswith("/") else f"{path}/"
    query = request.rel_url.raw_query_string
    return web.Response(status=308, headers={"Location": f"{there}?{query}" if query else there})


def _files(assets: Assets) -> list[web.RouteDef]:
    async def static(request: web.Request) -> web.StreamResponse:
        return answer(request, assets.static.get(request.match_info["name"]), IMMUTABLE)

    async def image(request: web.Request) -> web.StreamResponse:
        return answer(request, assets.images.get(request.match_info["name"]), CHECKED)

    async def icon(request: web.Request) -> web.StreamResponse:
        return answer(request, assets.images.get("favicon.png") or assets.static.get("favicon.png"), CHECKED)

    return [web.get("/static/{name:.+}", static), web.get("/img/{name:.+}", image), web.get("/favicon.png", icon)]
