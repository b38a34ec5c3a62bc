"""The one place that knows all parts of cc-backend: makes them, hands them to each other, and says when they start and stop."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from ccdaemon.app import Application, Phase
from ccdaemon.executors import Pool
from ccdaemon.ledger import Registry
from ccdaemon.log import Log
from ccdaemon.net.clientip import networks
from ccdaemon.net.http_server import Listener
from ccdaemon.net.nats import Nats
from ccdaemon.tls import ServerTls
from ccstore.server.routes import BODY_LIMIT
from ccstore.server.store import Store
from ccstore.server.subscribe import subscribe

from .access import Right
from .api import clusters as clusters_api
from .api import frontend as frontend_api
from .api import jobs as jobs_api
from .api import login as login_api
from .api import nodes as nodes_api
from .api import store as store_api
from .api import users as users_api
from .api.answers import PREFIXES, answers
from .api.nats import JobEvents
from .api.rooms import Gate, Rooms
from .archive.file import FileArchive
from .auth.keys import Keys
from .auth.limits import LoginLimit
from .auth.local import LocalLogin
from .auth.middleware import Proxies, authentication, cross_site_check, preflight, security_headers
from .auth.sessions import Sessions
from .auth.tokens import TokenLogin
from .clusters import Catalogue
from .config import Config
from .db import schema
from .db.database import Database, Tuning
from .graphql import transport
from .jobs.lifecycle import archive_grace
from .jobs.service import Hooks, JobService
from .metrics.dispatch import Dispatcher, Resampling
from .metrics.internal import InternalSource
from .pages import routes as pages
from .pages.assets import load_assets
from .pages.shell import Shell
from .pages.texts import load_texts
from .workers.archiver import Archiver
from .workers.durations import Durations
from .workers.footprints import Footprints
from .workers.node_states import NodeStateRetention
from .workers.protect import Protection
from .workers.retention import Retention
from .workers.schedule import Schedule, Worker
from .workers.walltime import Walltime

OWN_IMAGES: Final = Path("var/img")
"""A site's own logo and pictures, beside the database."""


OWN_TEXTS: Final = Path("var")
"""Where `imprint.md` and the like are looked for."""


class Core(msgspec.Struct):
    """What the server and the commands that need the archive share."""

    database: Database
    archive: FileArchive
    catalogue: Catalogue


def open_core(config: Config, log: Log) -> Core:
    """Database (of the right version), archive and clusters; OperatorError."""
    path = Path(config.main.db)
    schema.check(path)
    archive = FileArchive(Path(config.archive.path), lambda text: log.warning("archive.doubtful", text=text))
    catalogue = Catalogue(archive.clusters(), log)
    return Core(Database(path, tuning(config)), archive, catalogue)


def tuning(config: Config) -> Tuning:
    """SQLite's knobs; values ≤ 0 mean the default."""
    asked, default = config.main.db_config, Tuning()
    return Tuning(
        readers=asked.max_open_connections if asked.max_open_connections > 0 else default.readers,
        cache_mb=asked.cache_size_mb if asked.cache_size_mb > 0 else default.cache_mb,
        busy_ms=asked.busy_timeout_ms if asked.busy_timeout_ms > 0 else default.busy_ms,
    )


class DatabasePart:
    """Closes the database last of all, so that a clean stop leaves one complete file."""

    name = "database"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self) -> None:
        """Open already."""

    async def stop(self, deadline: float) -> None:
        self._database.close(deadline)


