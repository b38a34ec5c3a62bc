"""Every relative link of every page leads somewhere: the file is there, and so is the heading. No page names a registry or a path of one machine."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
REGISTRIES = re.compile(
    r"pypi\.(?:org|python)|files\.pythonhosted|registry\.npmjs|registry\.yarnpkg|docker\.io|ghcr\.io|quay\.io|gcr\.io|artifactory|proxy\.golang|crates\.io",
    re.I,
)
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|root|home|Users|tmp|mnt)(?:/[\w.-]+)+")


def pages() -> list[Path]:
    """Tracked pages and those about to be; not what tools put beside them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    found = [ROOT / name for name in listed if name and (ROOT / name).exists()]
    return found or [p for p in ROOT.rglob("*.md") if not {"node_modules", ".venv", ".demo"} & set(p.relative_to(ROOT).parts)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def prose(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))


@cache
def anchors(page: Path) -> frozenset[str]:
    """As the usual forges make them: lower case, blanks to hyphens, other signs away, the second of a kind with -1."""
    seen: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", FENCE.sub("", page.read_text()), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return frozenset(found)


def broken(page: Path, text: str) -> list[str]:
    wrong = []
    for target in (a or b for a, b in LINK.findall(text)):
        if ELSEWHERE.match(target):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.is_relative_to(ROOT):
            wrong.append(f"{target}: leads out of the repository")
        elif not there.exists():
            wrong.append(f"{target}: no such file")
        elif heading and there.suffix == ".md" and heading not in anchors(there):
            wrong.append(f"{target}: no such heading")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    # Code in link texts is usual, so spans of code count here; fenced blocks do not.
    assert broken(page, FENCE.sub("", page.read_text())) == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_no_registry_and_no_path_of_one_machine(page: Path) -> None:
    text = page.read_text()
    assert REGISTRIES.findall(text) == []
    assert MACHINE_PATHS.findall(text) == []


def test_pages_named_in_code_spans_exist() -> None:
    """`docs/reference/x.md` in running text is a link in all but form."""
    wrong = []
    for page in pages():
        for path in re.findall(r"`(docs/[\w./-]+\.md)`", page.read_text()):
            if not (ROOT / path).exists():
                wrong.append(f"{name(page)}: {path}")
    assert wrong == []


def test_every_page_below_docs_is_reached_from_the_readme() -> None:
    reached, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in (a or b for a, b in LINK.findall(page.read_text())):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.is_dir():
                queue += there.glob("*.md")
            elif there.suffix == ".md" and there.exists():
                queue.append(there)
    assert [name(p) for p in pages() if p.is_relative_to(ROOT / "docs") and p not in reached] == []


def test_the_check_notices_what_is_wrong(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert broken(page, "[a](docs/nothing.md)") == ["docs/nothing.md: no such file"]
    assert broken(page, "[a](docs/contributing.md#nothing)") == ["docs/contributing.md#nothing: no such heading"]
    assert broken(page, "![a](docs/nothing.png)") == ["docs/nothing.png: no such file"]
    assert broken(page, "[`a`](docs/contributing.md#add-a-page) [b](https://example.org/x)") == []
