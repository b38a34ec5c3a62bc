"""Wiring: from settings to parts with a start and a stop order.

    sinks (LINK)  ←  router  ←  rounds of collectors (WORK), receivers (INTAKE), /metrics (INTAKE)

Stopping goes the other way: receivers close, the running round ends, sinks flush or spool.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from ccdaemon.app import Application, Phase
from ccdaemon.config.types import Problem
from ccdaemon.errors import ConfigErrors, DaemonError, OperatorError
from ccdaemon.ledger import Registry
from ccdaemon.log import Log
from ccmessage.processor import Failure, Processor, RuleError, RuleErrors

from .base import Context, Receiver
from .commands import run_command
from .config import MainConfig, Settings
from .manager import Health, Manager
from .plugins import Chosen, choose, rule_problem
from .router import Intake, Router, local_hostname, router_notes, router_options
from .sinks.runner import SinkRunner
from .sinks.setup import make_runner
from .ticker import SECOND, ticks
from .topology import NodeTopology, read_topology

if TYPE_CHECKING:
    from .aggregates import Aggregate, IntervalCache

BASE_READING = 1.0  # seconds that counters get before the only round of `-once`


class Sinks:
    """All sink runners, in the list that the router fans out to. A sink that cannot be opened is taken out of it; none left is
    an OperatorError."""

    name = "sinks"

    def __init__(self, runners: list[SinkRunner], log: Log) -> None:
        self.runners = runners
        self._log = log

    async def start(self) -> None:
        for runner in list(self.runners):
            try:
                await runner.start()
            except DaemonError as error:
                self._log.error("sink.skipped", sink=runner.name, reason=str(error))
                self.runners.remove(runner)
        if not self.runners:
            raise OperatorError("no usable sink", "the lines above say what is wrong with each")

    async def stop(self, deadline: float) -> None:
        await asyncio.gather(*(runner.stop(deadline) for runner in self.runners))


class Rounds:
    """The collectors and their clock. With `done` there is one round, at once, and then that call."""

    name = "collectors"

    def __init__(self, manager: Manager, router: Router, main: MainConfig, log: Log, done: Callable[[], None] | None) -> None:
        self._manager = manager
        self._router = router
        self._interval_ns = round(main.interval * SECOND)
        self._offset_ns = round(main.phase_offset * SECOND)
        self._done = done
        self._log = log
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._manager.open()
        self._log.info("collectors.ready", working=self._manager.working)
        self._task = asyncio.create_task(self._run() if self._done is None else self._once(self._done))

    async def _run(self) -> None:
        async for tick in ticks(self._interval_ns, self._offset_ns, wall_ns=time.time_ns, sleep=asyncio.sleep):
            self._router.tick(tick)
            await self._manager.round(tick)

    async def _once(self, done: Callable[[], None]) -> None:
        """Give counters a first difference, then one round."""
        await asyncio.sleep(min(BASE_READING, self._interval_ns / SECOND))
        tick = time.time_ns()
        self._router.tick(tick)
        await self._manager.round(tick)
        self._router.tick(tick)  # there is no next round: the aggregates of this one
        done()

    async def stop(self, deadline: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._manager.close(deadline)


class Receivers:
    """All receivers, each in its own task; one that ends with an error is logged and stays away."""

    name = "receivers"

    def __init__(self, receivers: Mapping[str, Receiver], router: Router, log: Log) -> None:
        self._receivers = receivers
        self._router = router
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(name, receiver)) for name, receiver in self._receivers.items()]

    async def _run(self, name: str, receiver: Receiver) -> None:
        try:
            await receiver.run(Intake(self._router))
        except Exception as error:  # isolation: the collector goes on without it
            self._log.error("receiver.failed", receiver=name, reason=str(error) if isinstance(error, DaemonError) else repr(error))

    async def stop(self, deadline: float) -> None:
        self._router.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)


class Assembled(msgspec.Struct):
    """The parts of a collector."""

    sinks: Sinks
    receivers: Receivers
    manager: Manager
    router: Router


def check(settings: Settings) -> list[Problem]:
    """Everything that is wrong with plug-ins and rules, beyond what loading found."""
    problems = list(settings.warnings) + router_notes(settings.router)
    for kind in ("collectors", "sinks", "receivers"):
        problems += choose(kind, getattr(settings, kind))[1]
    for compiled in (lambda: compile_router(settings, "localhost"), lambda: compile_cache_rules(settings)):
        try:
            compiled()
        except ConfigErrors as errors:
            problems += errors.problems
    return problems


def compile_router(settings: Settings, hostname: str) -> Processor:
    """The router's processor. ConfigErrors with every bad rule."""
    config = settings.router
    try:
        return Processor.compile(router_options(config), missing={config.hostname_tag: hostname})
    except RuleErrors as errors:
        raise ConfigErrors([router_problem(e, settings) for e in errors.errors]) from None


def router_problem(error: RuleError, settings: Settings) -> Problem:
    node = settings.router_node
    rules = node.value.get("process_messages") if node is not None and isinstance(node.value, dict) else None
    return rule_problem(error, "router.process_messages", rules)


def compile_cache_rules(settings: Settings) -> list[Aggregate]:
    """The interval aggregates, none where the cache is off. ConfigErrors with every bad expression."""
    if not settings.router.num_cache_intervals or not settings.router.interval_aggregates:
        return []
    from .aggregates import compile_aggregates  # few use it

    aggregates, errors = compile_aggregates(settings.router.interval_aggregates)
    if errors:
        node = settings.router_node
        raise ConfigErrors([rule_problem(msgspec.structs.replace(e, path=f"interval_aggregates{e.path}"), "router", node) for e in errors])
    return aggregates