def add_parts(app: Application, config: Config, core: Core, sock: socket.socket, tls: ServerTls | None, keys: Keys, log: Log) -> None:
    """Everything that runs, behind a bound port and dropped privileges."""
    database, catalogue = core.database, core.catalogue
    archive_pool, work_pool, password_pool = Pool("archive", 4, 10_000), Pool("work", 2), Pool("passwords", 2, 64)
    app.add(DatabasePart(database), Phase.LINK)
    for pool in (archive_pool, work_pool, password_pool):
        app.add(pool, Phase.LINK)

    store = add_store(app, config, catalogue, log)
    dispatcher = Dispatcher(
        catalogue,
        {"": InternalSource(store)} if store is not None else {},
        core.archive,
        archive_pool=archive_pool,
        pool=work_pool,
        log=log,
        resampling=resampling(config),
    )
    archiver = Archiver(
        database,
        catalogue,
        core.archive,
        archive_pool,
        dispatcher,
        app.registry.ledger("archiver"),
        log,
        ready=lambda: store is None or not store.loading,
    )
    service = JobService(database, catalogue, core.archive, archive_pool, log, Hooks(stopped=[archiver.wake]))
    app.add(archiver, Phase.WORK)
    app.add(Schedule(workers(config, core, dispatcher, archiver, store, archive_pool, log), log), Phase.WORK)
    reports = nodes_api.NodeReports(database, catalogue, store, app.registry.ledger("node_states"), log)
    add_nats(app, config, store, service, reports, sock, log)

    proxies = Proxies(networks(config.main.trusted_proxies))
    sessions = Sessions(database, config.main.session_max_age)
    gate = Gate(proxies, allowed_networks(config), disabled=config.main.disable_authentication)
    rooms = Rooms(
        database=database,
        catalogue=catalogue,
        service=service,
        dispatcher=dispatcher,
        read_meta=core.archive.read_meta,
        work=work_pool,
        archive=archive_pool,
        log=log,
        clock=time.time,
    )
    assets = load_assets(*assets_of(config))
    shell = Shell(assets, version("cc-backend"))
    site = web_app(
        config, shell, proxies, sessions, log, TokenLogin(keys.verifier(), database, validate_user=config.auth.jwts.validate_user)
    )
    site.router.add_routes(jobs_api.routes(rooms, gate))
    site.router.add_routes(clusters_api.routes(rooms, gate))
    site.router.add_routes(users_api.routes(rooms, gate))
    site.router.add_routes(frontend_api.routes(rooms, keys.private, config.auth.jwts.max_age))
    site.router.add_routes(nodes_api.routes(reports, gate))
    site.router.add_routes(store_api.routes(store, gate))
    site.router.add_routes(
        transport.routes(transport.make_rooms(database, catalogue, dispatcher, time.time, config.main.short_running_jobs_duration), log)
    )
    site.router.add_get("/metrics", metrics_route(app.registry, gate))
    texts = load_texts(OWN_TEXTS, log.warning)
    rooms_of_pages = pages.Rooms(database, catalogue, dispatcher, config, shell, log, texts, config.main.disable_authentication)
    site.router.add_routes(pages.routes(rooms_of_pages, assets))
    if not config.main.disable_authentication:
        methods = [LocalLogin(password_pool)]
        site.router.add_routes(login_api.routes(database, sessions, methods, LoginLimit(), proxies, pages.show_login(shell), log))
    app.add(Listener(sock, site, tls=tls.context if tls else None, log=log), Phase.INTAKE)


def add_store(app: Application, config: Config, catalogue: Catalogue, log: Log) -> Store | None:
    if config.store is None:
        return None
    store = Store(
        config.store,
        tables=catalogue.metric_tables(),
        default=None,
        log=log,
        registry=app.registry,
        minimum_points=resampling(config).minimum_points,
    )
    app.add(store, Phase.KEEP)
    return store


def resampling(config: Config) -> Resampling:
    asked = config.main.resampling
    if asked is None:
        return Resampling()
    points = asked.minimum_points if asked.minimum_points > 0 else Resampling().minimum_points
    return Resampling(tuple(sorted(asked.resolutions, reverse=True)), points)


