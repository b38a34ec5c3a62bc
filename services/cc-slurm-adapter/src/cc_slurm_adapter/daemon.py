"""The daemon: loop and clock around `core.step`. Polls each cluster on its own, hands hook events on, keeps `lastrun`."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ccclient.backend import BackendClient, Outcome
from ccdaemon.app import Application, Part, Phase
from ccdaemon.errors import ConfigErrors, OperatorError, PeerError
from ccdaemon.flags import parse_flags
from ccdaemon.ledger import Registry
from ccdaemon.log import Log, make_log
from ccdaemon.net.nats import Nats, NatsConfig
from ccdaemon.net.selfmetrics import metrics_part
from msgspec import Meta

from . import config as configuration
from .backend import Backend
from .config import Config
from .core import (
    Action,
    AskDetails,
    AskJobs,
    BackendRunning,
    ClusterState,
    Delivered,
    Detailed,
    Event,
    HookSeen,
    JobKey,
    Polled,
    Queued,
    Rejected,
    SendStart,
    SendStop,
    Tick,
    Warn,
    step,
)
from .deliver import STOP_AFTER_START, Deliverer
from .hook_server import HookServer
from .lifefiles import LastRun, pid_file
from .outbox import Delivery, NewDelivery, Outbox
from .slurm.commands import Commands, SlurmDown
from .slurm.nodes import jobs_per_node, nodestate_body
from .slurm.reader import NOTICE, OLDEST, Slurm
from .slurm.translate import start_body, stop_body

VERSION = "0.1.0"
OVERLAP, OVERLAP_AFTER_ERROR = 300, 3600  # seconds: slurmdbd may get records late
PIECE = 6 * 3600  # seconds of one accounting query
LEVELS = ("crit", "err", "warn", "info", "debug")


class Flags(msgspec.Struct):
    daemon: Annotated[bool, Meta(description="Run as daemon; without it: the hook of PrologSlurmctld and EpilogSlurmctld.")] = False
    config: Annotated[str, Meta(description="Configuration file; empty: /etc/cc-slurm-adapter/config.json.")] = ""
    debug: Annotated[int, Meta(description="Log level: 0 fatal, 1 error, 2 warning, 3 info, 4 and 5 debug.")] = 2
    check_config: Annotated[bool, Meta(description="Read the configuration, report all mistakes, exit 0 or 1.")] = False


def main(argv: Sequence[str]) -> int:
    """Everything but the hook. The exit code."""
    flags = parse_flags(Flags, argv, prog="cc-slurm-adapter", version=VERSION, about="Feeds cc-backend with what Slurm runs.")
    log = make_log("cc-slurm-adapter", level=LEVELS[max(0, min(4, flags.debug))])
    try:
        config, rules, warnings = configuration.read(Path(flags.config) if flags.config else None)
    except ConfigErrors as e:
        for problem in e.problems:
            print(problem, file=sys.stderr)
        return 1
    except OperatorError as e:
        print(e, file=sys.stderr)
        return 1
    for warning in warnings:
        if flags.check_config:
            print(f"warning: {warning}", file=sys.stderr)
        else:
            log.warning("config", text=str(warning))
    if flags.check_config:
        print("The configuration is fine.")
        return 0
    return _run(config, rules, log)


def _run(config: Config, rules: configuration.Rules, log: Log) -> int:
    registry = Registry("cc-slurm-adapter")
    try:
        with pid_file(Path(config.pid_file_path)):
            lastrun = LastRun(Path(config.last_run_path))
            outbox = Outbox(Path(config.last_run_path).with_name("outbox.db"))
            application = Application("cc-slurm-adapter", log=log, registry=registry, stop_deadline=90)
            adapter = Adapter(config, rules, outbox, lastrun, registry, log)
            for part, phase in adapter.parts():
                application.add(part, phase)
            if config.metrics_address:
                application.add(metrics_part(application, config.metrics_address, "metricsAddress", registry, log), Phase.INTAKE)
            code = application.run()
            outbox.close()
            return code
    except sqlite3.Error as e:
        log.critical("outbox.unusable", path=str(Path(config.last_run_path).with_name("outbox.db")), text=str(e))
    except OperatorError as e:
        log.critical("start", text=str(e))
    return 1


class Adapter:
    """Holds the clusters' states and turns actions into calls. All of it runs on the loop; a lock per cluster keeps its events in sequence."""

    def __init__(self, config: Config, rules: configuration.Rules, outbox: Outbox, lastrun: LastRun, registry: Registry, log: Log) -> None:
        self._config, self._rules, self._outbox, self._lastrun, self._log = config, rules, outbox, lastrun, log
        self._commands = Commands(config.slurm_max_concurrent, log)
        self._client = BackendClient(config.cc_rest_url, config.cc_rest_jwt, timeout=30, idle_timeout=2.0 * config.slurm_poll_interval)
        self._backend = Backend(self._client)
        self._slurm = Slurm(self._commands, rules, self._backend.cores, log)
        self._nats = Nats(_nats_config(config), client_name="cc-slurm-adapter", log=log) if config.nats_server else None
        host = socket.gethostname().split(".")[0]
        self._deliveries = registry.ledger("deliveries")
        self._deliverer = Deliverer(config, outbox, self._client, self._nats, host, self._settled, self._deliveries, log)
        self._hooks = HookServer(config.prep_sock_listen_path, self._hook, registry.ledger("hook"), log)
        self._deliveries.took(outbox.waiting())
        self._states: dict[str, ClusterState] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._failed: set[str] = set()  # clusters whose last poll had an error
        self._early: list[tuple[str, int, str]] = []  # hook events that came before the clusters were known
        self._compared = 0.0
        registry.gauge("outbox_waiting", "starts and stops not yet taken by cc-backend", lambda: float(outbox.waiting()))

    def parts(self) -> list[tuple[Part, Phase]]:
        """In the order of Application's phases."""
        links: list[tuple[Part, Phase]] = [(self._nats, Phase.LINK)] if self._nats else []
        return [
            *links,
            (self._deliverer, Phase.KEEP),
            (_Task("poll", self._polls, self._commands.kill_all), Phase.WORK),
            (self._hooks, Phase.INTAKE),
        ]

    # --- events → actions ------------------------------------------------------------------------------------------------------

    async def _apply(self, cluster: str, event: Event) -> None:
        """One event and all that follows from it; state and deliveries are committed together at the end."""
        before = self._states[cluster]
        events, out = [event], list[NewDelivery]()
        try:
            while events:
                # No await between reading and storing the state: answers and hook events change it too.
                self._states[cluster], actions = step(self._states[cluster], events.pop(0), time.time())
                for action in actions:
                    events += await self._act(cluster, action, out)
        finally:
            self._outbox.commit(before, self._states[cluster], out, time.time())
        if out:
            self._deliveries.took(len(out))
            self._deliverer.wake()

    async def _act(self, cluster: str, action: Action, out: list[NewDelivery]) -> list[Event]:
        """Do what one action says; new deliveries go to `out`, answers come back as events. SlurmDown."""
        match action:
            case AskJobs(ids):
                return [Polled(tuple(await self._slurm.jobs(cluster, ids)))]
            case AskDetails(views):
                return await self._details(cluster, [v.id for v in views], [v.key for v in views])
            case SendStart():
                out.append(NewDelivery(action.view.key, "start", start_body(cluster, action), action.view.start, action.view.partition))
            case SendStop():
                not_before = 0.0 if self._config.cc_rest_submit_jobs else time.time() + STOP_AFTER_START
                out.append(NewDelivery(action.key, "stop", stop_body(cluster, action), action.time, action.partition, not_before))
            case Warn():
                self._log.warning(action.event, **action.keys)
        return []

    async def _details(self, cluster: str, ids: Sequence[int], keys: Sequence[JobKey]) -> list[Event]:
        try:
            given = (await self._slurm.queue(cluster, ids)).assigned
        except SlurmDown as e:
            self._log.warning("slurm.no_resources", cluster=cluster, jobs=len(ids), why=str(e))
            given = {}
        texts = await asyncio.gather(*(self._slurm.details(cluster, i) for i in ids))
        return [Detailed(key, given.get(key.id), text) for key, text in zip(keys, texts, strict=True)]

    def _settled(self, delivery: Delivery, accepted: bool) -> None:
        """A final answer: the state and the outbox row change in one transaction."""
        before = self._states.get(delivery.cluster) or self._outbox.load(delivery.cluster)
        kind: Literal["start", "stop"] = "start" if delivery.kind == "start" else "stop"
        after, _ = step(before, Delivered(delivery.key, kind) if accepted else Rejected(delivery.key, kind), time.time())
        left = self._outbox.commit(before, after, [], time.time(), done=delivery, rest=kind == "start" and not accepted)
        if not accepted:
            self._deliveries.refused("rejected", left, delivery.cluster)
        if delivery.cluster in self._states:
            self._states[delivery.cluster] = after

    def _hook(self, cluster: str, job: int, kind: str) -> None:
        if not self._states:
            self._early = [*self._early, (cluster, job, kind)][-1000:]
            return
        state = self._states.get(cluster)
        if state is None:
            self._log.throttled(60, "hook.unknown_cluster", cluster=cluster[:40], job=job)
            return
        self._states[cluster], _ = step(state, HookSeen(job, "epilog" if kind == "epilog" else "prolog"), time.time())

    # --- the loop --------------------------------------------------------------------------------------------------------------

    async def _polls(self) -> None:
        await self._until_slurm_answers()
        next_poll = time.monotonic()
        while True:
            if time.monotonic() >= next_poll:
                next_poll = max(next_poll + self._config.slurm_poll_interval, time.monotonic())
                await self._poll()
            else:
                await self._each(self._tick)
            await asyncio.sleep(self._config.slurm_query_delay)

    async def _until_slurm_answers(self) -> None:
        pause = 1.0
        while True:
            try:
                await self._learn_clusters()
                break
            except SlurmDown as e:
                self._log.throttled(60, "slurm.down", why=str(e), consequence="retried; hook events are kept")
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._config.slurm_poll_interval)
        for event in self._early:
            self._hook(*event)
        self._early = []

    async def _learn_clusters(self) -> None:
        clusters = await self._slurm.clusters()
        if 0 < clusters.major < OLDEST:
            raise OperatorError(f"Slurm {clusters.version} is older than {OLDEST}.05", "this adapter needs Slurm 24.05 or newer")
        if clusters.major >= NOTICE:
            self._log.notice("slurm.untested", version=clusters.version)
        self._commands.local = clusters.local
        for name in clusters.names:
            if name not in self._states:
                state = self._outbox.load(name)
                polled = state.polled or self._lastrun.time
                self._states[name] = msgspec.structs.replace(state, polled=polled)
                self._locks[name] = asyncio.Lock()
        login = pwd.getpwuid(os.getuid()).pw_name
        try:
            if not await self._slurm.may_see_all(login):
                advice = f"sacctmgr add user {login} Account=root AdminLevel=operator"
                self._log.warning("slurm.no_operator", login=login, consequence="jobs of other users may stay invisible", advice=advice)
        except SlurmDown as e:
            self._log.warning("slurm.permission_unknown", why=str(e))
        self._log.info("slurm.clusters", names=",".join(clusters.names), local=clusters.local, version=clusters.version)

    async def _each(self, do: Callable[[str], Awaitable[None]]) -> None:
        """All clusters side by side; the error of one stays its own."""

        async def guarded(cluster: str) -> None:
            async with self._locks[cluster]:
                try:
                    await do(cluster)
                except SlurmDown as e:
                    self._failed.add(cluster)
                    self._log.error("slurm.failed", cluster=cluster, why=str(e))
                except sqlite3.Error as e:
                    self._failed.add(cluster)
                    self._log.error("outbox.failed", cluster=cluster, why=str(e), consequence="the poll is repeated")

        await asyncio.gather(*(guarded(c) for c in list(self._states)))

    async def _tick(self, cluster: str) -> None:
        if self._states[cluster].hooks:
            await self._apply(cluster, Tick(self._config.slurm_max_retries))

    async def _poll(self) -> None:
        if time.monotonic() - self._compared >= self._config.cc_poll_interval or not self._compared:
            await self._compare()
        await self._each(self._poll_cluster)
        polled = [s.polled for s in self._states.values()]
        oldest = self._outbox.oldest()
        try:
            self._lastrun.move(min([*polled, oldest] if oldest else polled, default=0.0))
        except OSError as e:
            self._log.error("lastrun.not_written", why=str(e))

    async def _poll_cluster(self, cluster: str) -> None:
        failed = cluster in self._failed
        self._failed.discard(cluster)
        try:
            nodes = await self._slurm.nodes(cluster)
            queue = await self._slurm.queue(cluster)
            await self._apply(cluster, Queued(queue.running, queue.assigned))
            answer = await self._client.node_states(nodestate_body(cluster, nodes, jobs_per_node(queue.jobs), self._rules.ignored))
            if answer.outcome is not Outcome.DONE:
                self._log.throttled(600, "nodestate.refused", status=answer.status, text=answer.text[:200])
        except PeerError as e:
            self._log.throttled(60, "nodestate.not_sent", why=str(e))
        except SlurmDown as e:
            self._failed.add(cluster)
            self._log.error("slurm.failed", cluster=cluster, why=str(e))
        for begin, end in self._spans(cluster, int(time.time()), OVERLAP_AFTER_ERROR if failed else OVERLAP):
            found = await self._slurm.ended_between(cluster, begin, end)
            await self._apply(cluster, Polled(tuple(found), float(end)))
        await self._apply(cluster, Tick(self._config.slurm_max_retries))

    def _spans(self, cluster: str, now: int, overlap: int) -> list[tuple[int, int]]:
        polled = int(self._states[cluster].polled)
        oldest = now - self._config.slurm_query_max_span
        begin = polled - overlap
        if begin < oldest:
            if polled:
                self._log.warning("poll.span_cut", cluster=cluster, since=polled, looked_back=self._config.slurm_query_max_span)
            begin = oldest
        edges = [*range(begin, now, PIECE), now]
        return list(itertools.pairwise(edges)) or [(begin, now)]

    async def _compare(self) -> None:
        """Against the running jobs of cc-backend; not done counts as not compared, so the next poll tries again."""
        try:
            running = await self._backend.running()
        except PeerError as e:
            self._log.throttled(60, "backend.not_compared", why=str(e))
            return
        self._compared = time.monotonic()

        async def compare(cluster: str) -> None:
            await self._apply(cluster, BackendRunning(frozenset(key for name, key in running if name == cluster)))

        await self._each(compare)


def _nats_config(c: Config) -> NatsConfig:
    scheme, _, host = c.nats_server.rpartition("://")
    return NatsConfig(
        address=f"{scheme or 'nats'}://{host}:{c.nats_port}",
        username=c.nats_user,
        password=c.nats_password,
        creds_file_path=c.nats_creds_file,
        nkey_file=c.nats_n_key_seed_file,
        ca_file=c.nats_tls_ca_file,
        cert_file=c.nats_tls_cert_file,
        key_file=c.nats_tls_key_file,
    )


class _Task:
    """A Part made of one coroutine; past its deadline `abandon` ends what it waits for."""

    def __init__(self, name: str, run: Callable[[], Coroutine[None, None, None]], abandon: Callable[[], None]) -> None:
        self.name = name
        self._run = run
        self._abandon = abandon
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, deadline: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=deadline)
            self._abandon()
