"""Documentation is held to the code: reference pages, registry."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cc_metric_collector.base import Collector, Receiver, Sink
from cc_metric_collector.config import MainConfig
from cc_metric_collector.reference import pages
from cc_metric_collector.registry import TABLES, plugin
from ccdaemon.config.types import Problem

DOCS = Path(__file__).parents[3] / "docs"
KINDS = {"collectors": Collector, "sinks": Sink, "receivers": Receiver}


def test_pages_are_those_of_the_code():
    """To renew them: python -m cc_metric_collector.reference docs/reference/collector"""
    directory = DOCS / "reference" / "collector"
    made = dict(pages())
    assert {p.name for p in directory.glob("*.md")} == set(made)
    for file, text in made.items():
        assert (directory / file).read_text() == text, file


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table])
def test_every_registered_name_can_be_imported_and_has_described_keys(kind, name):
    cls = plugin(kind, name)
    assert issubclass(cls, KINDS[kind])
    page = dict(pages())[f"{kind[:-1]}-{name}.md"]
    assert not re.search(r"^\| `\w+` \| [^|]+ \| [^|]+ \|  \|$", page, re.M), "a key without a sentence"


def test_how_to_names_all_keys_of_main():
    text = (DOCS / "how-to" / "collector.md").read_text()
    assert all(f"`{field}`" in text for field in MainConfig.__struct_fields__)


def test_json_of_the_how_to_is_json():
    from ccdaemon.config.jsonc import parse

    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "how-to" / "collector.md").read_text(), re.S)
    assert len(blocks) >= 4
    for block in blocks:
        assert not isinstance(parse(block, Path("how-to.md")), Problem)
    assert json.loads(blocks[0])["main"]["interval"] == "10s"
