"""Queue, processing, encoding, batches, retry and spool of one sink. The driver only sends bytes.

    put → queue → processor → encoder → batch → waiting (memory) → driver
                                          └→ spool (disk) ──────────┘

- `put` never blocks. When the queue is full it is encoded at once; when more batches wait than memory may hold, all of them
  go to the spool; without a spool the oldest is dropped and counted.
- While the spool holds anything, every new batch goes behind it, so the peer sees the order in which samples were taken.
- What the disk has no room for stays in memory, up to a bound, and is tried again; over the bound the oldest is dropped and counted.
- A batch leaves the spool after the driver accepted it: after a crash at most one batch is sent twice.
- What a peer refuses for good is counted and not sent again; everything else is tried until it is accepted.
- Batches carry tickets in the order in which they were cut; all before a ticket are safe when it is, because memory and spool
  are emptied and filled in that order. `settled` waits for a ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import msgspec
from ccdaemon.errors import PeerError
from ccdaemon.executors import Pool
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccdaemon.retry import Backoff
from ccmessage.encode import Batch, Encoder
from ccmessage.message import Message

from ..base import Refused, Retry, Sink

QUEUE = 100_000  # messages not yet encoded
BATCH_BYTES = 1 << 20
WAITING = 8  # batches in memory before they go to disk
WAITING_WITHOUT_SPOOL = 64
RETRY_DISK = 10.0  # seconds until a disk that took nothing is tried again
REMIND = 300.0  # seconds between reminders that a peer is still away
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries


class Processes(Protocol):
    """A message processor: what is no Message was dropped."""

    def apply(self, m: Message) -> object: ...


class Spooled(Protocol):
    """What the runner needs of a spool; called in one thread only."""

    appended: int  # calls of append since it was opened, failed ones too
    lines: int  # what it held when it was opened

    def append(self, batch: Batch) -> tuple[int, int]:
        """(its number, lines dropped from the old end to make room). OSError."""

    def head(self) -> tuple[int, Batch] | None:
        """The oldest batch and its number."""

    def pop(self, number: int) -> bool:
        """Forget a batch that was sent; False if it had been dropped meanwhile."""

    def lost(self) -> int:
        """Lines found damaged since the last call."""

    def close(self) -> None: ...


class Options(msgspec.Struct, frozen=True):
    """`flush_delay` in seconds, 0 = a batch for every hand-over."""

    flush_delay: float
    batch_size: int
    first_pause: float = FIRST_PAUSE
    longest_pause: float = LONGEST_PAUSE


class Held(NamedTuple):
    """A batch in memory and its ticket."""

    ticket: int
    batch: Batch


class SinkRunner:
    """A sink at work. `start` and `stop` on the loop; `put` on the loop too."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        options: Options,
        *,
        encoder: Encoder,
        processor: Processes | None,
        spool: Spooled | None,
        ledger: Ledger,
        log: Log,
    ) -> None:
        self.name = name
        self.spooled = sink.spooled
        self._sink = sink
        self._options = options
        self._encoder = encoder
        self._processor = processor
        self._spool = spool
        self._ledger = ledger
        self._log = log.bind(sink=name)
        self._queue: deque[Message] = deque()
        self._ticket = 0  # of the last batch that was cut
        self._settled = 0  # all tickets up to this are sent or on disk or lost
        self._asked: list[tuple[int, asyncio.Future[bool]]] = []
        self._waiting: deque[Held] = deque()  # in memory, oldest first; empty while the spool is in use
        self._unwritten: deque[Held] = deque()  # in use of the spool: what the disk did not take, oldest first
        self._writing = False  # the first of `_unwritten` is tried again
        self._reached = 0  # the highest ticket that is safe; below it only `_unwritten` may not be
        self._in_spool = spool is not None  # until the first look says that it is empty
        self._handed = 0  # batches handed to the spool's thread
        self._sending = False  # the first of `_waiting`, or the spool's head
        self._moved: Future[tuple[int, int]] | None = None  # the batch that is being sent was put into the spool meanwhile
        self._moved_ticket = 0  # its ticket
        self._backoff = Backoff(options.first_pause, options.longest_pause)
        self._failures = 0
        self._said = 0.0  # when the log last said that the peer is away
        self._filled = asyncio.Event()
        self._ready = asyncio.Event()
        self._safe = asyncio.Event()  # no batch is in memory only
        self._timer: asyncio.TimerHandle | None = None
        self._disk_timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._disk = Pool(f"spool-{name}", 1, waiting=256) if spool is not None else None

    async def start(self) -> None:
        """Open the driver; OperatorError is the caller's business."""
        await self._sink.open()
        self._loop = asyncio.get_running_loop()
        if self._spool is not None:
            self._ledger.took(self._spool.lines)
            self._ready.set()
        self._tasks = [asyncio.create_task(self._fill()), asyncio.create_task(self._drain())]

    def put(self, ms: Sequence[Message]) -> None:
        """Take messages over. Never blocks, never raises."""
        self._ledger.took(len(ms))
        if len(self._queue) + len(ms) > QUEUE:
            self._encode()
        self._queue.extend(ms)
        self._filled.set()

    async def settled(self) -> bool:
        """Wait until everything that was put before is accepted by the peer or on disk; False if some of it was lost."""
        pending = self._queue or self._encoder.lines
        ticket = self._ticket + 1 if pending else self._ticket
        if ticket <= self._settled:
            return True
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._asked.append((ticket, answer))
        return await answer

    def _settle(self, ticket: int) -> None:
        self._reached = max(self._reached, ticket)
        open_ = self._unwritten[0].ticket - 1 if self._unwritten else self._reached
        self._settled = max(self._settled, min(self._reached, open_))
        self._answer(True, lambda asked: asked <= self._settled)

    def _answer(self, result: bool, due: Callable[[int], bool]) -> None:
        answers = [answer for asked, answer in self._asked if due(asked) and not answer.done()]
        self._asked = [entry for entry in self._asked if not due(entry[0])]
        for answer in answers:
            answer.set_result(result)

    @property
    def away(self) -> bool:
        """The last try to send failed."""
        return self._failures > 0

    @property
    def full(self) -> bool:
        """What is put now would push something older out."""
        return len(self._waiting if self._spool is None else self._unwritten) >= WAITING_WITHOUT_SPOOL

    # queue → batches

    async def _fill(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._encode()
            if not self._encoder.lines:  # rules dropped everything: no batch will come of it
                self._asked = [(min(asked, self._ticket), answer) for asked, answer in self._asked]
                self._settle(self._settled)
                continue
            if self._options.flush_delay <= 0:
                self._cut()
            elif self._timer is None:
                self._timer = self._loop.call_later(self._options.flush_delay, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._encode()
        self._cut()

    def _encode(self) -> None:
        while self._queue:
            message = self._queue.popleft()
            if self._processor is not None:
                processed = self._processor.apply(message)
                if not isinstance(processed, Message):
                    self._ledger.refused("dropped by a rule", 1)
                    continue
                message = processed
            before = self._encoder.lines
            self._encoder.add(message)
            if self._encoder.lines == before:
                self._ledger.refused("cannot be encoded", 1, message.head.name)
            elif self._encoder.lines >= self._options.batch_size or self._encoder.size >= BATCH_BYTES:
                self._cut()

    def _cut(self) -> None:
        if self._encoder.lines:
            self._ticket += 1
            self._hold(Held(self._ticket, self._encoder.take()))

    def _hold(self, held: Held) -> None:
        if self._unwritten:
            self._keep(held)
        elif self._in_spool:
            self._to_disk(held)
        else:
            self._waiting.append(held)
            self._safe.clear()
            if len(self._waiting) > (WAITING if self._spool is not None else WAITING_WITHOUT_SPOOL):
                self._overflow()
        self._ready.set()

    def _overflow(self) -> None:
        if self._spool is not None:
            self._move_to_spool()
            return
        # The first may be on its way: the oldest behind it goes.
        dropped = self._waiting[1]
        del self._waiting[1]
        self._lost(dropped.batch.lines, "queue full", dropped.ticket)

    # batches → spool

    def _move_to_spool(self) -> None:
        """All batches in memory, the one that is being sent first."""
        self._in_spool = True
        first = self._waiting.popleft()
        future = self._to_disk(first)
        if self._sending:
            self._moved, self._moved_ticket = future, first.ticket
        while self._waiting:
            self._to_disk(self._waiting.popleft())
        self._safe.set()

    def _to_disk(self, held: Held) -> Future[tuple[int, int]] | None:
        assert self._disk is not None and self._spool is not None
        try:
            future = self._disk.submit(self._spool.append, held.batch)
        except PeerError:
            self._keep(held)
            return None
        self._handed += 1
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._appended, done, held))
        return future

    def _appended(self, done: Future[tuple[int, int]], held: Held) -> None:
        again = self._writing and bool(self._unwritten) and self._unwritten[0] is held
        self._writing = self._writing and not again
        if (error := done.exception()) is not None:
            if isinstance(error, OSError) and error.errno != errno.EFBIG and self._tasks:
                self._log.throttled(60, "sink.disk", error=str(error), remedy="make room: what does not fit into memory is lost")
                self._keep(held)
                return
            self._lost(held.batch.lines, f"spool: {error}", held.ticket)
        elif dropped := done.result()[1]:
            self._lost(dropped, "spool full, oldest dropped", 0)
        if again:
            self._unwritten.popleft()
            self._write_again()
        self._settle(held.ticket)

    def _keep(self, held: Held) -> None:
        """In memory until the disk has room or the peer is back."""
        if held not in self._unwritten:
            insort(self._unwritten, held, key=lambda h: h.ticket)
        if len(self._unwritten) > WAITING_WITHOUT_SPOOL:
            place = int(self._writing)  # the first may be on its way
            dropped = self._unwritten[place]
            del self._unwritten[place]
            self._lost(dropped.batch.lines, "disk full, oldest dropped", dropped.ticket)
        if self._disk_timer is None:
            self._disk_timer = self._loop.call_later(RETRY_DISK, self._disk_again)

    def _disk_again(self) -> None:
        self._disk_timer = None
        self._write_again()

    def _write_again(self) -> None:
        """Try the oldest that the disk did not take; the next ones follow when it is there."""
        if not self._unwritten or self._writing or not self._in_spool or not self._tasks:
            return
        self._writing = True
        held = self._unwritten[0]
        future = self._to_disk(held)
        if future is None:
            self._writing = False
        if held.ticket == self._moved_ticket:
            self._moved = future
        self._ready.set()

    def _lost(self, lines: int, why: str, ticket: int) -> None:
        """`ticket` of the batch, 0 where it was settled before."""
        if ticket:
            self._answer(False, lambda asked: asked >= ticket)
        self._ledger.refused(why.partition(":")[0], lines)
        self._log.throttled(60, "sink.lost", lines=lines, why=why)

    # batches → driver

    async def _drain(self) -> None:
        while True:
            await self._ready.wait()
            if (found := await self._next()) is None:
                continue
            number, batch = found
            self._sending, self._moved, self._moved_ticket = True, None, 0
            try:
                refused = await self._send(batch)
            finally:
                self._sending = False
            if refused is not None:
                await self._done(number, batch, refused)

    async def _next(self) -> tuple[int | None, Batch] | None:
        """The oldest batch and its number in the spool, or None when there is none (then `_ready` is cleared)."""
        while self._in_spool:
            assert self._disk is not None and self._spool is not None
            found, appended, damaged = await self._disk.run(_look, self._spool)
            if damaged:
                self._lost(damaged, "damaged in the spool", 0)
            if found is not None:
                return found
            if appended == self._handed:  # nothing on its way either
                self._in_spool = False
                self._waiting.extend(self._unwritten)
                self._unwritten.clear()
        if self._waiting:
            return None, self._waiting[0].batch
        self._ready.clear()
        self._safe.set()
        return None

    async def _send(self, batch: Batch) -> int | None:
        """Lines refused for good, 0 = all accepted; None: to be tried again, after a pause that is over."""
        refused = 0
        try:
            await self._sink.send(batch)
        except Refused as error:
            refused = batch.lines if error.lines is None else error.lines
            self._log.throttled(60, "sink.refused", lines=refused, why=error.reason)
        except Retry as retry:
            await self._wait_after(retry)
            return None
        except Exception as error:  # a driver's defect must not stop the sink
            await self._wait_after(Retry(f"{type(error).__name__}: {error}"))
            return None
        if self._failures:
            self._log.notice("sink.back", failures=self._failures)
            self._failures = 0
            self._backoff.reset()
        return refused

    async def _wait_after(self, retry: Retry) -> None:
        self._failures += 1
        now = self._loop.time()
        if self._failures == 1 or now - self._said > REMIND:
            self._log.warning("sink.away", why=retry.reason, failures=self._failures, spool=self._spool is not None)
            self._said = now
        if self._spool is not None and not self._in_spool:
            self._move_to_spool()  # the batch is the spool's head now and will be read from there
        await asyncio.sleep(self._backoff.next(retry.after))

    async def _done(self, number: int | None, batch: Batch, refused: int) -> None:
        """The peer has judged a batch: forget and count it, unless the spool has dropped (and counted) it meanwhile."""
        if self._moved_ticket:
            try:
                number = (await asyncio.wrap_future(self._moved))[0] if self._moved is not None else None
            except OSError:
                number = None
            if number is None and not self._accepted(self._moved_ticket):
                return  # it never reached the disk and is counted as lost
        elif number is None:
            self._settle(self._waiting.popleft().ticket)
        if number is not None and self._disk is not None and self._spool is not None and not await self._disk.run(self._spool.pop, number):
            return
        if refused:
            self._ledger.refused("refused by the peer", refused)
        self._ledger.gave(batch.lines - refused)

    def _accepted(self, ticket: int) -> bool:
        """Forget a batch in memory that the disk did not take and the peer has; False if it is not there."""
        held = next((h for h in self._unwritten if h.ticket == ticket), None)
        if held is None:
            return False
        self._unwritten.remove(held)
        self._settle(ticket)
        return True

    async def stop(self, deadline: float) -> None:
        """Flush; send what is in memory within the deadline; the rest goes to the spool, or is counted as lost."""
        end = asyncio.get_running_loop().time() + deadline
        if not self._tasks:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._disk_timer is not None:
            self._disk_timer.cancel()
        self._encode()
        self._cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._safe.wait(), 0.7 * deadline)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._spool is not None and self._disk is not None:
            last_try = list(self._unwritten)[int(self._writing) :]
            self._unwritten.clear()
            for held in last_try:
                self._to_disk(held)
            if self._waiting:
                self._move_to_spool()
            await self._disk.run(self._spool.close)
            self._disk.close(max(0.1, end - self._loop.time()))
        for held in (*self._waiting, *self._unwritten):
            self._lost(held.batch.lines, "stopped while the peer was away", held.ticket)
        self._unwritten.clear()
        self._settle(self._ticket)
        await self._sink.close()


def _look(spool: Spooled) -> tuple[tuple[int, Batch] | None, int, int]:
    return spool.head(), spool.appended, spool.lost()
