"""Shared fixtures: a recorded node in a temporary directory, a context with a clock that the test moves."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cc_metric_collector.base import Context
from cc_metric_collector.commands import run_command
from cc_metric_collector.topology import read_topology
from ccdaemon.log import make_log

TREES = Path(__file__).parent / "trees"


class Clock:
    """Seconds; moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A copy of the recorded node that the test may change."""
    return Path(shutil.copytree(TREES / "node", tmp_path / "node"))


@pytest.fixture
def log_text() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def make_context(clock: Clock, log_text: io.StringIO) -> Callable[..., Context]:
    def make(root: Path = Path("/"), interval: float = 10.0) -> Context:
        return Context(
            hostname="n1",
            interval=interval,
            root=root,
            topology=read_topology(root),
            run=run_command,
            log=make_log("test", level="debug", stream=log_text),
            monotonic=clock,
        )

    return make
