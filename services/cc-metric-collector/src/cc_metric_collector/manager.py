"""Rounds: every collector is read once in a tick, isolated from the others, with a deadline.

Parallel collectors are read at once, each in a thread. Serial ones (those that would measure the others' load) follow one by
one when the parallel ones are done, at the latest min(1 s, interval / 4) after the tick. Whoever is not done when the round
ends is reported and left out of rounds until its call returns; what it then brings is delivered with the tick of its own
round. An exception costs a collector its round, nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from ccdaemon.executors import Pool
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.message import Message, refusal

from .base import Collector, Context, SourceMissing

ROUND_SHARE = 0.95  # of the interval: a round is over before the next tick
OPEN_LIMIT = 10.0  # seconds that the start waits for collectors to open

State = Literal["new", "ok", "failing", "hanging", "skipped"]


class Health(msgspec.Struct):
    """How a collector does. Times in seconds; `reason` says why it is not ok."""

    name: str
    state: State = "new"
    reason: str = ""
    reads: int = 0
    failures: int = 0
    left_out: int = 0
    messages: int = 0
    seconds: float = 0.0


class Unit(msgspec.Struct):
    """A collector in the manager's hands; `call` is its running read."""

    name: str
    collector: Collector
    health: Health
    call: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self.call is not None and not self.call.done()


class Manager:
    """Owns the collectors. `deliver(messages, tick_ns)` is called on the loop, once per collector and round."""

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        context: Context,
        deliver: Callable[[list[Message], int], None],
        *,
        duration: float,
        wall_ns: Callable[[], int],
        ledger: Ledger,
        log: Log,
    ) -> None:
        self._units = [Unit(name, collector, Health(name)) for name, collector in collectors.items()]
        self._context = context
        self._interval = context.interval
        self._deliver = deliver
        self._duration = duration
        self._wall_ns = wall_ns
        self._ledger = ledger
        self._log = log
        self._pool = Pool("collectors", max(1, len(self._units)))  # a thread each: one that hangs takes none from the others

    @property
    def health(self) -> list[Health]:
        return [unit.health for unit in self._units]

    @property
    def working(self) -> int:
        return sum(1 for unit in self._units if unit.health.state != "skipped")

    async def open(self) -> None:
        """Open all collectors; those that cannot be opened are skipped with a reason. One that takes long joins the rounds later."""
        for unit in self._units:
            unit.call = asyncio.create_task(self._open(unit))
        await _wait(self._units, asyncio.get_running_loop().time() + OPEN_LIMIT)
        for unit in self._units:
            if unit.busy:
                unit.health.state, unit.health.reason = "hanging", "still opening"
                self._log.error("collector.slow", collector=unit.name, reason="still opening", remedy="it joins when it is ready")

    async def _open(self, unit: Unit) -> None:
        context = msgspec.structs.replace(self._context, log=self._context.log.bind(collector=unit.name))
        try:
            await self._pool.run(unit.collector.open, context)
        except SourceMissing as missing:
            self._skip(unit, str(missing))
            await self._close(unit)
        except Exception as error:  # isolation: whatever a collector does, the others work
            self._skip(unit, f"{type(error).__name__}: {error}")
            await self._close(unit)

    def _skip(self, unit: Unit, reason: str) -> None:
        unit.health.state, unit.health.reason = "skipped", reason
        self._log.error("collector.skipped", collector=unit.name, reason=reason)

    async def round(self, tick_ns: int) -> None:
        """One round; returns before the interval is over."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        end = begin + ROUND_SHARE * self._interval
        units = [unit for unit in self._units if unit.health.state != "skipped"]
        parallel = self._start([u for u in units if u.collector.parallel], tick_ns)
        serial = [u for u in units if not u.collector.parallel]
        if serial:
            await _wait(parallel, begin + min(1.0, self._interval / 4))
            await self._serial(serial, tick_ns, end)
        await _wait(parallel, end)
        for unit in parallel:
            if unit.busy:
                self._late(unit)

    async def _serial(self, units: Sequence[Unit], tick_ns: int, end: float) -> None:
        for unit in units:
            started = self._start([unit], tick_ns)
            await _wait(started, end)
            if unit.busy:
                self._late(unit)

    def _start(self, units: Sequence[Unit], tick_ns: int) -> list[Unit]:
        """Begin a read of each that is not still reading; those begun."""
        begun = []
        for unit in units:
            if unit.busy:
                unit.health.left_out += 1
                continue
            unit.call = asyncio.create_task(self._read(unit, tick_ns))
            begun.append(unit)
        return begun

    async def _read(self, unit: Unit, tick_ns: int) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        unit.health.reads += 1
        try:
            messages = await self._pool.run(unit.collector.read, self._wall_ns(), self._duration)
        except Exception as error:  # isolation
            unit.health.failures += 1
            unit.health.state, unit.health.reason = "failing", f"{type(error).__name__}: {error}"
            self._log.throttled(60, f"collector.failed.{unit.name}", collector=unit.name, error=unit.health.reason)
            return
        if unit.health.state == "hanging":
            self._log.notice("collector.back", collector=unit.name, seconds=round(loop.time() - begin, 1))
        unit.health.state, unit.health.reason, unit.health.seconds = "ok", "", loop.time() - begin
        self._hand_over(unit, messages, tick_ns)

    def _hand_over(self, unit: Unit, messages: list[Message], tick_ns: int) -> None:
        good = []
        for message in messages:
            why = refusal(message)
            if why is None:
                good.append(message)
            else:
                self._ledger.took(1)
                self._ledger.refused(str(why), 1, message.head.name)
        self._ledger.took(len(good))
        unit.health.messages += len(good)
        if good:
            self._deliver(good, tick_ns)
            self._ledger.gave(len(good))

    def _late(self, unit: Unit) -> None:
        unit.health.state, unit.health.reason = "hanging", f"not done within {self._interval:g} s"
        self._log.error("collector.hanging", collector=unit.name, interval=self._interval, remedy="it is left out until it returns")

    async def close(self, deadline: float) -> None:
        """Close all; calls still running after `deadline` seconds are abandoned."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        await _wait(self._units, end)
        idle = [u for u in self._units if not u.busy and u.health.state != "skipped"]
        closing = [asyncio.create_task(self._close(unit)) for unit in idle]
        if closing:
            await asyncio.wait(closing, timeout=max(0.1, end - loop.time()))
        for task in [*closing, *(u.call for u in self._units if u.call is not None)]:
            task.cancel()
        self._pool.close(max(0.0, min(end - loop.time(), 0.2)))

    async def _close(self, unit: Unit) -> None:
        try:
            await self._pool.run(unit.collector.close)
        except Exception as error:
            self._log.warning("collector.close_failed", collector=unit.name, error=f"{type(error).__name__}: {error}")


async def _wait(units: Sequence[Unit], end: float) -> None:
    """Until all their calls are done, at most until the loop's time `end`."""
    calls = [unit.call for unit in units if unit.call is not None]
    left = end - asyncio.get_running_loop().time()
    if calls and left > 0:
        await asyncio.wait(calls, timeout=left)
