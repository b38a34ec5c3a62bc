"""The log: one thread that writes, one that syncs (architecture 3, Durability 2 to 5, 7, 8).

The loop appends and gets a `Ticket`; the thread takes what is queued, writes once per host, and settles the tickets: a settled
ticket without error stands in the files of its hosts and survives a kill -9. Everything that touches a host's folder while the
store runs goes through this queue, so no order between log, snapshots and erasing is left to chance.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ccdaemon.log import Log

from ..registry import HostKey, SeriesKey
from .hostlog import HostLog
from .records import encode_free
from .sync import sync_file_system

if TYPE_CHECKING:
    from ..ingest import Record

QUEUE_LIMIT = 64 << 20
"""Bytes of samples that may wait for the thread; `room` is False above."""
SAMPLE_BYTES = 16


T = TypeVar("T")


class WriteFailed(Exception):
    """The log of a host could not be written: nothing is promised, the sender repeats (which is harmless)."""


class KeysOf(Protocol):
    def __call__(self, host: HostKey, ids: range, /) -> Sequence[SeriesKey]: ...


class Ticket:
    """One batch on its way to the log. `left` counts hosts not yet written; error: the first that failed."""

    __slots__ = ("error", "left", "waiter")

    def __init__(self, left: int) -> None:
        self.left = left
        self.error: WriteFailed | None = None
        self.waiter: object = None  # the server's future; not touched here


class _Job:
    """A thing to do for a host, in the queue's order: a record (frames made by the thread) or a call."""

    __slots__ = ("call", "future", "host", "keys", "record", "ticket", "top", "weight")

    def __init__(self, host: HostKey, *, record: Record | bytes | None = None, keys: Sequence[SeriesKey] = (), ticket: Ticket | None = None,
                 call: Callable[[HostLog], object] | None = None, future: Future[Any] | None = None) -> None:  # fmt: skip
        self.host = host
        self.record = record
        self.keys = keys
        self.ticket = ticket
        self.call = call
        self.future = future
        self.top = -1  # the highest id of the record
        self.weight = 200 if record is None or isinstance(record, bytes) else len(record.ids) * SAMPLE_BYTES + 200


