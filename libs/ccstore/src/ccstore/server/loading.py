"""A start: hosts are opened while ingest already runs (architecture 3, Durability 2; metric-store 4.7)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ccdaemon.executors import Pool
from ccdaemon.log import Log

from ..engine import Engine
from ..persist.recover import Finding, HostImage, first_pass, later_blocks, later_pass, list_hosts, read_host
from ..registry import HostKey

BREATH = 0.002
"""Seconds of applying after which the loop does other work."""
TRIES = 3


class Loader:
    """Opens every host (newest block and log), asked-for ones first, then attaches what is older. `replayed`: bytes of log per host."""

    def __init__(self, engine: Engine, root: Path, pool: Pool, *, readers: int, memory_cap: int, retention: float,
                 keep: bool, frequency_of: Callable[[str, str], int | None], log: Log) -> None:  # fmt: skip
        """keep: a host for whose data memory has no room keeps its files as they are (mode `archive`: nothing goes that is not archived);
        frequency_of: (cluster, metric) → seconds, for logs of the reference, which do not say it."""
        self._engine = engine
        self._root = root
        self._pool = pool
        self._readers = readers
        self._cap = memory_cap
        self._retention = retention
        self._keep = keep
        self._frequency_of = frequency_of
        self._log = log
        self._closed: OrderedDict[HostKey, None] = OrderedDict()
        self._waiting: dict[HostKey, asyncio.Event] = {}
        self._later: list[tuple[HostKey, Path]] = []
        self._partial: set[HostKey] = set()
        self._cut: set[HostKey] = set()
        self.replayed: dict[HostKey, int] = {}
        self.findings: list[Finding] = []
        self.finished = asyncio.Event()
        self.skipped = 0
        """Blocks left out because memory was full."""

    async def prepare(self) -> None:
        """Marks all hosts with files as closed: from here on ingest is safe."""
        hosts, findings = await self._pool.run(list_hosts, self._root)
        self._tell(findings)
        self._closed = OrderedDict.fromkeys(hosts)
        self._engine.close_hosts(hosts)

    def whole(self, host: HostKey) -> bool:
        """Whether memory holds all that the host's files do: only then may a snapshot replace them."""
        return host not in self._waiting and host not in self._closed and host not in self._partial

    async def opened(self, hosts: Iterable[HostKey]) -> None:
        """Moves hosts to the front and waits until they take lines."""
        events = []
        for host in hosts:
            if host in self._closed:
                self._closed.move_to_end(host, last=False)
            if host in self._engine.closed_hosts():
                events.append(self._waiting.setdefault(host, asyncio.Event()))
        for event in events:
            await event.wait()

    async def run(self) -> None:
        begin = time.monotonic()
        number = len(self._closed)
        await asyncio.gather(*(self._open_hosts() for _ in range(self._readers)))
        opened = time.monotonic()
        while self._later:
            await self._attach(*self._later.pop())
        self.finished.set()
        if number:
            self._log.info("store.loaded", hosts=number, open_after=round(opened - begin, 3), seconds=round(time.monotonic() - begin, 3),
                           findings=len(self.findings), skipped_blocks=self.skipped)  # fmt: skip

    async def _open_hosts(self) -> None:
        """One reader at a time; several of these run, so that disk and memory overlap."""
        while self._closed:
            host, _ = self._closed.popitem(last=False)
            self._waiting.setdefault(host, asyncio.Event())
            image = await self._read(host)
            if image is not None:
                self._tell(image.findings)
                self.replayed[host] = image.log_bytes
                try:
                    if not await self._breathing(first_pass(self._engine, image)):
                        self._cut_off(host)
                    if image.later is not None:
                        self._partial.add(host)
                        self._later.append((host, image.later))
                except Exception as e:  # one host must not end the start of all others; its files stay as they are
                    self._partial.add(host)
                    self._tell([Finding(self._root / host.cluster / host.host, f"could not be applied: {e!r}")])
            self._engine.host_opened(host)
            self._waiting.pop(host).set()

    async def _read(self, host: HostKey) -> HostImage | None:
        for attempt in range(TRIES):
            try:
                since = int(time.time() - self._retention) if self._retention > 0 else 0
                return await self._pool.run(
                    read_host, self._root, host, since=since, frequency_of=lambda metric: self._frequency_of(host.cluster, metric)
                )
            except OSError as e:
                self._log.error("store.read-failed", cluster=host.cluster, host=host.host, error=str(e), attempt=attempt + 1)
                await asyncio.sleep(0.2 * attempt)
        self._tell([Finding(self._root / host.cluster / host.host, "could not be read: the host starts empty, its files stay")])
        self._partial.add(host)  # no snapshot replaces what was not read
        return None

    async def _attach(self, host: HostKey, path: Path) -> None:
        findings: list[Finding] = []
        room = host not in self._cut
        blocks = later_blocks(path, findings)
        try:
            while (decoded := await self._pool.run(next, blocks, None)) is not None:
                table, its = decoded
                if self._cap and self._engine.usage().bytes + sum(b.values.nbytes for b in its) > self._cap * 9 // 10:
                    self.skipped += 1
                    room = False
                    continue
                room = await self._breathing(later_pass(self._engine, host, table, its)) and room
            if room or not self._keep:
                self._partial.discard(host)
            else:
                self._cut_off(host)
        except Exception as e:  # as above: what was read stays, no snapshot replaces the file
            findings.append(Finding(path, f"its older part could not be read: {e!r}"))
        self._tell(findings)

    def _cut_off(self, host: HostKey) -> None:
        """Memory was full. Without an archive that is how a lowered cap takes hold."""
        if self._keep and host not in self._cut:
            self._cut.add(host)
            self._partial.add(host)
            text = "memory-cap has no room for all of it: its files stay and it is not archived until a start under a larger cap"
            self._tell([Finding(self._root / host.cluster / host.host, text)])

    async def _breathing(self, steps: Iterator[int | None]) -> bool:
        """False: memory had no room for some of it."""
        room = True
        since = time.monotonic()
        for step in steps:
            room = room and step is not None
            if time.monotonic() - since > BREATH:
                await asyncio.sleep(0)
                since = time.monotonic()
        return room

    def _tell(self, findings: list[Finding]) -> None:
        for finding in findings:
            self._log.warning("store.file", path=str(finding.path), text=finding.text)
        self.findings += findings
