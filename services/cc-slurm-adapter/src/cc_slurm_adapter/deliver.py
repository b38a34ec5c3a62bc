"""Brings starts and stops from the outbox to cc-backend, in order per job, until an answer is final (spec slurm-adapter 11, 15, 17)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from enum import Enum

import msgspec
from ccdaemon.errors import PeerError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccdaemon.net.http_client import HttpClient
from ccdaemon.net.nats import Nats
from ccmessage.encode import encode
from ccmessage.message import Message, head

from .backend import Backend
from .config import Config
from .outbox import Delivery, Outbox

PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between tries of the same delivery
STOP_AFTER_START = 2.0  # NATS only: the backend handles messages in parallel


class Outcome(Enum):
    DONE = "done"  # taken now
    ALREADY = "already"  # cc-backend had it
    REJECTED = "rejected"  # a final no
    LATER = "later"  # this one again later, others now
    DOWN = "down"  # the whole backend later
    NO_ROUTE = "no_route"  # jobs are not taken by REST


class Verdict(msgspec.Struct, frozen=True):
    outcome: Outcome
    text: str = ""


def judge(kind: str, status: int, body: str) -> Verdict:
    """What an HTTP answer to a start or stop means."""
    if status in (200, 201):
        return Verdict(Outcome.DONE)
    if status == 422:
        return Verdict(Outcome.ALREADY, body)
    if status == 405 or (status == 404 and "the requested endpoint does not exist" in body.lower()):
        return Verdict(Outcome.NO_ROUTE, body)
    if status == 400 or (status == 404 and kind == "stop"):
        return Verdict(Outcome.REJECTED, body)
    if status in (401, 403) or status >= 500:
        return Verdict(Outcome.DOWN, body)
    return Verdict(Outcome.LATER, body)


def event_line(kind: str, host: str, partition: str, body: bytes, seconds: int) -> bytes:
    """The job event as one line of line protocol: measurement `job`, tag `function`, string field `event`."""
    tags = {"function": f"{kind}_job", "hostname": host, "type": "node", "type-id": "0"}
    if kind == "stop" and partition:
        tags["partition"] = partition
    return encode(Message(head("job", tags), {"event": body.decode()}, seconds * 1_000_000_000))


class Deliverer:
    """A Part: one task that works off the outbox. `settled(delivery, accepted)` tells the daemon about final answers."""

    name = "deliver"

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        backend: Backend,
        http: HttpClient,
        nats: Nats | None,
        host: str,
        settled: Callable[[Delivery, bool], None],
        ledger: Ledger,
        log: Log,
    ) -> None:
        self._config, self._outbox, self._backend, self._http, self._nats, self._host = config, outbox, backend, http, nats, host
        self._settled, self._ledger, self._log = settled, ledger, log
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rest_again = 0.0  # when the REST routes are tried again after they were missing
        self._rest_since_down = 0

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, deadline: float) -> None:
        """A last round, then the end; what is left stays in the outbox."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline / 2):
                await self._round()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            down = await self._round()
            pause = min(LONGEST_PAUSE, PAUSE * 2 ** min(self._rest_since_down, 6)) * random.uniform(0.7, 1.3) if down else PAUSE  # noqa: S311  (jitter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await (asyncio.sleep(pause) if down else self._wake.wait())

    async def _round(self) -> bool:
        """All that is due; True when cc-backend is down."""
        while due := self._outbox.due(time.time()):
            for delivery in due:
                verdict = await self._send(delivery)
                if verdict.outcome is Outcome.DOWN:
                    self._rest_since_down += 1
                    self._log.throttled(60, "backend.down", text=verdict.text[:200], waiting=self._outbox.waiting())
                    return True
                self._rest_since_down = 0
                self._settle(delivery, verdict)
        return False

    def _settle(self, d: Delivery, verdict: Verdict) -> None:
        keys = {"cluster": d.cluster, "job": d.key.id, "kind": d.kind}
        match verdict.outcome:
            case Outcome.DONE | Outcome.ALREADY:
                self._log.info("job.delivered", already=verdict.outcome is Outcome.ALREADY, **keys)
                self._ledger.gave(1)
                self._settled(d, True)
            case Outcome.REJECTED:
                # A stop of a job that cc-backend does not have is no loss; a refused start is, so it says why.
                (self._log.error if d.kind == "start" else self._log.warning)("job.rejected", text=verdict.text[:500], **keys)
                self._settled(d, False)
            case _:
                self._log.throttled(60, "job.later", text=verdict.text[:200], **keys)
                self._outbox.retry(d, time.time() + min(LONGEST_PAUSE, PAUSE * 2 ** min(d.tries, 6)))

    async def _send(self, d: Delivery) -> Verdict:
        if not self._config.cc_rest_submit_jobs or time.monotonic() < self._rest_again:
            return await self._by_nats(d)
        try:
            headers = {
                "Content-Type": "application/json",
                "Accept": "application/ld+json",
                "X-Auth-Token": self._config.cc_rest_jwt.reveal(),
            }
            answer = await self._http.request("POST", f"/api/jobs/{d.kind}_job/", body=d.body, headers=headers)
        except PeerError as e:
            return Verdict(Outcome.DOWN, str(e))
        verdict = judge(d.kind, answer.status, answer.body.decode("utf-8", "replace"))
        if verdict.outcome is Outcome.NO_ROUTE:
            return await self._without_route(d)
        if verdict.outcome is Outcome.DONE and self._nats is not None:
            try:
                await self._nats.publish(self._config.nats_subject, self._line(d))
            except PeerError as e:
                self._log.throttled(60, "nats.not_published", text=str(e))
        return verdict

    async def _without_route(self, d: Delivery) -> Verdict:
        self._rest_again = time.monotonic() + self._config.cc_poll_interval
        if self._nats is None:
            self._log.error("backend.no_rest_routes", advice="this cc-backend takes jobs by NATS only: set natsServer and natsSubject")
            return Verdict(Outcome.DOWN, "no REST routes for jobs and no NATS server")
        self._log.warning("backend.no_rest_routes", consequence="jobs go by NATS only", subject=self._config.nats_subject)
        return await self._by_nats(d)

    async def _by_nats(self, d: Delivery) -> Verdict:
        if self._nats is None:
            return Verdict(Outcome.DOWN, "cc-backend has no REST routes for jobs and natsServer is not set")
        try:
            await self._nats.publish(self._config.nats_subject, self._line(d), flushed=True)
        except PeerError as e:
            return Verdict(Outcome.DOWN, str(e))
        return Verdict(Outcome.DONE)

    def _line(self, d: Delivery) -> bytes:
        return event_line(d.kind, self._host, d.partition, d.body, d.time)
