"""What a collector, a sink and a receiver are, and what they are given.

A plug-in is made with its typed configuration (`Config`), then opened. Collectors block and run in threads; sinks and
receivers live on the event loop. Drivers only measure or move bytes: rounds, deadlines, queues, retries and spools belong
to the manager and the sink runner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.message import FieldValue, Head, Message, head

from .topology import NodeTopology

if TYPE_CHECKING:
    from ccmessage.encode import Batch


class SourceMissing(Exception):
    """What a collector measures does not exist on this node, or its configuration selects nothing: it is skipped."""


class CommandFailed(Exception):
    """A command could not be run, ended with an error, wrote too much or took too long; the text says which.

    Where it ended by itself: its exit status and what it wrote until then.
    """

    def __init__(self, reason: str, status: int | None = None, output: bytes = b"") -> None:
        super().__init__(reason)
        self.status = status
        self.output = output


class Retry(Exception):
    """The peer did not take the batch now; `after` in seconds where it said so."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Refused(Exception):
    """The peer has judged the batch and does not want (all of) it: sending it again changes nothing.

    `lines` = how many lines it refused, None where it did not say (then all count).
    """

    def __init__(self, reason: str, lines: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lines = lines


class CommandRunner(Protocol):
    """Runs a command in its own process group; CommandFailed. Output is bounded by `limit` bytes."""

    def __call__(self, argv: Sequence[str], *, timeout: float, limit: int = 1 << 20, stdin: bytes = b"") -> bytes: ...


class Context(msgspec.Struct):
    """What a collector knows about its node. `root` is `/`, in tests a recorded tree; `interval` in seconds."""

    hostname: str
    interval: float
    root: Path
    topology: NodeTopology
    run: CommandRunner
    log: Log
    monotonic: Callable[[], float]

    def path(self, absolute: str) -> Path:
        """`/proc/stat` below the root."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        """Text of a small file below the root; OSError. Bytes that are no UTF-8 are kept as surrogates."""
        return self.path(absolute).read_text(encoding="utf-8", errors="surrogateescape")


class Collector(ABC):
    """A source of metrics. The docstring of its module is its reference page."""

    Config: ClassVar[type[msgspec.Struct]]
    parallel: ClassVar[bool] = True

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`. Keeps it, does nothing else."""

    @abstractmethod
    def open(self, ctx: Context) -> None:
        """Find sources, make heads, take the first reading of counters. SourceMissing: skipped with that reason."""

    @abstractmethod
    def read(self, now_ns: int, duration: float) -> list[Message]:
        """Measure; blocking, in a thread, never two at once, to be done within the interval.

        `now_ns` is the wall clock at the begin of this read and the time of every message whose source has none of its
        own. `duration` in seconds is the time a collector that must wait (likwid) may measure.
        """

    def close(self) -> None:  # noqa: B027 - most collectors hold nothing
        """Let go of what open took; also called after a failed open."""


class Sink(ABC):
    """A driver of bytes: no queue, no retry, no batching (that is the runner's)."""

    Config: ClassVar[type[msgspec.Struct]]
    spooled: ClassVar[bool] = True

    @abstractmethod
    def __init__(self, config: Any, name: str, log: Log) -> None: ...

    @abstractmethod
    async def open(self) -> None:
        """Make ready to send. A peer that is away is no error (send says Retry); a wrong file or key is an OperatorError."""

    @abstractmethod
    async def send(self, batch: Batch) -> None:
        """Returns when the peer has accepted; raises Retry or Refused."""

    @abstractmethod
    async def close(self) -> None: ...


class MessageSink(ABC):
    """A driver of messages, for what is no line protocol. Bounded queue, no spool; its page says so."""

    Config: ClassVar[type[msgspec.Struct]]

    @abstractmethod
    def __init__(self, config: Any, name: str, log: Log) -> None: ...

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def take(self, ms: Sequence[Message]) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class Deliver(Protocol):
    """The way to the router, for a receiver."""

    def __call__(self, ms: Sequence[Message], /) -> bool:
        """Hand messages over; never blocks. False = not taken: HTTP answers 503, a durable subscription does not acknowledge."""

    async def settled(self) -> bool:
        """Wait until all that was handed over before is sent or spooled by every sink that has a peer; False if some was lost."""


class Receiver(ABC):
    """A source of messages from the network."""

    Config: ClassVar[type[msgspec.Struct]]

    @abstractmethod
    def __init__(self, config: Any, name: str, log: Log, ledger: Ledger) -> None: ...

    @abstractmethod
    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled. OperatorError where it cannot begin (a taken port, a wrong key)."""


def node_head(name: str, source: str, group: str, unit: str = "", tags: Mapping[str, str] = {}) -> Head:
    """Head of a node-level metric: tags `type=node` and `tags`; meta source, group and, if any, unit."""
    return typed_head(name, {"type": "node", **tags}, source, group, unit)


def typed_head(name: str, tags: Mapping[str, str], source: str, group: str, unit: str = "") -> Head:
    """Head with the tags as given and the meta data that all collectors carry."""
    meta = {"source": source, "group": group}
    if unit:
        meta["unit"] = unit
    return head(name, tags, meta)


def metric(of: Head, value: FieldValue, time_ns: int) -> Message:
    """A message with the one field `value`."""
    return Message(of, {"value": value}, time_ns)


def rate(new: int, old: int, seconds: float) -> float | None:
    """Change per second; None when the counter went backwards (reset, wrap) or no time has passed."""
    if new < old or seconds <= 0.0:
        return None
    return (new - old) / seconds
