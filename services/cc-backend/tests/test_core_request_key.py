"""Who sent a request is under a typed key: text keys on requests are a warning of aiohttp at each start, and no type."""

from __future__ import annotations

import re
from pathlib import Path

import cc_backend


def test_requests_have_no_text_keys():
    text_key = re.compile(r"request(\[|\.get\()[\"']")
    files = list(Path(cc_backend.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    assert [path.name for path in files if text_key.search(path.read_text())] == []
