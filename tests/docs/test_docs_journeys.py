"""journeys.md is true: each file is there, and each function named in a link stands in that file."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture" / "journeys.md"
OVERVIEW = ROOT / "docs" / "architecture" / "overview.md"
NAMED = re.compile(r"\[`([\w.]+(?<!\.py))`\]\(([^)#]+\.(?:py|ts|svelte))\)")
TS_DEFINITION = r"(?:function|const|let|class|interface|type)\s+{}\b"


def named(page: Path) -> list[tuple[str, Path]]:
    return [(what, (page.parent / path).resolve()) for what, path in NAMED.findall(page.read_text())]


@cache
def definitions(file: Path) -> frozenset[str]:
    """Functions, classes, methods as `Class.method`, functions inside functions, and constants of a Python file."""
    found: set[str] = set()

    def walk(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(f"{prefix}{node.name}")
                walk(node.body, f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else "")
            elif isinstance(node, ast.Assign | ast.AnnAssign) and not prefix:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(t.id for t in targets if isinstance(t, ast.Name))

    walk(ast.parse(file.read_text()).body, "")
    return frozenset(found)


def defines(file: Path, what: str) -> bool:
    if file.suffix == ".py":
        return what in definitions(file)
    return re.search(TS_DEFINITION.format(re.escape(what)), file.read_text()) is not None


@pytest.mark.parametrize("page", [PAGE, OVERVIEW], ids=lambda p: p.name)
def test_every_function_stands_in_its_file(page: Path) -> None:
    missing = [f"{what} in {file.relative_to(ROOT)}" for what, file in named(page) if not file.exists() or not defines(file, what)]
    assert missing == []


def test_all_three_journeys_are_told_in_steps() -> None:
    journeys = {part.split("\n")[0]: part for part in re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]}
    assert list(journeys) == ["A sample", "A job", "A page"]
    for title, part in journeys.items():
        steps = [int(n) for n in re.findall(r"^\*\*(\d+)\. ", part, re.M)]
        assert steps == list(range(1, len(steps) + 1)) and len(steps) > 10, f"{title}: {steps}"


def test_every_step_names_a_function() -> None:
    paragraphs = [p for p in PAGE.read_text().split("\n\n") if p.startswith("**")]
    assert [p[:60] for p in paragraphs if not NAMED.search(p)] == []


def test_ledger_stages_are_those_of_the_code() -> None:
    sources = "\n".join(p.read_text() for base in ("libs", "services") for p in (ROOT / base).glob("*/src/**/*.py"))
    stages = set(re.findall(r"\.ledger\(f?\"([a-z_]+)", sources))
    told = set(re.findall(r"\*Counted\*: `([a-z_]+)", PAGE.read_text()))
    assert {"collectors", "router", "sink", "ingest", "hook", "deliveries", "job_events", "archiver"} <= stages & told
    assert told - stages <= {"wal_records"}, "a stage that no code has"


def test_the_check_notices_a_wrong_name() -> None:
    file = ROOT / "libs/ccstore/src/ccstore/engine.py"
    assert defines(file, "Engine.ingest")
    assert not defines(file, "Engine.swallow")
    assert not defines(file, "ingest")
