"""Real daemons as child processes: start, wait until they answer, kill, read what they said."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

SCRIPTS = Path(sys.executable).parent


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_until(true: Callable[[], object], what: str, seconds: float = 20.0, every: float = 0.05) -> None:
    """Poll until `true()` holds; AssertionError names what was waited for."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)


def port_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def http(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str | None = None, timeout: float = 10.0
) -> tuple[int, bytes]:
    """One request without redirects or proxies; (0, reason) when nobody answers."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()
    except OSError as e:
        return 0, str(e).encode()


class Process:
    """One child in its own process group; its output goes to `log`, appended over restarts."""

    def __init__(self, name: str, command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = [str(c) for c in command]
        self.cwd = cwd
        self.log = cwd / f"{name}.log"
        self.env = {**os.environ, **(env or {})}
        self.child: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], object] | None = None, seconds: float = 30.0) -> Process:
        """Start; with `ready`, wait for it. A child that ends meanwhile fails at once with what it said."""
        self.cwd.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if ready is not None:
            wait_until(lambda: self._alive() and ready(), f"{self.name} ready", seconds)
        return self

    def _alive(self) -> bool:
        if self.child is not None and self.child.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.child.returncode}:\n{self.said()[-4000:]}")
        return True

    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM and wait; SIGKILL past the deadline is an AssertionError. Returns the exit code."""
        if self.child is None:
            return 0
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not stop within {seconds} s:\n{self.said()[-4000:]}") from None
        return int(self.child.returncode)

    def kill(self) -> None:
        """kill -9 of the whole group."""
        if self.child is not None and self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Kill whatever is left of them at the end."""
    try:
        yield
    finally:
        for p in processes:
            p.kill()


def nats_server(cwd: Path, *, jetstream: bool = False, port: int | None = None) -> tuple[Process, int]:
    """A real NATS server (from PyPI), not yet started, and its port."""
    port = port or free_port()
    command: list[str | Path] = [SCRIPTS / "nats-server", "-a", "127.0.0.1", "-p", str(port)]
    if jetstream:
        command += ["-js", "-sd", cwd / "jetstream"]
    return Process("nats-server", command, cwd), port
