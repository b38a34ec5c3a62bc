"""What a newcomer does: `make demo`, log in, look at the running job's plots, wait for its end, look at its page again from the archive; Ctrl-C."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cctest.newcomer import CLUSTER, Demo, host_name, seconds_now
from cctest.processes import http, port_open, running, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]
PICTURES = Path(__file__).parents[2] / ".build" / "pictures"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("newcomer"), workload="burn:1")
    with running(demo.process):
        yield demo.start()
        if demo.process.running():
            demo.stop()


@pytest.fixture(scope="module")
def browser(demo: Demo) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def drawn(page: Any) -> int:
    """How many plots have something on their canvas besides one colour."""
    return int(
        page.evaluate(
            """() => [...document.querySelectorAll('canvas')].filter(c => {
                if (!c.width || !c.height) return false;
                const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                const seen = new Set();
                for (let i = 0; i < d.length; i += 4) if (d[i + 3]) { seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); if (seen.size > 3) return true; }
                return false;
            }).length"""
        )
    )


def login(page: Any, demo: Demo, user: str) -> None:
    page.goto(f"{demo.url}/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", user)
    page.click("button[type=submit]")
    page.wait_for_load_state("networkidle")


def look(browser: Any, demo: Demo, path: str, name: str, *, plots: int) -> str:
    """Open a page as administrator, wait for its plots, keep a picture; the page's text. Errors of the page's scripts fail the test."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    complaints: list[str] = []
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    login(page, demo, "demo")
    page.goto(demo.url + path)
    try:
        wait_until(lambda: drawn(page) >= plots, f"{plots} plots on {path}", 20, every=0.3)
    finally:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    text = str(page.inner_text("body"))
    page.close()
    assert complaints == []
    return text


def test_measured_here_and_kept(demo: Demo) -> None:
    """Journey one: REST and NATS carry the same samples of this machine into the store."""
    began = seconds_now()
    wait_until(
        lambda: len([v for v in demo.series("cpu_load", host_name(), began - 60, seconds_now() + 60) if v is not None]) >= 3,
        "samples of cpu_load",
        60,
        1,
    )
    assert any(v for v in demo.series("mem_used", host_name(), began - 60, seconds_now() + 60))


@pytest.mark.browser
def test_running_job_its_archive_and_the_node(demo: Demo, browser: Any) -> None:
    """Journeys two and three, in the order of a job's life."""
    job = demo.wait_for_job("running")
    wait_until(lambda: seconds_now() - job["startTime"] > 25, "some samples of the job", 60, 1)
    text = look(browser, demo, "/monitoring/jobs/", "jobs", plots=2)
    assert str(job["jobId"]) in text
    text = look(browser, demo, f"/monitoring/job/{job['id']}", "job-running", plots=4)
    assert "burn" in text
    look(browser, demo, f"/monitoring/node/{CLUSTER}/{host_name()}", "node", plots=4)
    done = demo.wait_for_job("completed", 150)
    assert done["jobId"] == job["jobId"]
    archive = demo.root / "cc-backend" / "var" / "job-archive" / CLUSTER
    wait_until(lambda: list(archive.rglob("data.json*")), "the job's archive", 60, 0.5)
    text = look(browser, demo, f"/monitoring/job/{job['id']}", "job-archived", plots=4)
    assert "burn" in text


@pytest.mark.browser
def test_roles_see_what_they_may(demo: Demo, browser: Any) -> None:
    job = demo.jobs()[0]
    page = browser.new_page()
    login(page, demo, "alice")
    answer = page.goto(f"{demo.url}/monitoring/job/{job['id']}")
    assert answer.status == 200  # the job is hers
    assert page.goto(f"{demo.url}/monitoring/systems/{CLUSTER}").status == 403 or "systems" not in page.url
    page.close()
    page = browser.new_page()
    login(page, demo, "leader")
    assert page.goto(f"{demo.url}/monitoring/job/{job['id']}").status == 200  # a job of the project he manages
    page.close()


def test_nothing_without_login(demo: Demo) -> None:
    for path in ("/monitoring/jobs/", "/query", "/api/jobs/", "/api/query", "/api/write"):
        assert http(demo.url + path)[0] in (302, 303, 401, 403, 405), path


def test_second_demo_on_the_same_port_is_told_so(demo: Demo, tmp_path: Path) -> None:
    other = Demo(tmp_path)
    other.process.env["DEMO_PORT"] = str(demo.port)
    with pytest.raises(AssertionError, match=f"Port {demo.port} is taken"):
        other.start()
    assert "Traceback" not in other.process.said()


def test_ctrl_c_stops_everything(demo: Demo) -> None:
    """Last in this file: ends the demo."""
    pids = [demo.pid(d) for d in ("nats-server", "cc-backend", "cc-metric-collector", "cc-slurm-adapter")]
    assert demo.stop() == 0
    assert not port_open(demo.port)
    assert not any(Path(f"/proc/{p}").exists() for p in pids)
    logs = "".join(p.read_text(errors="replace") for p in (demo.root / "logs").iterdir())
    assert "Traceback" not in logs
