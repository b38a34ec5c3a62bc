"""Job events over NATS, beside REST: the same checks and the same service, only nobody is answered.

Events of a subscription are handled in the order in which they come, so a stop never overtakes its start. A stop whose job is
unknown waits for it a short time (the start may come by REST).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from ccdaemon.errors import InputError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.decode import LineError, decode
from ccmessage.message import Message

from cc_backend.access import SYSTEM
from cc_backend.errors import AlreadyStopped, Duplicate, NotFound
from cc_backend.jobs.lifecycle import StopRequest
from cc_backend.jobs.service import JobService

from .bodies import decode_start, decode_stop

STOP_RETRIES: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries to stop a job that is not known yet."""
MAX_WAITING: Final = 10_000
"""Stops that wait for their start; more are refused and counted."""


class JobEvents:
    """A Part: `handle` is the subscription's handler. Every line is counted: took = gave + refused + held."""

    name = "job events"

    def __init__(self, service: JobService, ledger: Ledger, log: Log) -> None:
        self._service = service
        self._ledger = ledger
        self._log = log
        self._waiting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Nothing to do: the subscription calls."""

    async def stop(self, deadline: float) -> None:
        """Stops that still wait for their start are given up; the adapter's next sync repeats them."""
        for task in self._waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._waiting, return_exceptions=True)

    async def handle(self, subject: str, data: bytes) -> None:
        """One message with one or more lines; never raises."""
        if not data.strip():
            self._log.warning("nats.empty_message", subject=subject)
            return
        for line in decode(data, precision="ns", default_ns=None):
            self._ledger.took(1)
            if isinstance(line, LineError):
                self._refuse("malformed", subject, str(line))
            else:
                await self._line(subject, line)

    async def _line(self, subject: str, line: Message) -> None:
        event, function = line.fields.get("event"), line.head.tags.get("function")
        if line.head.name != "job" or not isinstance(event, str):
            self._refuse("no job event", subject, f"measurement '{line.head.name}'")
            return
        try:
            if function == "start_job":
                await self._service.start(decode_start(event.encode()), SYSTEM)
            elif function == "stop_job":
                await self._stop(decode_stop(event.encode()))
                return
            else:
                raise InputError(f"the tag function is '{function}'")
        except Duplicate as e:  # it came by REST
            self._ledger.refused("duplicate", 1)
            self._log.debug("nats.duplicate", reason=str(e))
        except (InputError, ValueError) as e:
            self._refuse("refused", subject, str(e))
        except Exception as e:
            self._ledger.refused("error", 1)
            self._log.bug("BUG: nats job event", e, subject=subject)
        else:
            self._ledger.gave(1)

    async def _stop(self, stop: StopRequest) -> None:
        if await self._try_to_stop(stop, last=False):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._refuse("too many stops without start", "", f"job {stop.job_id}")
            return
        task = asyncio.get_running_loop().create_task(self._stop_later(stop))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _stop_later(self, stop: StopRequest) -> None:
        for number, pause in enumerate(STOP_RETRIES, 1):
            await asyncio.sleep(pause)
            if await self._try_to_stop(stop, last=number == len(STOP_RETRIES)):
                return

    async def _try_to_stop(self, stop: StopRequest, *, last: bool) -> bool:
        """False where the job is unknown and it is worth asking again."""
        try:
            await self._service.stop(stop)
        except NotFound as e:
            if last:
                self._refuse("unknown job", "", f"job {stop.job_id} of cluster {stop.cluster}: {e}")
            return last
        except AlreadyStopped as e:
            self._ledger.refused("duplicate", 1)
            self._log.debug("nats.duplicate", reason=str(e))
        except InputError as e:
            self._refuse("refused", "", str(e))
        except Exception as e:
            self._ledger.refused("error", 1)
            self._log.bug("BUG: nats stop event", e)
        else:
            self._ledger.gave(1)
        return True

    def _refuse(self, why: str, subject: str, reason: str) -> None:
        self._ledger.refused(why, 1)
        self._log.error("nats.refused", why=why, subject=subject, reason=reason[:500])
