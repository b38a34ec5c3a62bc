"""When workers run: every so often, or daily at a local time; never two runs of one worker at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from ccdaemon.errors import DaemonError
from ccdaemon.log import Log


class Every(msgspec.Struct, frozen=True):
    """First after one interval (seconds)."""

    seconds: float


class Daily(msgspec.Struct, frozen=True):
    """Local time."""

    hour: int
    minute: int = 0


class Report(msgspec.Struct, frozen=True):
    """What a run did: how many things, and how many of them failed."""

    done: int = 0
    failed: int = 0


class Worker(Protocol):
    name: str

    @property
    def when(self) -> Every | Daily: ...

    async def run_once(self, now: int) -> Report: ...


def pause_until_next(when: Every | Daily, now: float) -> float:
    """Seconds until the next run after `now`."""
    if isinstance(when, Every):
        return when.seconds
    local = datetime.fromtimestamp(now).astimezone()
    due = local.replace(hour=when.hour, minute=when.minute, second=0, microsecond=0)
    if due <= local:
        due = (due + timedelta(days=1)).replace(hour=when.hour, minute=when.minute)
    return max(1.0, due.timestamp() - now)


class Schedule:
    """A Part that runs workers, each in a task of its own. A run that fails is logged, the next one comes at its time."""

    name = "schedule"

    def __init__(self, workers: Sequence[Worker], log: Log, clock: Callable[[], float] = time.time) -> None:
        self._workers = workers
        self._log = log
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for worker in self._workers:
            if isinstance(worker.when, Every) and worker.when.seconds <= 0:
                self._log.notice("worker.off", worker=worker.name)
                continue
            self._tasks.append(asyncio.get_running_loop().create_task(self._run(worker), name=worker.name))

    async def stop(self, deadline: float) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)

    async def _run(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(pause_until_next(worker.when, self._clock()))
            try:
                report = await worker.run_once(int(self._clock()))
                self._log.debug("worker.done", worker=worker.name, done=report.done, failed=report.failed)
            except DaemonError as e:
                self._log.error("worker.failed", worker=worker.name, reason=str(e))
            except Exception as e:
                self._log.bug(f"BUG: worker {worker.name}", e)