class Wal:
    """`append`, `free`, `cut` … are called by one thread (the loop); `settled` is called by the writer thread with finished tickets."""

    def __init__(self, root: Path, *, log: Log, settled: Callable[[list[Ticket]], None], sync_interval: float = 1.0,
                 max_size: int = 0, queue_limit: int = QUEUE_LIMIT, open_files: int | None = None) -> None:  # fmt: skip
        """max_size: bytes of a host's parts at which `due` names it, 0 = never; sync_interval 0: tickets wait for the sync."""
        self.root = root
        self._log = log
        self._settled = settled
        self._sync_interval = sync_interval
        self._max_size = max_size
        self._limit = queue_limit
        self._open_files = open_files or _files_allowed()
        self._queue: list[_Job] = []
        self._queued = 0
        self._wake = threading.Condition()
        self._catalogues: dict[HostKey, list[SeriesKey]] = {}
        self._hosts: dict[HostKey, HostLog] = {}
        self._open: OrderedDict[HostKey, None] = OrderedDict()
        self._due: set[HostKey] = set()
        self._unsynced: set[HostKey] = set()
        self._closing = False
        self._sync_failed = False
        self._synced = threading.Event()
        self._writer = threading.Thread(target=self._write_loop, name="wal-writer", daemon=True)
        self._syncer = threading.Thread(target=self._sync_loop, name="wal-sync", daemon=True)
        self.records = 0
        self.written_bytes = 0
        self.failures = 0

    def start(self) -> None:
        """OSError: the folder cannot be made."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._writer.start()
        if self._sync_interval > 0:
            self._syncer.start()

    # ---- by the loop

    def room(self) -> bool:
        """Asked before a batch is ingested; False: wait until a ticket settles."""
        return self._queued < self._limit

    def append(self, records: Sequence[Record], keys_of: KeysOf) -> Ticket:
        """In the same turn as the `ingest` that made the records. A ticket of no records is settled at once (left 0)."""
        ticket = Ticket(len(records))
        jobs: list[_Job] = []
        for record in records:
            keys = self._catalogues.setdefault(record.host, [])
            job = _Job(record.host, record=record, keys=keys, ticket=ticket)
            job.top = int(record.ids.max())
            if job.top >= len(keys):
                keys.extend(keys_of(record.host, range(len(keys), job.top + 1)))
            jobs.append(job)
        self._put(jobs)
        return ticket

    def free(self, host: HostKey, levels: Sequence[str], before: int) -> Ticket:
        """Logs that `Engine.free` freed below `levels` of a host."""
        ticket = Ticket(1)
        self._put([_Job(host, record=encode_free(levels, before), ticket=ticket)])
        return ticket

    def cut(self, host: HostKey) -> Future[int]:
        """In the same turn as the `view` of a snapshot; gives the number of the first part behind it."""
        return self._call(host, HostLog.cut)

    def publish(self, host: HostKey, tmp: Path, final: Path) -> Future[bool]:
        """Renames a written and synced snapshot; False: the host was forgotten meanwhile."""
        return self._call(host, lambda log: log.publish(tmp, final))

    def supersede(self, host: HostKey, by: Path, next_part: int) -> Future[None]:
        """Removes what a safe snapshot contains."""
        return self._call(host, lambda log: log.supersede(by, next_part))

    def forget(self, host: HostKey) -> Future[None]:
        """The engine holds nothing of the host any more: its files go, its ids begin anew."""
        self._catalogues.pop(host, None)
        return self._call(host, HostLog.erase)

    def size(self, host: HostKey) -> Future[int]:
        """Bytes of all parts of a host; looks at the folder if the log does not know the host yet."""
        return self._call(host, lambda log: log.total)

    def take_due(self) -> set[HostKey]:
        """Hosts that want a snapshot: log above `max_size`, or a failed write or sync."""
        with self._wake:
            due, self._due = self._due, set()
        return due

    @property
    def sync_failed(self) -> bool:
        """Since a sync failed, until one succeeds again: a power cut could take what was acknowledged."""
        return self._sync_failed

    @property
    def queued_bytes(self) -> int:
        return self._queued

    def sizes(self) -> dict[HostKey, int]:
        """Bytes of log per host that was touched since the start."""
        return {host: log.total for host, log in list(self._hosts.items())}

    def close(self, deadline: float) -> bool:
        """Writes what is queued, syncs, closes; False if the deadline came first."""
        until = time.monotonic() + deadline
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._synced.set()
        if self._writer.ident is not None:
            self._writer.join(max(0.0, until - time.monotonic()))
        if self._syncer.ident is not None:
            self._syncer.join(max(0.0, until - time.monotonic()))
        return not self._writer.is_alive() and not self._syncer.is_alive()

    def _call(self, host: HostKey, call: Callable[[HostLog], T]) -> Future[T]:
        future: Future[T] = Future()
        self._put([_Job(host, call=call, future=future)])
        return future

    def _put(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        with self._wake:
            if self._closing:
                raise WriteFailed("the log is closed")
            self._queue += jobs
            self._queued += sum([j.weight for j in jobs])
            self._wake.notify()

    # ---- the writer thread

    def _write_loop(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                jobs, self._queue = self._queue, []
                if not jobs:
                    break
            self._round(jobs)
        for log in self._hosts.values():
            log.park()

    def _round(self, jobs: list[_Job]) -> None:
        """One write per host between two calls for it, then the tickets."""
        by_host: dict[HostKey, list[_Job]] = {}
        for job in jobs:
            by_host.setdefault(job.host, []).append(job)
        settled: list[Ticket] = []
        for host, its in by_host.items():
            for records, call in _runs(its):
                if records:
                    self._write(host, records, settled)
                if call is not None:
                    self._do(host, call)
        if self._sync_interval == 0 and settled:
            self._sync()
            if self._sync_failed:
                for ticket in settled:
                    ticket.error = ticket.error or WriteFailed("the sync of the log failed")
        with self._wake:
            self._queued -= sum([j.weight for j in jobs])
        if settled:
            self._settled(settled)

    def _write(self, host: HostKey, jobs: list[_Job], settled: list[Ticket]) -> None:
        error: WriteFailed | None = None
        try:
            log = self._host(host)
            declared: set[int] = set()
            pieces: list[bytes] = []
            for job in jobs:
                if isinstance(job.record, bytes):
                    pieces.append(job.record)
                elif job.record is not None:
                    pieces += log.encode(job.record, job.top, job.keys, declared)
            log.write(pieces)
            log.declare(declared)
            self.records += len(jobs)
            self.written_bytes += sum(map(len, pieces))
            self._unsynced.add(host)
            if self._max_size and log.total > self._max_size:
                self._want(host)
            self._keep_few_open(host, log)
        except Exception as e:  # whatever it is, its sender is told and the other hosts go on
            self.failures += len(jobs)
            error = WriteFailed(f"log of {host.host}: {e}")
            self._log.throttled(10.0, "wal.write-failed", cluster=host.cluster, host=host.host, error=str(e))
            self._want(host)
        for job in jobs:
            if job.ticket is not None:
                job.ticket.error = job.ticket.error or error
                job.ticket.left -= 1
                if job.ticket.left == 0:
                    settled.append(job.ticket)

    def _do(self, host: HostKey, job: _Job) -> None:
        assert job.call is not None and job.future is not None
        try:
            log = self._host(host)
            result = job.call(log)
            self._keep_few_open(host, log)
        except Exception as e:  # the caller decides; the thread goes on for the other hosts
            job.future.set_exception(e)
        else:
            job.future.set_result(result)

    def _host(self, host: HostKey) -> HostLog:
        log = self._hosts.get(host)
        if log is None:
            log = self._hosts[host] = HostLog(self.root, host)
        return log

    def _keep_few_open(self, host: HostKey, log: HostLog) -> None:
        if not log.is_open:
            self._open.pop(host, None)
            return
        self._open[host] = None
        self._open.move_to_end(host)
        while len(self._open) > self._open_files:
            oldest, _ = self._open.popitem(last=False)
            self._hosts[oldest].park()

    def _want(self, host: HostKey) -> None:
        with self._wake:
            self._due.add(host)

    # ---- the sync thread

    def _sync_loop(self) -> None:
        while not self._synced.wait(self._sync_interval):
            if self._unsynced:
                self._sync()
        self._writer.join()
        self._sync()

    def _sync(self) -> None:
        """One sync for all files. A failed one may have dropped pages: every host written since the last good one is due."""
        hosts, self._unsynced = self._unsynced, set()
        try:
            sync_file_system(self.root)
        except OSError as e:
            self._sync_failed = True
            self._log.throttled(10.0, "wal.sync-failed", error=str(e))
            with self._wake:
                self._due |= hosts
            self._unsynced |= hosts
        else:
            self._sync_failed = False


def _runs(jobs: list[_Job]) -> list[tuple[list[_Job], _Job | None]]:
    """Records up to the next call, call; the order of one host's jobs is kept."""
    if len(jobs) == 1 and jobs[0].call is None:
        return [(jobs, None)]
    runs: list[tuple[list[_Job], _Job | None]] = []
    records: list[_Job] = []
    for job in jobs:
        if job.call is None:
            records.append(job)
        else:
            runs.append((records, job))
            records = []
    if records:
        runs.append((records, None))
    return runs


def _files_allowed() -> int:
    """Log files held open: half of what the process may open, at most 20,000."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 20_000
    return max(16, min(soft // 2, 20_000))
