"""Pictures of all pages: shoot.py BASE_URL OUT_DIR [name-part]. Prints console messages and refused content (policy) of each page."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGES = {
    "home": "/",
    "jobs": "/monitoring/jobs/",
    "alex": "/monitoring/jobs/?cluster=alex&state=running&duration=morethan-600",
    "job32": "/monitoring/job/1",
    "job1": "/monitoring/job/1004",
    "nodes": "/monitoring/systems/alex",
    "node": "/monitoring/node/alex/a0122",
    "broken": "/monitoring/job/1004?broken=1",
}
SIZES = [(360, "light"), (360, "dark"), (900, "light"), (1400, "light"), (1400, "dark"), (2560, "dark")]


def main() -> None:
    base, out, part = sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, path in PAGES.items():
            for width, scheme in SIZES:
                label = f"{name}-{scheme}-{width}"
                if part not in label:
                    continue
                page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
                page.on("console", lambda m, label=label: print(label, m.type, m.text))
                page.on("pageerror", lambda e, label=label: print(label, "ERROR", e))
                page.goto(base + path)
                page.wait_for_timeout(1500)
                wide = page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    print(label, "scrolls sideways:", wide)
                page.screenshot(path=str(out / f"{label}.png"), full_page="job" in name and name != "jobs")
                page.close()
        browser.close()


main()
