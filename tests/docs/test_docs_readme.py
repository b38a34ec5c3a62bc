"""The README is short, and what it tells a newcomer to type exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """`make …` in blocks of code and in code spans."""
    content = page.read_text()
    blocks = "\n".join(FENCE.findall(content)) + "\n" + "\n".join(re.findall(r"^ {4}(\S.*)$", content, re.M))
    lines = [line.split("#")[0].strip() for line in blocks.splitlines()] + re.findall(r"`(make [^`]+)`", content)
    return sorted({line for line in lines if re.match(r"make [a-z]", line)})


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 60


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_named_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    for command in commands(page):
        wanted = [word for word in command.split()[1:] if "=" not in word and word != "…" and not word.startswith("-")]
        assert wanted and set(wanted) <= targets, f"{command}: known targets are {sorted(targets)}"


def test_readme_commands_are_planned_by_make() -> None:
    found = commands(ROOT / "README.md")
    assert {"make demo", "make test"} <= set(found)
    for command in found:
        program, *words = command.split()
        done = subprocess.run([program, "-n", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_every_main_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "lint", "docs", "install"):
        assert re.search(rf"^{target}:.*## \S", makefile, re.M)
