"""What pages tell an administrator to write is taken by the programs: blocks of JSON, log events, paths of the units."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cc_slurm_adapter import config as adapter
from ccdaemon.config.jsonc import parse
from ccdaemon.config.types import Problem
from ccschema.clusters import load_cluster

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^```json\n(.*?)^```", re.M | re.S)
UNITS = {"backend.md": "clustercockpit.service", "slurm-adapter.md": "cc-slurm-adapter.service"}


def blocks(page: str) -> list[str]:
    return BLOCK.findall((HOW_TO / page).read_text())


@pytest.mark.parametrize("page", sorted(p.name for p in HOW_TO.glob("*.md")))
def test_blocks_of_json_can_be_read(page: str) -> None:
    for block in blocks(page):
        whole = block if block.lstrip().startswith("{") else "{" + block + "}"  # some show sections only
        assert not isinstance(parse(whole, Path(page)), Problem), block


def test_the_adapters_examples_are_configurations(tmp_path: Path) -> None:
    found = blocks("slurm-adapter.md")
    assert len(found) >= 2
    for block in found:
        file = tmp_path / "config.json"
        file.write_text(block)
        file.chmod(0o640)
        assert adapter.read(file)[2] == [], block


def test_the_backends_cluster_is_one() -> None:
    (document,) = [block for block in blocks("backend.md") if '"metricConfig"' in block]
    cluster, warnings = load_cluster(document.encode(), json.loads(document)["name"])
    assert warnings == []
    assert [sub.name for sub in cluster.sub_clusters] == ["main"]


@pytest.mark.parametrize(("page", "unit"), UNITS.items())
def test_paths_are_those_of_the_unit(page: str, unit: str) -> None:
    shipped = (ROOT / "deploy" / "systemd" / unit).read_text()
    program = re.search(r"^ExecStart=(\S+)", shipped, re.M)
    assert program is not None
    folder, name = program[1].rsplit("/", 1)
    content = (HOW_TO / page).read_text()
    assert folder in content and re.search(rf"ln -s venv/bin/{name} \S*{name}$", content, re.M)
    assert unit in content


def test_the_adapters_log_events_are_documented() -> None:
    sources = "\n".join(p.read_text() for p in (ROOT / "services/cc-slurm-adapter/src").rglob("*.py"))
    said = set(re.findall(r"(?:_log\.(?:error|warning|throttled|notice)\(|Warn\()\s*(?:\d+, )?\"([a-z_]+\.[a-z_]+)\"", sources))
    page = (ROOT / "docs/reference/slurm-adapter.md").read_text()
    told = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", page.split("## Log")[1].split("\n## ")[0]))
    assert {"slurm.down", "backend.down", "hook.given_up"} <= said
    assert sorted(said - told) == []
    assert sorted(event for event in told if f'"{event}"' not in sources) == []
