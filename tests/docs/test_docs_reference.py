"""What a program has, its reference page names: flags, routes, metrics. Taken from the programs themselves, never from a list."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import hdrs, web
from ccdaemon.app import Application
from ccdaemon.ledger import Registry
from ccdaemon.log import make_log

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = {
    "cc-backend": "backend.md",
    "cc-metric-store": "metric-store.md",
    "cc-metric-collector": "collector.md",
    "cc-slurm-adapter": "slurm-adapter.md",
}
ROUTE_PAGES = ("backend.md", "metric-store.md", "graphql.md", "web.md")
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


@cache
def text(page: str) -> str:
    return (REFERENCE / page).read_text()


# ---- flags


@pytest.mark.parametrize("program", PAGES)
def test_every_flag_is_in_the_reference_page(program: str) -> None:
    module = program.replace("-", "_")
    said = subprocess.run([sys.executable, "-m", module, "-help"], capture_output=True, text=True)
    flags = re.findall(r"^  (-[a-z-]+)", said.stderr, re.M)
    assert {"-config", "-version", "-check-config"} <= set(flags)
    named = set(re.findall(r"`(-[a-z-]+)", text(PAGES[program])))
    assert [flag for flag in flags if flag not in named] == []


# ---- routes


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[web.Application, Registry]:
    """cc-backend as it is wired, never started."""
    from cc_backend import app as wiring
    from cc_backend.auth.keys import keys_of
    from cc_backend.commands import init
    from cc_backend.config import read_config

    monkeypatch.chdir(tmp_path)
    init.run()
    config, _ = read_config(Path("config.json"))
    sites: list[web.Application] = []

    class Captured(wiring.Listener):
        def __init__(self, sock: socket.socket, site: web.Application, **more: Any) -> None:
            sites.append(site)
            super().__init__(sock, site, **more)

    monkeypatch.setattr(wiring, "Listener", Captured)
    log = make_log("test", level="err")
    application = Application("cc-backend", log=log)
    core = wiring.open_core(config, log)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        wiring.add_parts(application, config, core, sock, None, keys_of({}), log)
    core.database.close()
    return sites[0], application.registry


def plain(path: str) -> str:
    """One form for the ways of writing a route: names of parameters, patterns and a slash at the end do not count."""
    return re.sub(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|<[^<>]+>", "{}", path).rstrip("/") or "/"


def routes(app: web.Application) -> set[tuple[str, str]]:
    found = set()
    for resource in app.router.resources():
        info = resource.get_info()
        path = info.get("path") or info["formatter"]
        if path.endswith("{rest}"):
            continue  # what stands behind a route of the store is the same route
        for route in resource:
            methods = {"POST"} if route.method == hdrs.METH_ANY else {route.method} & METHODS
            found |= {(method, plain(path)) for method in methods}
    return found


def documented() -> set[tuple[str, str]]:
    """(method, path) of every line that names both; a line without a method speaks of GET."""
    found = set()
    for page in ROUTE_PAGES:
        for line in text(page).splitlines():
            methods = METHODS & set(re.findall(r"\b[A-Z]+\b", line)) or {"GET"}
            paths = {plain(re.split(r"[?\[]", p)[0]) for p in re.findall(r"(?<![\w.<])(/[\w./{}<>-]*)", line)}
            found |= {(method, path) for method in methods for path in paths}
    return found


def test_every_route_of_the_backend_is_documented(backend: tuple[web.Application, Registry]) -> None:
    there = routes(backend[0])
    assert {("POST", "/api/jobs/start_job"), ("GET", "/monitoring/job/{}"), ("POST", "/query"), ("POST", "/login")} <= there
    assert sorted(there - documented()) == []


def test_every_route_of_the_store_is_documented() -> None:
    from cc_metric_store.app import web_app

    there = routes(web_app(None, Registry("test"), None))  # type: ignore[arg-type]
    assert ("POST", "/api/write") in there
    assert sorted(there - documented()) == []


# ---- metrics


def names_of(registry: Registry) -> set[str]:
    exposed = registry.exposition().decode()
    return {name.removeprefix(f"{registry.prefix}_") for name in re.findall(r"^# TYPE (\S+)", exposed, re.M)}


def test_every_metric_of_the_backend_is_documented(backend: tuple[web.Application, Registry]) -> None:
    names = names_of(backend[1])
    assert {"taken_total", "wal_bytes", "loop_lateness_seconds"} <= names
    assert sorted(name for name in names if f"`{name}`" not in text("daemon.md")) == []


def test_every_metric_and_stage_in_the_sources_is_documented() -> None:
    """The other daemons' too: names given where they are registered."""
    sources = "\n".join(p.read_text() for base in ("libs", "services") for p in sorted((ROOT / base).glob("*/src/**/*.py")))
    metrics = set(re.findall(r"\b(?:gauge|counter|histogram)\(\s*\"(\w+)\"", sources)) | set(
        re.findall(r"\(\"(collector_\w+)\", \"", sources)
    )
    stages = {stage.strip() for stage in re.findall(r"\.ledger\(f?\"([a-z_ ]+)", sources)}
    pages = text("daemon.md") + text("slurm-adapter.md")
    assert {"outbox_waiting", "collector_up"} <= metrics and {"router", "ingest", "hook"} <= stages
    assert sorted(name for name in metrics | stages if not re.search(rf"`{name}(?: NAME)?`", pages)) == []
