"""The metric store as one part: engine, WAL, background tasks, ingest. cc-metric-store and cc-backend both mount it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import msgspec
from ccdaemon.errors import OperatorError, PeerError
from ccdaemon.executors import Pool
from ccdaemon.files import locked
from ccdaemon.ledger import Registry
from ccdaemon.log import Log
from ccschema.api import ApiQuery, QueryRequest

from .. import kernels
from ..engine import Engine
from ..health import Health
from ..ingest import Ingested, Reason
from ..metrics import MetricTable
from ..persist.wal import Ticket, Wal, WriteFailed
from ..query import Row
from ..registry import HostKey
from .checkpoints import Checkpointer
from .config import StoreConfig
from .loading import Loader
from .measures import show
from .tasks import Tasks

SLICE = 1 << 20
"""Bytes of a body that are ingested in one turn of the loop."""
PATIENCE = 20.0
"""Seconds that a sender waits for room in the log or for its host to be loaded before it gets a 503."""
WATCH = 1.0
"""Seconds between two looks for senders that wait too long."""
LOCK = ".lock"


class WriteAnswer(msgspec.Struct):
    """What became of a batch. status: 200 all well-formed, 400 some lines malformed (the good ones are stored), 429, 503."""

    status: int
    stored: int
    refused: Counter[str]
    errors: list[str]


class Store:
    """A Part (phase KEEP) that owns Engine and Wal."""

    name = "metric-store"
    engine: Engine

    def __init__(self, config: StoreConfig, *, tables: Mapping[str, MetricTable], default: MetricTable | None,
                 log: Log, registry: Registry, minimum_points: int = 1000) -> None:  # fmt: skip
        """tables: by cluster; default: for all others. Neither: no list yet, ingest answers 503 until `set_metrics` (design S2).

        minimum_points: length below which a series is never resampled (cc-backend's `main.resampling.minimum-points`)."""
        self.config = config
        self._log = log
        cap = max(0, config.memory_cap) * 10**9
        self.engine = Engine(
            tables=tables or None,
            default=default,
            retention=max(0, int(config.retention_in_memory)),
            memory_cap=cap,
            max_series=config.max_series,
            minimum_points=minimum_points,
        )
        self._files = Pool("store-files", config.workers)
        self._readers = Pool("store-query", max(2, config.workers))
        self._root = config.directory
        self._wal = Wal(self._root, log=log, settled=self._settled, sync_interval=config.checkpoints.sync_interval,
                        max_size=config.checkpoints.max_wal_size)  # fmt: skip
        self._tables, self._default = tables, default
        self._loader = Loader(self.engine, self._root, self._files, readers=config.workers, memory_cap=cap,
                              retention=config.retention_in_memory, keep=config.cleanup.mode == "archive", frequency_of=self._frequency, log=log)  # fmt: skip

        self._checkpoints = Checkpointer(
            self.engine,
            self._wal,
            self._root,
            self._files,
            interval=config.interval,
            json=config.checkpoints.file_format == "json",
            log=log,
            whole=self._loader.whole,
        )
        self._tasks = Tasks(self.engine, self._wal, self._loader, self._checkpoints, self._files, config, log=log)
        self._held = ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()
        self._waiting: deque[tuple[float, Ticket]] = deque()
        self._running: list[asyncio.Task[None]] = []
        self._ledger = registry.ledger("ingest")
        show(registry, self.engine, self._wal, self._checkpoints, self._loader)

    # ---- life

    async def start(self) -> None:
        """Returns as soon as ingest is safe; loading goes on in the background. OperatorError: folder unusable or in use."""
        self._loop = asyncio.get_running_loop()
        try:
            self._wal.start()
            self._held.enter_context(locked(self._root / LOCK))
            await self._loader.prepare()
        except OSError as e:
            raise OperatorError(f"metric-store.checkpoints.directory: {e}", "make the folder writable for this user") from e
        try:
            await self._tasks.prepare()
        except OSError as e:
            raise OperatorError(f"metric-store.cleanup.directory: {e}", "make the folder readable and writable for this user") from e
        parts = (self._tasks.run(), self._load(), self._load_kernel(), self._watch())
        self._running = [asyncio.create_task(part, name="store") for part in parts]

    async def _load_kernel(self) -> None:
        """Half a second with a warm cache, some without: the slow path serves meanwhile."""
        kernel, text = await self._readers.run(kernels.load)
        self.engine.use_kernel(kernel)
        (self._log.info if kernel is not None else self._log.warning)("store.kernel", text=text)

    async def _load(self) -> None:
        await self._loader.run()
        self._checkpoints.replayed(self._loader.replayed)

    async def stop(self, deadline: float) -> None:
        """Checkpoint of all hosts within the deadline; what is left stays in the log."""
        if self._loop is None:
            return
        until = time.monotonic() + deadline
        self._tasks.finish()
        if not self.loading:
            await asyncio.wait(self._running[:1], timeout=deadline / 2)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            async with asyncio.timeout(max(0.1, until - time.monotonic() - 2.0)):
                await self._checkpoints.take(self._checkpoints.all())
        except TimeoutError:
            self._log.warning("store.stop-incomplete", hosts=self._checkpoints.waiting, text="their log parts stay for the next start")
        if not await self._files.run(self._wal.close, max(0.5, until - time.monotonic() - 0.5)):
            self._log.error("store.log-not-closed", queued=self._wal.queued_bytes)
        await self._files.stop(0.2)
        await self._readers.stop(0.2)
        self._held.close()
        self._loop = None

    async def cleanup_now(self) -> tuple[int, int]:
        """One cleanup run on the files of a store that serves nobody (`-cleanup-checkpoints`): see `Tasks.cleanup_now`."""
        await self.loaded()
        return await self._tasks.cleanup_now(int(time.time()))

    @property
    def loading(self) -> bool:
        return not self._loader.finished.is_set()

    async def loaded(self) -> None:
        """Waits until a start has read all files."""
        await self._loader.finished.wait()

    # ---- intake

    async def write(self, body: bytes, cluster: str, *, wait: bool = True) -> WriteAnswer:
        """Ingest and wait until it is written (kill -9 safe). `cluster` = default for lines without that tag ("" = none).

        wait False: returns when the log's queue has taken it (core NATS, where nobody is told)."""
        answer = WriteAnswer(200, 0, Counter(), [])
        if not self.engine.has_metrics:
            return WriteAnswer(503, 0, answer.refused, ["no metric list yet: cc-backend has not been reached"])
        tickets: list[Ticket] = []
        try:
            rest = self._ingest(body, cluster, 1, answer, tickets) if len(body) <= SLICE and self._wal.room() else None
            if rest is None or rest.closed:
                async with asyncio.timeout(PATIENCE):
                    await self._take(body, rest, cluster, answer, tickets)
            if wait:
                await self._written(tickets)
        except TimeoutError:
            return WriteAnswer(503, answer.stored, answer.refused, ["the log has no room, or a start has not reached the hosts yet"])
        except WriteFailed as e:
            return WriteAnswer(503, answer.stored, answer.refused, [str(e)])
        answer.status = _status(answer, all_or_again=self.config.cleanup.mode == "archive")
        return answer

    async def _take(self, body: bytes, begun: Ingested | None, cluster: str, answer: WriteAnswer, tickets: list[Ticket]) -> None:
        """Slice by slice, each when the log has room and its hosts are open. begun: what became of the only slice so far."""
        line = 1
        for piece in slices(body):
            got = begun
            while got is None or got.closed:
                if got is not None:
                    await self._loader.opened(got.closed)
                while not self._wal.room():
                    self._room.clear()
                    await self._room.wait()
                got = self._ingest(piece if got is None else got.rest, cluster, line, answer, tickets)
            line += piece.count(b"\n")
            await asyncio.sleep(0)

    def _ingest(self, body: bytes, cluster: str, line: int, answer: WriteAnswer, tickets: list[Ticket]) -> Ingested:
        """Ingest and append stand in one turn of the loop, so the log has the order of memory."""
        got = self.engine.ingest(body, cluster=cluster, now=int(time.time()), first_line=line)
        if got.records:
            ticket = self._wal.append(got.records, self.engine.series_keys)
            assert self._loop is not None
            ticket.waiter = self._loop.create_future()
            tickets.append(ticket)
            self._waiting.append((self._loop.time() + PATIENCE, ticket))
            for record in got.records:
                self._checkpoints.wrote(record.host)
        for host in got.gone:
            self._checkpoints.forget(host)  # behind the append: what the log had of it goes too
        self._count(got, answer)
        return got

    def _count(self, got: Ingested, answer: WriteAnswer) -> None:
        self._ledger.took(got.stored + (got.refused.total() if got.refused else 0))
        self._ledger.gave(got.stored)
        answer.stored += got.stored
        if not (got.refused or got.notices):
            return
        for reason, n in got.refused.items():
            self._ledger.refused(str(reason), n)
            answer.refused[str(reason)] += n
        for notice in got.notices:
            self._log.throttled(60.0, "store.notice", text=notice)
        answer.errors += got.errors[: 10 - len(answer.errors)]

    async def _written(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            if isinstance(ticket.waiter, asyncio.Future):  # not `left`: a written ticket may still wait for its sync
                await ticket.waiter
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error

    async def _watch(self) -> None:
        """Senders whose batch is not written in time are told so; a timer for each would cost as much as its ingest."""
        assert self._loop is not None
        while True:
            await asyncio.sleep(WATCH)
            while self._waiting and self._waiting[0][0] <= self._loop.time():
                _, ticket = self._waiting.popleft()
                if not _is_done(ticket):
                    ticket.error = ticket.error or WriteFailed("the log could not be written in time")
                    self._wake([ticket])

    def _settled(self, tickets: list[Ticket]) -> None:
        """By the writer thread, once per round."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, tickets)

    def _wake(self, tickets: list[Ticket]) -> None:
        self._room.set()
        for ticket in tickets:
            if isinstance(ticket.waiter, asyncio.Future) and not ticket.waiter.done():
                ticket.waiter.set_result(None)
        while self._waiting and _is_done(self._waiting[0][1]):
            self._waiting.popleft()

    def _frequency(self, cluster: str, metric: str) -> int | None:
        table = self._tables.get(cluster, self._default)
        spec = table.get(metric) if table is not None else None
        return spec.frequency if spec else None

    def set_metrics(self, tables: Mapping[str, MetricTable], default: MetricTable | None = None) -> None:
        self._tables, self._default = tables, default
        for change in self.engine.set_metrics(tables, default):
            self._log.info("store.metric-changed", cluster=change.cluster, metric=change.metric, old=str(change.old), new=str(change.new))

    # ---- reading

    async def query(self, request: QueryRequest) -> list[list[Row]]:
        """In a reader thread. Rows as `Reader.query`. PeerError: too many queries wait already."""
        return (await self.answer(request))[1]

    async def answer(self, request: QueryRequest) -> tuple[list[ApiQuery], list[list[Row]]]:
        """The queries in result order, and their rows."""

        def read() -> tuple[list[ApiQuery], list[list[Row]]]:
            with self.engine.read() as reader:
                return reader.expand(request), reader.query(request)

        return await self._readers.run(read)

    async def health(self, cluster: str, hosts: Sequence[str], metrics: Sequence[str]) -> dict[str, Health]:
        def read() -> dict[str, Health]:
            with self.engine.read() as reader:
                return reader.health(cluster, hosts, metrics)

        return await self._readers.run(read)

    async def describe(self, selector: Sequence[str]) -> AsyncIterator[bytes]:
        """The debug dump in pieces. NotFound: nothing there."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(4)

        def put(piece: bytes | BaseException | None) -> None:
            asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result(PATIENCE)

        def read() -> None:
            try:
                with self.engine.read() as reader:
                    for piece in _gathered(reader.describe(selector)):
                        put(piece)
                put(None)
            except Exception as e:
                put(e)

        job = self._readers.submit(read)
        try:
            while (piece := await pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            while not job.done() and not pieces.empty():
                pieces.get_nowait()

    # ---- freeing

    async def free(self, selectors: Iterable[Sequence[str]], before: int) -> int:
        """Frees below each selector and waits until that is in the log. PeerError: a start is not finished, or the log cannot be written."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.loaded()
                return await self._free([tuple(s) for s in selectors], before)
        except TimeoutError:
            raise PeerError(self.name, "still loading") from None
        except WriteFailed as e:
            raise PeerError(self.name, str(e)) from e

    async def _free(self, selectors: list[tuple[str, ...]], before: int) -> int:
        touched = {host: found for host in self.engine.hosts() if (found := _below(selectors, host))}
        freed = self.engine.free(selectors, before)
        left = set(self.engine.hosts())
        tickets: list[Ticket] = []
        gone = []
        for host, levels in touched.items():
            if host not in left:
                gone.append(asyncio.wrap_future(self._checkpoints.forget(host)))
                continue
            for path in levels:
                ticket = self._wal.free(host, path, before)
                ticket.waiter = asyncio.get_running_loop().create_future()
                tickets.append(ticket)
            self._checkpoints.wrote(host)
        await self._written(tickets)
        try:
            await asyncio.gather(*gone)
        except OSError as e:
            raise PeerError(self.name, f"files of a freed host: {e}") from e
        return freed

    def protect(self, busy: Mapping[str, frozenset[str]] | None, at: int) -> None:
        """cluster → hosts of running jobs (from cc-backend's database or REST); None = could not ask."""
        self.engine.protect(busy, at)


def _is_done(ticket: Ticket) -> bool:
    return not isinstance(ticket.waiter, asyncio.Future) or ticket.waiter.done()


def slices(body: bytes) -> Iterator[bytes]:
    """The body cut at line ends into pieces of at most SLICE bytes (one line may be longer)."""
    if len(body) <= SLICE:
        yield body
        return
    at = 0
    while at < len(body):
        end = at + SLICE
        if end < len(body):
            cut = body.rfind(b"\n", at, end)
            cut = cut if cut >= 0 else body.find(b"\n", end)
            end = cut + 1 if cut >= 0 else len(body)
        yield body[at:end]
        at = end


def _status(answer: WriteAnswer, *, all_or_again: bool) -> int:
    """all_or_again: a sample without room is never passed over (mode `archive`): the sender repeats the batch until there is some."""
    if not answer.refused:
        return 200
    if answer.refused[Reason.MEMORY] and (answer.stored == 0 or all_or_again):
        answer.errors.append(f"memory-cap is reached and nothing may be freed: {answer.refused[Reason.MEMORY]} samples are not stored")
        return 503
    malformed = sum(n for reason, n in answer.refused.items() if Reason(reason).malformed)
    if malformed:
        answer.errors.insert(0, f"{malformed} malformed lines, all others are stored; the first of them:")
        return 400
    if answer.stored == 0 and answer.refused[Reason.SERIES]:
        answer.errors.append("max-series is reached: no new series")
        return 429
    return 200


def _below(selectors: Sequence[tuple[str, ...]], host: HostKey) -> list[tuple[str, ...]]:
    """Levels of the host that the selectors name: () is the whole host."""
    return [s[2:] for s in selectors if s[:2] == tuple(host)[: len(s[:2])]]


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= 64 << 10:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)
