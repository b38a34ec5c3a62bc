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

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Any, Protocol

import msgspec

from . import listen, privileges
from .errors import ConfigErrors, DaemonError
from .ledger import Registry
from .log import Log
from .loop import Loop
from .systemd import Notifier

_LATENESS_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LATENESS_EVERY = 0.25
# What the file system refuses is the administrator's to mend, wherever in the code it shows.
_SURROUNDINGS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "check owner and mode",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE=)",
}
_GRACE = 2.0  # what a part may be late beyond its share, and the whole stop beyond its deadline


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
    host, port = listen.split_address(text, of)
    return Address(host, port, of)


def report(log: Log, error: BaseException) -> int:
    """Log what ended a daemon, as one message (one for each mistake of a configuration); its exit code."""
    if isinstance(error, ConfigErrors):
        for problem in error.problems:
            log.critical(str(problem))
        return error.exit_code
    if isinstance(error, DaemonError) and error.exit_code == 1:
        log.critical(str(error))
        return 1
    if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        log.critical(f"{what}: {_SURROUNDINGS[error.errno]}")
        return 1
    log.bug("BUG: the daemon ends by an error that it does not know", error)
    return 70


def guarded(log: Log, f: Callable[[], int]) -> int:
    """Run the body of a `main`: an error becomes a message and an exit code, never a traceback for a user's mistake."""
    try:
        return f()
    except Exception as error:
        return report(log, error)


class Application:
    """See the module. `lateness` is a histogram in `registry`: how much later than asked the loop came back."""

    def __init__(self, name: str, *, log: Log, registry: Registry | None = None, stop_deadline: float = 10.0) -> None:
        self.name = name
        self.log = log
        self.registry = registry or Registry(name)
        self.stop_deadline = stop_deadline
        self.lateness = self.registry.histogram("loop_lateness_seconds", "How late the event loop comes back.", _LATENESS_BOUNDS)
        self._parts: list[tuple[Phase, Part]] = []
        self._reloads: list[Callable[[], Awaitable[None]]] = []
        self._notifier = Notifier()
        self._signals = 0
        self._failure: BaseException | None = None
        self._ending: asyncio.Event | None = None
        self._guard: threading.Timer | None = None
        self._reloading: asyncio.Task[None] | None = None

    def bind(self, addresses: Sequence[Address]) -> list[socket.socket]:
        """Listening sockets, in order. A taken port or a missing right is an OperatorError that says what to do."""
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                sockets.append(listen.bound_socket(address.host, address.port, address.of))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    def drop(self, user: str | None, group: str | None) -> None:
        """Drop to user and group (supplementary groups too) and verify; nothing where both are empty. OperatorError."""
        privileges.drop(user, group)

    def add(self, part: Part, phase: Phase) -> None:
        """Parts of one phase start in the order in which they are added."""
        self._parts.append((phase, part))

    def on_reload(self, f: Callable[[], Awaitable[None]]) -> None:
        """Called at SIGHUP."""
        self._reloads.append(f)

    def stop(self) -> None:
        """As SIGTERM (`-once`, tests); on the loop's thread."""
        assert self._ending is not None
        self._ending.set()

    def fail(self, error: BaseException) -> None:
        """A part cannot go on: stop in order, report `error`, exit with its code; on the loop's thread."""
        self._failure = self._failure or error
        self.stop()

    def run(self) -> int:
        """Run until a signal; the exit code. An OperatorError of a start is logged as one message, exit 1."""
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                return runner.run(self._life())
        except Exception as error:
            return report(self.log, error)
        finally:
            if self._guard is not None:
                self._guard.cancel()

    async def _life(self) -> int:
        loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        loop.set_exception_handler(self._stray)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked)
        pulse = loop.create_task(self._pulse())
        started: list[Part] = []
        code = 0
        try:
            try:
                if await self._start(started):
                    self._notifier.ready()
                    self.log.info("started", daemon=self.name)
                    await self._ending.wait()
            except Exception as error:
                code = report(self.log, error)
            self._notifier.stopping()
            self._guard = self._last_resort()
            await self._stop(started)
        finally:
            pulse.cancel()
        if self._failure is not None:
            code = report(self.log, self._failure)
        self.log.info("stopped", daemon=self.name, code=code)
        return code

    async def _start(self, started: list[Part]) -> bool:
        """False when a signal came meanwhile; the part that was starting is stopped like the others."""
        assert self._ending is not None
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            for _, part in sorted(self._parts, key=lambda entry: entry[0]):
                started.append(part)
                starting = asyncio.ensure_future(part.start())
                await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    starting.cancel()
                    await asyncio.wait((starting,), timeout=_GRACE)
                    return False
                starting.result()
            return not self._ending.is_set()
        finally:
            ending.cancel()

    async def _stop(self, started: list[Part]) -> None:
        """In reverse; a part gets its share of the time that is left, so what one does not use the next ones have."""
        end = time.monotonic() + self.stop_deadline
        left = len(started)
        for part in reversed(started):
            share = max(0.0, end - time.monotonic()) / left
            left -= 1
            stopping = asyncio.ensure_future(part.stop(share))
            await asyncio.wait((stopping,), timeout=share + _GRACE / (left + 1))
            if not stopping.done():
                self.log.error("part.late", part=part.name, deadline=round(share, 1))
                stopping.cancel()
            elif not stopping.cancelled() and (error := stopping.exception()) is not None:
                self.log.error("part.stop.failed", part=part.name, error=error)

    def _last_resort(self) -> threading.Timer:
        """Whatever hangs (a task that swallows its cancellation, a blocking call): the process ends."""

        def end() -> None:
            self.log.critical("stop.hangs", seconds=self.stop_deadline + 2 * _GRACE)
            os._exit(1)

        timer = threading.Timer(self.stop_deadline + 2 * _GRACE, end)
        timer.daemon = True
        timer.start()
        return timer

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals > 1:
            self.log.critical("stop.now", signal=signal.Signals(number).name)
            os._exit(1)
        self.log.notice("stopping", signal=signal.Signals(number).name)
        self.stop()

    def _reload_asked(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        self._notifier.reloading()
        for f in self._reloads:
            try:
                await f()
            except Exception as error:
                self.log.error("reload.failed", error=error)
        self.log.notice("reloaded")
        self._notifier.ready()

    async def _pulse(self) -> None:
        """Measure lateness and feed the watchdog: a loop that hangs is restarted by systemd."""
        watchdog, fed = self._notifier.watchdog_every, time.monotonic()
        wait = min(_LATENESS_EVERY, watchdog or _LATENESS_EVERY)
        while True:
            asked = time.monotonic()
            await asyncio.sleep(wait)
            now = time.monotonic()
            self.lateness.observe(max(0.0, now - asked - wait))
            if watchdog and now - fed >= watchdog:
                self._notifier.watchdog()
                fed = now

    def _stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio reports because nobody awaited it."""
        error = context.get("exception")
        with contextlib.suppress(Exception):
            if isinstance(error, BaseException):
                self.log.bug(f"BUG: {context.get('message', 'error nobody waited for')}", error)
            else:
                self.log.error("asyncio", text=context.get("message", ""))
