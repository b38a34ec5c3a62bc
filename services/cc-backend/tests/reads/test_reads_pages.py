"""Pages over a real socket: the table of pages by role, the shell, its data block, static files."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from importlib.resources import files

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cc_backend.config import Config, Main, Ui, UiCluster, UiMetrics
from cc_backend.db.settings import set_setting
from cc_backend.pages import data
from cc_backend.pages.assets import load_assets
from cc_backend.pages.routes import PAGES, Rooms, error_pages, routes, show_login
from cc_backend.pages.settings import accelerated, merged, site_settings
from cc_backend.pages.shell import Message, Shell, script_json
from cc_backend.pages.texts import load_texts
from ccdaemon.errors import OperatorError

pytestmark = pytest.mark.slow  # as a whole: many small servers

NOW = 1_760_000_600
MANIFEST = {
    "src/main.ts": {
        "file": "assets/main-1.js",
        "isEntry": True,
        "css": ["assets/main-1.css"],
        "imports": ["_a.js"],
        "dynamicImports": ["src/Job.svelte"],
    },
    "_a.js": {"file": "assets/a-1.js", "imports": ["_b.js"]},
    "_b.js": {"file": "assets/b-1.js", "css": ["assets/b-1.css"]},
    "src/theme.ts": {"file": "assets/theme-1.js", "isEntry": True},
    "src/Job.svelte": {"file": "assets/Job-1.js", "isDynamicEntry": True},
}


@pytest.fixture
def built(tmp_path):
    root = tmp_path / "static"
    (root / "assets").mkdir(parents=True)
    (root / "img").mkdir()
    (root / "manifest.json").write_text(json.dumps(MANIFEST))
    (root / "assets" / "main-1.js").write_text("run()")
    (root / "assets" / "main-1.js.gz").write_bytes(gzip.compress(b"run()"))
    (root / "assets" / "main-1.css").write_text("a{}")
    (root / "img" / "logo.png").write_bytes(b"png")
    (tmp_path / "secret.txt").write_text("secret")
    return root


@pytest.fixture
async def site(tmp_path, built, database, catalogue, dispatcher, log, as_user):
    assets = load_assets(built)
    shell = Shell(assets, "0.1.0")
    app = web.Application(middlewares=[error_pages(shell, log, ("/query",)), as_user])
    config = Config(main=Main(emission_constant=300))
    app.router.add_routes(
        routes(Rooms(database, catalogue, dispatcher, config, shell, log, load_texts(tmp_path / "texts", print), clock=lambda: NOW), assets)
    )

    async def login(request):
        form = await request.post()
        return show_login(shell)(401, "warning", "Authentication failed", form.get("redirect", ""))

    async def broken(request):
        raise RuntimeError("SELECT password")

    app.router.add_post("/login", login)
    app.router.add_get("/broken", broken)
    client = TestClient(TestServer(app))
    await client.start_server()
    yield client
    await client.close()


async def get(site, path, user=None, **more):
    async with site.get(path, headers={"X-Test-User": user} if user else {}, allow_redirects=False, **more) as answer:
        return answer, await answer.text()


def block(text):
    return json.loads(re.search(r'<script type="application/json" id="page">(.*?)</script>', text, re.S)[1])


OK, NO, GONE = 200, 403, 404
MATRIX = {  # path: status for anna (user), mona (manager), sue (support), root (admin), bot (api), nobody
    "/": (OK, OK, OK, OK, NO, NO),
    "/monitoring/jobs/": (OK, OK, OK, OK, NO, NO),
    "/monitoring/job/1": (OK, OK, OK, OK, NO, NO),
    "/monitoring/job/2": (GONE, GONE, OK, OK, NO, NO),  # ben's, project p2
    "/monitoring/job/4": (GONE, OK, OK, OK, NO, NO),  # ben's, project p1
    "/monitoring/job/99": (GONE, GONE, GONE, GONE, NO, NO),
    "/monitoring/job/99999999999999999999": (GONE, GONE, GONE, GONE, GONE, GONE),
    "/monitoring/job/abc": (GONE, GONE, GONE, GONE, GONE, GONE),
    "/monitoring/user/anna": (OK, OK, OK, OK, NO, NO),
    "/monitoring/user/ben": (NO, OK, OK, OK, NO, NO),
    "/monitoring/systems/alpha": (NO, NO, OK, OK, NO, NO),
    "/monitoring/systems/zz": (NO, NO, GONE, GONE, NO, NO),
    "/monitoring/node/alpha/a02": (NO, NO, OK, OK, NO, NO),
    "/monitoring/node/alpha/zz": (NO, NO, GONE, GONE, NO, NO),
    "/monitoring/node/zz/a02": (NO, NO, GONE, GONE, NO, NO),
    "/nowhere": (GONE,) * 6,
}


@pytest.mark.parametrize("path", MATRIX)
async def test_roles_are_checked_on_the_server(site, path):
    for who, status in zip(("anna", "mona", "sue", "root", "bot", "nobody"), MATRIX[path], strict=True):
        answer, text = await get(site, path, who)
        assert answer.status == status, who
        assert answer.content_type == "text/html"
        assert ('id="page"' in text) == (status == 200)
    # unknown and invisible look alike
    if path == "/monitoring/job/2":
        assert text and (await get(site, path, "anna"))[1] == (await get(site, "/monitoring/job/99", "anna"))[1]


def test_the_matrix_covers_every_page():
    reached = {path for path, statuses in MATRIX.items() if 200 in statuses}
    assert {re.sub(r"\{[^{}]*(\{[^}]*\})?[^{}]*\}", "", spec.path) for spec in PAGES} <= {
        re.sub(r"(job|user|systems|node)/.*", lambda m: m[1] + ("//" if m[1] == "node" else "/"), path) for path in reached
    }


async def test_without_a_session_the_login_page_keeps_the_target(site):
    answer, text = await get(site, "/monitoring/jobs/?cluster=alpha&state=running")
    assert answer.status == 401
    assert "unauthorized (please login first)" in text
    assert 'name="redirect" value="/monitoring/jobs/?cluster=alpha&amp;state=running"' in text
    async with site.post("/login", data={"redirect": "/monitoring/jobs/?a=1"}) as answer:  # PITFALL: lost after one typo
        assert answer.status == 401
        assert 'value="/monitoring/jobs/?a=1"' in await answer.text()


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "", "x", "/a\nb", "/login", "/\t/evil"])
async def test_redirects_stay_here(site, target):
    assert data.safe_redirect(target) == "/"
    answer, _ = await get(site, "/login", "anna", params={"redirect": target})
    assert (answer.status, answer.headers["Location"]) == (302, "/")


async def test_headers_and_no_inline_script_or_style(site):
    for path, user in (("/monitoring/jobs/", "anna"), ("/login", None), ("/nowhere", "anna")):
        answer, text = await get(site, path, user)
        policy = answer.headers["Content-Security-Policy"]
        assert (
            "script-src 'self'" in policy and "style-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        )
        assert (answer.headers["X-Content-Type-Options"], answer.headers["X-Frame-Options"]) == ("nosniff", "DENY")
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        scripts = re.findall(r"<script(.*?)>(.*?)</script>", text, re.S)
        assert all("src=" in attributes or 'type="application/json"' in attributes for attributes, _ in scripts)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
        assert '<html lang="en">' in text


async def test_the_shell_links_what_was_built(site):
    _, text = await get(site, "/monitoring/jobs/", "anna")
    assert '<script src="/static/assets/theme-1.js"></script>' in text
    assert re.findall(r'rel="stylesheet" href="(.*?)"', text) == ["/static/assets/main-1.css", "/static/assets/b-1.css"]
    assert re.findall(r'rel="modulepreload" href="(.*?)"', text) == ["/static/assets/a-1.js", "/static/assets/b-1.js"]
    assert '<script type="module" src="/static/assets/main-1.js"></script>' in text
    _, door = await get(site, "/login")
    assert "module" not in door and "/static/assets/main-1.css" in door


async def test_the_block(site):
    _, text = await get(site, "/monitoring/node/alpha/a02?from=1760000000&to=2025-10-09T09:03:20Z&x=1", "sue")
    got = block(text)
    assert (got["page"], got["title"]) == ("node", "Node alpha (a02) - ClusterCockpit")
    assert got["params"] == {"cluster": "alpha", "hostname": "a02", "subCluster": "main"}
    assert got["presets"] == {"from": 1_760_000_000, "to": 1_760_000_600}
    assert got["user"] == {"username": "sue", "name": "Sue", "roles": ["support"], "projects": [], "level": 4, "anonymous": False}
    assert [(entry["label"], entry["href"]) for entry in got["menu"]] == [
        ("My Jobs", "/monitoring/user/sue"), ("Jobs", "/monitoring/jobs/"), ("Nodes", "/monitoring/systems/alpha"),
    ]  # fmt: skip
    (cluster,) = got["clusters"]
    gpu = cluster["subClusters"][1]
    assert gpu["topology"]["accelerators"] == [{"id": "00000000:49:00.0", "type": "Nvidia GPU", "model": "A100"}]
    assert gpu["metricConfig"][0] == {
        "name": "cpu_load", "unit": {"base": "W", "prefix": ""}, "scope": "node", "aggregation": "avg", "timestep": 10, "peak": 100, "normal": 50,
        "caution": 20, "alert": 10, "lowerIsBetter": False, "footprint": "avg", "energy": "",
    }  # fmt: skip
    assert gpu["flopRateSimd"] == {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    assert (got["emissionConstant"], got["resampling"], got["now"], got["version"]) == (300, None, 1_760_000_600, "0.1.0")
    documented = set(re.findall(r"^\| `(\w+)` \|", (files("cc_backend.pages") / "README.md").read_text(), re.M))
    assert set(got) == documented


async def test_presets_and_params(site):
    _, text = await get(site, "/monitoring/jobs/?cluster=a&cluster=b&x=%3Cscript%3E", "anna")
    assert block(text)["presets"] == {"cluster": ["a", "b"], "x": ["<script>"]}
    assert '<script>"' not in text
    got = block((await get(site, "/monitoring/job/1?x=1", "anna"))[1])
    assert (got["params"], got["presets"], got["title"]) == ({"id": 1}, {}, "Job 1 - ClusterCockpit")
    got = block((await get(site, "/monitoring/systems/alpha?from=x&to=5", "sue"))[1])
    assert got["presets"] == {"to": 5}


async def test_restricted_metrics_are_not_in_the_block_of_a_user(site):
    assert "secret" not in (await get(site, "/monitoring/jobs/", "anna"))[1]
    assert "secret" in (await get(site, "/monitoring/jobs/", "sue"))[1]


async def test_settings_of_the_user(site, database):
    await database.write(lambda conn: set_setting(conn, "anna", "jobList_usePaging", "true"))
    settings = block((await get(site, "/monitoring/jobs/", "anna"))[1])["settings"]
    assert settings["jobList_usePaging"] is True
    assert block((await get(site, "/monitoring/jobs/", "mona"))[1])["settings"]["jobList_usePaging"] is False


async def test_slashes_are_put_right(site):
    for path, there in (
        ("/monitoring/jobs?x=1", "/monitoring/jobs/?x=1"),
        ("/monitoring/job/1/", "/monitoring/job/1"),
        ("/monitoring/systems/alpha/", "/monitoring/systems/alpha"),
    ):
        answer, _ = await get(site, path, "sue")
        assert (answer.status, answer.headers["Location"]) == (308, there)


async def test_a_fault_shows_nothing_of_the_inside(site):
    answer, text = await get(site, "/broken", "root")
    assert answer.status == 500 and "SELECT" not in text


async def test_static_files(site):
    answer, text = await get(site, "/static/assets/main-1.js")
    assert (answer.status, text) == (200, "run()")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip" and answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    async with site.get("/static/assets/main-1.js", headers={"If-None-Match": answer.headers["ETag"]}) as again:
        assert again.status == 304
    answer, _ = await get(site, "/img/logo.png")
    assert answer.status == 200 and "immutable" not in answer.headers["Cache-Control"]
    for path in (
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/nothing.js",
        "/favicon.png",
        "/static/",
    ):
        answer, text = await get(site, path)
        assert answer.status == 404 and "secret" not in text, path


def test_a_missing_build_says_what_to_do(tmp_path):
    with pytest.raises(OperatorError, match="make install"):
        load_assets(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(OperatorError, match="src/main.ts"):
        load_assets(tmp_path)


def test_a_sites_own_pictures_replace_the_built_ones(built, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "logo.png").write_bytes(b"ours")
    (own / "out").symlink_to(tmp_path / "secret.txt")
    assert {name: file.body for name, file in load_assets(built, own).images.items()} == {"logo.png": b"ours"}


def test_json_in_a_script_cannot_leave_it():
    text = script_json({"x": "</script><!-- & \u2028"})
    assert not set("<>&") & set(text) and json.loads(text)["x"] == "</script><!-- & \u2028"


def test_a_message_is_escaped(built):
    shell = Shell(load_assets(built), "1")
    assert "<b>" not in shell.message(Message("info", "<b>", "<b>", 404)).text


# ---- settings


def test_flat_keys_and_defaults(catalogue):
    flat = site_settings(Ui(), catalogue.all(), 300)
    assert {key for key in flat if ":" not in key} == {
        "jobList_usePaging", "jobList_showFootprint", "nodeList_usePaging", "jobView_showPolarPlot", "jobView_showFootprint", "jobView_showRoofline",
        "jobView_showStatTable", "metricConfig_jobListMetrics", "metricConfig_jobViewPlotMetrics", "metricConfig_jobViewTableMetrics",
        "plotConfiguration_colorBackground", "plotConfiguration_plotsPerRow", "plotConfiguration_lineWidth", "jobList_hideShortRunningJobs",
    }  # fmt: skip
    assert flat["metricConfig_jobViewTableMetrics"] == ["flops_any", "mem_bw", "mem_used"]
    assert flat["metricConfig_jobListMetrics:alpha:gpu"] == ["cpu_load", "acc_power", "flops_any"]
    assert accelerated(catalogue.subcluster("alpha", "main")) == []


def test_lists_of_clusters_are_given_only_where_the_site_gave_them(catalogue):
    ui = Ui(metric_config=UiMetrics(clusters=[UiCluster(name="alpha", job_list_metrics=["x"])]))
    flat = site_settings(ui, catalogue.all(), 300)
    assert {key: value for key, value in flat.items() if ":" in key} == {"metricConfig_jobListMetrics:alpha": ["x"]}


def test_what_the_user_stored_wins_but_for_the_short_job_limit(catalogue):
    site = site_settings(Ui(), catalogue.all(), 300)
    got = merged(site, {"metricConfig_jobListMetrics": ["mine"], "jobList_hideShortRunningJobs": 1, "other": 2})
    assert got["metricConfig_jobListMetrics"] == ["mine"] and "metricConfig_jobListMetrics:alpha:gpu" not in got
    assert (got["jobList_hideShortRunningJobs"], got["other"]) == (300, 2)
    assert merged(site, {"metricConfig_jobListMetrics:alpha:gpu": []})["metricConfig_jobListMetrics:alpha:gpu"] == []


async def test_search_and_the_pages_of_the_site(site):
    for path in ("/imprint", "/privacy"):
        answer, text = await get(site, path)
        assert (answer.status, answer.content_type) == (200, "text/html") and "script-src 'self'" in answer.headers[
            "Content-Security-Policy"
        ]
        assert "has not written" in text
    assert (await get(site, "/search?searchId=1"))[0].status == 401
    assert (await get(site, "/search?searchId=1", "bot"))[0].status == 403
    assert (await get(site, "/search?searchId=", "anna"))[0].status == 200
    for who, text, location in (
        ("anna", "4711", "/monitoring/jobs/?jobId=4711"),
        ("anna", "ben", f"/monitoring/jobs/?startTime={NOW - 30 * 86400}-{NOW}&jobName=ben"),
        ("mona", "ben", "/monitoring/user/ben"),  # of project p1
        ("sue", "name:BEN", "/monitoring/user/ben"),
        ("mona", "p2", f"/monitoring/jobs/?startTime={NOW - 30 * 86400}-{NOW}&jobName=p2"),  # none of hers
        ("sue", "p2", "/monitoring/jobs/?projectMatch=eq&project=p2"),
    ):
        answer, _ = await get(site, f"/search?searchId={text}", who)
        assert (answer.status, answer.headers["Location"]) == (302, location)


async def test_pages_leave_the_default_executor_alone(site):
    """One hanging call in it would stop every page."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(site.make_url("/"), headers={"X-Test-User": "root"}) as answer,
    ):
        body = await answer.read()
    assert answer.headers["Content-Encoding"] in ("gzip", "deflate") and len(body) > 100
    assert asyncio.get_running_loop()._default_executor is None