def workers(
    config: Config, core: Core, dispatcher: Dispatcher, archiver: Archiver, store: Store | None, archive_pool: Pool, log: Log
) -> Sequence[Worker]:
    """The periodic ones that are configured."""
    out: list[Worker] = [
        Durations(core.database, config.cron.duration_worker),
        Footprints(core.database, core.catalogue, dispatcher, config.cron.footprint_worker, log),
    ]
    if store is not None:
        out.append(Protection(core.database, store.protect))
    if config.main.stop_jobs_exceeding_walltime > 0:
        steps = (metric.timestep for cluster in core.catalogue.all() for metric in cluster.metric_config)
        out.append(Walltime(core.database, config.main.stop_jobs_exceeding_walltime, archive_grace(steps), archiver.wake, log))
    if config.main.nodestate_retention is not None:
        out.append(NodeStateRetention(core.database, config.main.nodestate_retention.age))
    asked = config.archive.retention
    if asked is not None and asked.policy == "delete":
        out.append(
            Retention(
                core.database,
                core.archive,
                archive_pool,
                age_days=asked.age,
                omit_tagged=asked.omit_tagged,
                include_db=asked.include_db,
                log=log,
            )
        )
    return out


def add_nats(
    app: Application,
    config: Config,
    store: Store | None,
    service: JobService,
    reports: nodes_api.NodeReports,
    sock: socket.socket,
    log: Log,
) -> None:
    subscriptions = config.store.nats_subscriptions if config.store is not None else []
    if config.nats is None:
        if subscriptions or config.main.api_subjects is not None:
            log.warning('nats-subscriptions and api-subjects need a section "nats"; cc-backend runs without NATS')
        return
    nats = Nats(config.nats, client_name="cc-backend", log=log)
    if store is not None:
        subscribe(store, nats, subscriptions, instance=f"{socket.gethostname()}-{sock.getsockname()[1]}")
    if config.main.api_subjects is not None:
        log.warning("messages of the NATS API are not authenticated: restrict on the broker who may publish on its subjects")
        events = JobEvents(service, app.registry.ledger("job_events"), log)
        nats.subscribe(config.main.api_subjects.subject_job_event, events.handle)
        nats.subscribe(config.main.api_subjects.subject_node_state, reports.handle)
        app.add(events, Phase.WORK)
    app.add(nats, Phase.INTAKE)


def allowed_networks(config: Config) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] | None:
    texts = config.main.api_allowed_ips
    return None if not texts or texts[0] == "*" else networks(text.strip("[]") for text in texts if text != "*")


def assets_of(config: Config) -> tuple[Path, Path | None]:
    """(output of the frontend's build, the site's own pictures)."""
    main = config.main
    built = Path(__file__).parent / "web" / "static" if main.embed_static_files else Path(main.static_files)
    return built, OWN_IMAGES if main.embed_static_files else None


def web_app(config: Config, shell: Shell, proxies: Proxies, sessions: Sessions, log: Log, tokens: TokenLogin) -> web.Application:
    """The application with everything that happens before a handler, in this order."""
    site = web.Application(
        client_max_size=BODY_LIMIT,
        middlewares=[
            preflight(),
            answers(log),
            pages.error_pages(shell, log, (*PREFIXES, transport.PATH, "/metrics")),
            cross_site_check(),
            authentication(tokens, sessions, log, disabled=config.main.disable_authentication),
        ],
    )
    site.on_response_prepare.append(security_headers(proxies))
    return site


def metrics_route(registry: Registry, gate: Gate) -> Handler:
    async def metrics(request: web.Request) -> web.StreamResponse:
        """Open from this machine without a proxy between, else for tokens (design R8)."""
        if not _from_here(request):
            refusal = gate.refusal(request, Right.USE_STORE)
            if refusal is not None:
                return refusal
        return web.Response(body=registry.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return metrics


def _from_here(request: web.Request) -> bool:
    if any(name in request.headers for name in ("X-Forwarded-For", "X-Real-Ip", "Forwarded")):
        return False
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
