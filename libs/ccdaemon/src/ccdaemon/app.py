"""Start and stop order of a daemon as code.

    app = Application("cc-metric-store", log=log)
    sockets = app.bind([Address(...)])      # configuration, secrets, TLS keys first; then sockets; then privileges are dropped
    app.drop(user, group)
    app.add(part, Phase.LINK)
    return app.run()

Parts start LINK → KEEP → WORK → INTAKE and stop in the opposite order, each with a share of the deadline; `stop` also runs
for the parts that started when a later one fails. SIGINT/SIGTERM stop, a second one stops now. READY/STOPPING/WATCHDOG go
to systemd. Loop lateness is measured from the first turn (`app.lateness`).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from .ledger import Registry
from .log import Log


class Phase(IntEnum):
    LINK = 0  # clients of peers: NATS, databases
    KEEP = 1  # what holds state: engine, WAL, outbox
    WORK = 2  # periodic work
    INTAKE = 3  # listeners, subscriptions


class Part(Protocol):
    """Something with a life. `stop` must return within `deadline` seconds; it may be called after a failed start."""

    name: str

    async def start(self) -> None: ...
    async def stop(self, deadline: float) -> None: ...


class Address(msgspec.Struct, frozen=True):
    """`host:port` to listen on; `of` names the configuration key for messages."""

    host: str
    port: int
    of: str = "main.addr"


def parse_address(text: str, of: str) -> Address:
    """`"0.0.0.0:8080"`, `":8080"`, `"[::1]:8080"`; OperatorError names the key."""


class Application:
    def __init__(self, name: str, *, log: Log, registry: Registry | None = None, stop_deadline: float = 10.0) -> None: ...

    def bind(self, addresses: Sequence[Address]) -> list[socket.socket]:
        """Listening sockets, in order. A taken port or a missing right is an OperatorError that says what to do."""

    def drop(self, user: str | None, group: str | None) -> None:
        """Drop to user and group (supplementary groups too) and verify; nothing where both are empty. OperatorError."""

    def add(self, part: Part, phase: Phase) -> None: ...

    def on_reload(self, f: Callable[[], Awaitable[None]]) -> None:
        """Called at SIGHUP."""

    def run(self) -> int:
        """Run until a signal; the exit code. An OperatorError of a start is logged as one message, exit 1."""
