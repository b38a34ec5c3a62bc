"""The generated reference pages are those of the program as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from cctest.reference import HEAD, pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "configuration"


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_fresh(name: str) -> None:
    assert (FOLDER / name).read_text() == HEAD.format(name.removesuffix(".md")) + pages()[name], "stale: run make docs"


def test_every_key_says_what_it_means() -> None:
    bare = [
        f"{name}: {line}"
        for name, text in pages().items()
        for line in text.splitlines()
        if line.startswith("| `") and line.endswith("|  |")
    ]
    assert bare == []