def make_cache(aggregates: Sequence[Aggregate], topology: NodeTopology, hostname: str, log: Log) -> IntervalCache | None:
    if not aggregates:
        return None
    from .aggregates import IntervalCache

    return IntervalCache(aggregates, topology, hostname, log)


def assemble(settings: Settings, log: Log, registry: Registry, *, root: Path, now_ns: Callable[[], int] = time.time_ns) -> Assembled:
    """Make everything, open nothing. ConfigErrors, OperatorError for what the collector cannot run with."""
    for warning in settings.warnings + router_notes(settings.router):
        log.warning("config", problem=str(warning))
    chosen = {kind: usable(kind, settings, log) for kind in ("collectors", "sinks", "receivers")}
    hostname = local_hostname(settings.router)
    topology = read_topology(root)
    cache = make_cache(compile_cache_rules(settings), topology, hostname, log)
    processor = compile_router(settings, hostname)
    processor.on_failure = partial(rule_failed, log, "router")
    runners = make_runners(chosen["sinks"], settings.main, log, registry)
    router = Router(
        processor,
        runners,
        stamp=settings.router.interval_timestamp is not False,
        stamp_received=settings.router.interval_timestamp is True,
        wall_ns=now_ns,
        ledger=registry.ledger("router"),
        log=log,
        for_store=any(runner.spooled for runner in runners),
        cache=cache,
    )
    context = Context(
        hostname=hostname,
        interval=settings.main.interval,
        root=root,
        topology=topology,
        run=run_command,
        log=log,
        monotonic=time.monotonic,
    )
    manager = Manager(
        {c.name: collector for c in chosen["collectors"] if (collector := made(c, log)) is not None},
        context,
        router.collected,
        duration=settings.main.duration,
        wall_ns=now_ns,
        ledger=registry.ledger("collectors"),
        log=log,
    )
    receivers = {
        c.name: receiver
        for c in chosen["receivers"]
        if (receiver := made(c, log, c.name, log, registry.ledger(f"receiver {c.name}"))) is not None
    }
    watch(manager, registry)
    return Assembled(Sinks(runners, log), Receivers(receivers, router, log), manager, router)


def rule_failed(log: Log, place: str, failure: Failure) -> None:
    """Said once per rule: it did not apply, the message passed on."""
    log.warning("rule.failed", place=place, rule=failure.rule, condition=failure.condition, error=failure.error, message=failure.message)


def usable(kind: str, settings: Settings, log: Log) -> list[Chosen]:
    """Plug-ins that can be made; the others are logged."""
    chosen, problems = choose(kind, getattr(settings, kind))
    for problem in problems:
        (log.error if problem.fatal else log.warning)("config", problem=str(problem))
    return chosen


def made(chosen: Chosen, log: Log, *args: object) -> Any:
    """An instance, or None with an error line."""
    try:
        return chosen.cls(chosen.config, *args)
    except DaemonError as error:
        log.error("config", problem=f"{chosen.name}: {error}")
        return None


def make_runners(chosen: Sequence[Chosen], main: MainConfig, log: Log, registry: Registry) -> list[SinkRunner]:
    runners = []
    for c in chosen:
        sink = made(c, log, c.name, log)
        if sink is not None:
            runners.append(make_runner(c.name, sink, c.config, state_dir(main), registry.ledger(f"sink {c.name}"), log))
    if not runners:
        raise OperatorError("no usable sink", "the lines above say what is wrong with each")
    return runners


def state_dir(main: MainConfig) -> Path:
    """`state_dir`, else what the unit gives, else below the working directory."""
    return Path(main.state_dir or os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or "var/cc-metric-collector")


def watch(manager: Manager, registry: Registry) -> None:
    """Health of each collector on /metrics."""
    values: tuple[tuple[str, str, Callable[[Health], float]], ...] = (
        ("collector_up", "1 = the last read was good.", lambda h: float(h.state == "ok")),
        ("collector_read_seconds", "Duration of the last read.", lambda h: h.seconds),
        ("collector_failures", "Reads that failed.", lambda h: float(h.failures)),
        ("collector_left_out", "Rounds left out because it was still reading.", lambda h: float(h.left_out)),
    )
    for health in manager.health:
        for name, text, value in values:
            registry.gauge(name, text, partial(value, health), {"collector": health.name})


def serve(settings: Settings, log: Log, *, root: Path, once: bool) -> int:
    """Run until a signal, or for one round whose messages are sent or spooled; the exit code."""
    registry = Registry("cc_metric_collector")
    app = Application("cc-metric-collector", log=log, registry=registry)
    parts = assemble(settings, log, registry, root=root)
    if settings.main.metrics_address:
        from ccdaemon.net.selfmetrics import metrics_part  # aiohttp: only where it is asked for

        app.add(metrics_part(app, settings.main.metrics_address, "main.metrics_address", registry, log), Phase.INTAKE)
    app.add(parts.sinks, Phase.LINK)
    app.add(Rounds(parts.manager, parts.router, settings.main, log, app.stop if once else None), Phase.WORK)
    app.add(parts.receivers, Phase.INTAKE)
    return app.run()
