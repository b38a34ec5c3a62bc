"""Brings starts and stops from the outbox to cc-backend, in order per job, until an answer is final (spec slurm-adapter 11, 15, 17)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

from ccclient.backend import BackendClient, Delivered, Outcome
from ccdaemon.errors import PeerError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccdaemon.net.nats import Nats
from ccmessage.encode import encode
from ccmessage.message import Message, head

from .config import Config
from .outbox import Delivery, Outbox

PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between tries of the same delivery
STOP_AFTER_START = 2.0  # NATS only: the backend handles messages in parallel


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
        backend: BackendClient,
        nats: Nats | None,
        host: str,
        settled: Callable[[Delivery, bool], None],
        ledger: Ledger,
        log: Log,
    ) -> None:
        self._config, self._outbox, self._backend, self._nats, self._host = config, outbox, backend, nats, host
        self._settled, self._ledger, self._log = settled, ledger, log
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rest_again = 0.0  # when the REST routes are tried again after they were missing
        self._failures = 0

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
            pause = min(LONGEST_PAUSE, PAUSE * 2 ** min(self._failures, 6)) * random.uniform(0.7, 1.3) if down else PAUSE  # noqa: S311  (jitter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await (asyncio.sleep(pause) if down else self._wake.wait())

    async def _round(self) -> bool:
        """All that is due; True when it cannot go on now: cc-backend (or NATS) is down, or the token is bad."""
        while due := self._outbox.due(time.time()):
            for delivery in due:
                try:
                    answer = await self._send(delivery)
                except PeerError as e:
                    self._failures += 1
                    self._log.throttled(60, "backend.down", why=str(e)[:300], waiting=self._outbox.waiting())
                    return True
                self._failures = 0
                self._settle(delivery, answer)
        return False

    def _settle(self, d: Delivery, answer: Delivered) -> None:
        keys = {"cluster": d.cluster, "job": d.key.id, "kind": d.kind}
        if answer.outcome in (Outcome.DONE, Outcome.KNOWN):
            self._log.info("job.delivered", already=answer.outcome is Outcome.KNOWN, **keys)
            self._ledger.gave(1)
            self._settled(d, True)
        else:
            # A stop of a job that cc-backend does not have is no loss; a refused start is, so it says why.
            (self._log.error if d.kind == "start" else self._log.warning)("job.rejected", text=answer.text[:500], **keys)
            self._settled(d, False)

    async def _send(self, d: Delivery) -> Delivered:
        """A final answer. PeerError: later."""
        if not self._config.cc_rest_submit_jobs or time.monotonic() < self._rest_again:
            return await self._by_nats(d)
        answer = await (self._backend.start_job(d.body) if d.kind == "start" else self._backend.stop_job(d.body))
        if answer.outcome is Outcome.NO_ROUTE:
            self._rest_again = time.monotonic() + self._config.cc_poll_interval
            if self._nats is not None:
                self._log.warning("backend.no_rest_routes", consequence="jobs go by NATS only", subject=self._config.nats_subject)
            return await self._by_nats(d)
        if answer.outcome is Outcome.DONE and self._nats is not None:
            try:
                await self._nats.publish(self._config.nats_subject, self._line(d))
            except PeerError as e:
                self._log.throttled(60, "nats.not_published", text=str(e))
        return answer

    async def _by_nats(self, d: Delivery) -> Delivered:
        if self._nats is None:
            raise PeerError("cc-backend", "takes jobs by NATS only: set natsServer and natsSubject")
        await self._nats.publish(self._config.nats_subject, self._line(d), flushed=True)
        return Delivered(Outcome.DONE, 0, "")

    def _line(self, d: Delivery) -> bytes:
        return event_line(d.kind, self._host, d.partition, d.body, d.time)
