"""Every configuration snippet of the users' tutorial loads in each daemon it belongs to (design T2).

The snippets are taken from the tutorial's text itself, which lies beside the checkout; without it these tests are skipped by name.
A snippet that shows only a part is completed with what its daemon requires, and nothing else.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ccdaemon.config.jsonc import Node, parse

pytestmark = pytest.mark.slow  # as a whole: many small servers or subprocesses

TUTORIAL = Path(__file__).parents[3] / "shared" / "tutorial.txt"
SCRIPTS = Path(sys.executable).parent
KEY = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="
STORE = {"retention-in-memory": "48h", "memory-cap": 100}
REQUIRED = {
    "store": {"main": {"addr": "127.0.0.1:0", "jwt-public-key": KEY}, "metric-store": STORE},
    "backend": {"metric-store": STORE},
    "adapter": {"ccRestUrl": "http://127.0.0.1", "ccRestJwt": "x"},
}
CHAPTERS = {"1": ("store", "backend"), "5": ("store", "backend"), "6": ("collector",), "7": ("backend",), "8": ("adapter",)}


def blocks(text: str) -> list[tuple[int, str, str]]:
    """(line, chapter, source) of each JSON object, with the key before it where there is one (`"process_messages" : {`)."""
    found, chapter, lines = [], "", text.splitlines()
    i = 0
    while i < len(lines):
        if heading := re.search(r"(?:^|[a-z])(\d) - [A-Z]", lines[i]):
            chapter = heading[1]
        if re.match(r'\s*(\{|.*?"process_messages"\s*:\s*\{)\s*$', lines[i]):
            depth, j = 0, i
            while True:
                depth += lines[j].count("{") - lines[j].count("}")
                if depth == 0:
                    break
                j += 1
            first = lines[i][lines[i].index('"process_messages"') :] if "process_messages" in lines[i] else lines[i]
            found.append((i + 1, chapter, "\n".join([first, *lines[i + 1 : j + 1]])))
            i = j
        i += 1
    return found


def cases() -> list[object]:
    if not TUTORIAL.exists():
        return [pytest.param("", "", marks=pytest.mark.skip(reason="the tutorial's text is not beside this checkout"))]
    return [
        pytest.param(daemon, source, id=f"line{line}-{daemon}")
        for line, chapter, source in blocks(TUTORIAL.read_text())
        for daemon in CHAPTERS[chapter]
        if belongs(daemon, source)
    ]


def belongs(daemon: str, source: str) -> bool:
    if daemon == "store":
        return '"ui-file"' not in source
    if daemon == "backend":
        return '"jwt-public-key"' not in source and '"metrics"' not in source
    return True


def test_the_tutorial_has_the_snippets_we_know() -> None:
    if not TUTORIAL.exists():
        pytest.skip("the tutorial's text is not beside this checkout")
    assert len(blocks(TUTORIAL.read_text())) >= 20


def files(daemon: str, source: str, folder: Path) -> Path:
    """Write the snippet as configuration of `daemon`; returns the main file."""
    main = folder / "config.json"
    if daemon == "collector":
        parts = {"collectors": '{"loadavg": {}}', "receivers": "{}", "router": "{}", "sinks": '{"out": {"type": "stdout"}}'}
        parts["router" if "process_messages" in source else "sinks"] = (
            "{" + source + "}" if source.startswith('"process_messages"') else source
        )
        for name, text in parts.items():
            (folder / f"{name}.json").write_text(text)
        main.write_text(json.dumps({"main": {"interval": "10s"}, **{f"{n}-file": str(folder / f"{n}.json") for n in parts}}))
    else:
        snippet = parse(source.replace('"jwt-public-key": "..."', f'"jwt-public-key": "{KEY}"'), main)
        assert isinstance(snippet, Node), snippet
        given = snippet.plain()
        assert isinstance(given, dict)
        whole = completed(given, REQUIRED[daemon])
        main.write_text(source if whole == given and "..." not in source else json.dumps(whole, indent=2))
    return main


def completed(given: dict, required: dict) -> dict:
    """The snippet with what is required and absent; what it says stays as it is."""
    return {**given, **{k: completed(given.get(k, {}), v) if isinstance(v, dict) else given.get(k, v) for k, v in required.items()}}


PROGRAMS = {"store": "cc-metric-store", "backend": "cc-backend", "collector": "cc-metric-collector", "adapter": "cc-slurm-adapter"}


@pytest.mark.parametrize(("daemon", "source"), cases())
def test_snippet_loads(daemon: str, source: str, tmp_path: Path) -> None:
    config = files(daemon, source, tmp_path)
    done = subprocess.run(
        [SCRIPTS / PROGRAMS[daemon], "-check-config", "-config", config], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{config.read_text()}"
    assert "unknown key" not in done.stdout + done.stderr, "the tutorial's keys are all known"
