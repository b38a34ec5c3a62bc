"""Stamp, process, fan out: every message goes through here once.

| from | stamped | processed | to sinks |
|---|---|---|---|
| collectors | with the tick of their round (`interval_timestamp`) | yes | all |
| receivers | only when `interval_timestamp: true` is written | yes | all |
| aggregates | they carry the tick | yes | all |

A message that lacks the tag `hostname_tag` gets this node's name, whatever the stage order is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from ccdaemon.config.types import Problem
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccmessage.message import Head, Message
from ccmessage.processor import Dropped, Processor
from ccmessage.processor.options import ProcessorOptions, with_router_options

from .config import RouterConfig

STORE_TAGS = ("hostname", "host")  # the store skips lines that have neither


class Takes(Protocol):
    """A sink runner, as the router sees it."""

    spooled: bool

    @property
    def full(self) -> bool: ...
    def put(self, ms: Sequence[Message]) -> None: ...
    async def settled(self) -> bool: ...


class Keeps(Protocol):
    """The interval cache, as the router sees it."""

    def remember(self, ms: Sequence[Message]) -> None: ...
    def finish(self, tick_ns: int) -> list[Message]: ...


class Router:
    """All methods on the loop. `sinks` may shrink while they are opened. `for_store`: some sink pushes to a peer, so series that would fall together are worth a warning."""

    def __init__(
        self,
        processor: Processor,
        sinks: Sequence[Takes],
        *,
        stamp: bool,
        stamp_received: bool,
        wall_ns: Callable[[], int],
        ledger: Ledger,
        log: Log,
        for_store: bool = True,
        cache: Keeps | None = None,
    ) -> None:
        self._processor = processor
        self._sinks = sinks
        self._stamp = stamp
        self._stamp_received = stamp_received
        self._wall_ns = wall_ns
        self._last_tick: int | None = None
        self._ledger = ledger
        self._log = log
        self._parts: dict[str, str] | None = {} if for_store else None  # metric → what told its first series apart
        self._cache = cache
        self._open = True

    def tick(self, tick_ns: int) -> None:
        """A round begins: the interval before it is finished, its aggregates go out."""
        self._last_tick = tick_ns
        if self._cache is not None:
            self._give(self._process(self._cache.finish(tick_ns), self._cache))

    def collected(self, ms: Sequence[Message], tick_ns: int) -> None:
        """Messages of a collector, of the round that began at `tick_ns`."""
        if self._stamp:
            ms = [Message(m.head, m.fields, tick_ns) for m in ms]
        out = self._process(ms, self._cache)
        if self._parts is not None:
            self._watch_parts(out, self._parts)
        self._give(out)

    def received(self, ms: Sequence[Message]) -> bool:
        """Messages of a receiver; False = not taken: we stop, or no sink has room."""
        if not self._open or all(sink.full for sink in self._sinks):
            return False
        if self._stamp_received:
            tick = self._last_tick if self._last_tick is not None else self._wall_ns()
            ms = [Message(m.head, m.fields, tick) for m in ms]
        self._give(self._process(ms))
        return True

    async def settled(self) -> bool:
        """Until every sink that has a peer has sent or spooled what it got; False if some was lost."""
        return all(await asyncio.gather(*(sink.settled() for sink in self._sinks if sink.spooled)))

    def close(self) -> None:
        """Nothing more is received; what collectors still bring is taken."""
        self._open = False

    def _process(self, ms: Sequence[Message], cache: Keeps | None = None) -> list[Message]:
        """Through the rules; the cache also gets what they dropped, as it was then."""
        self._ledger.took(len(ms))
        out, dropped = [], []
        for message in ms:
            processed = self._processor.apply(message)
            if isinstance(processed, Dropped):
                dropped.append(processed.message)
            else:
                out.append(processed)
        if dropped:
            self._ledger.refused("dropped by a rule", len(dropped))
        if cache is not None:
            cache.remember([*out, *dropped])
        return out

    def _give(self, ms: list[Message]) -> None:
        self._ledger.gave(len(ms))
        if ms:
            for sink in self._sinks:
                sink.put(ms)

    def _watch_parts(self, ms: list[Message], seen: dict[str, str]) -> None:
        """Warn once per metric when a store would put several series of this node into one (design R4)."""
        doubled: dict[str, str] = {}
        for message in ms:
            part = part_of_node(message.head)
            if part and seen.setdefault(message.head.name, part) not in (part, ""):
                doubled[message.head.name] = f"{seen[message.head.name]} {part}"
                seen[message.head.name] = ""
        if doubled:
            self._log.warning(
                "router.same_series",
                metrics=" ".join(doubled),
                parts=next(iter(doubled.values())),
                remedy="a store keeps one series of each per node: report one part, or name them apart with rename_messages_if or an aggregate",
            )


class Intake:
    """The router as a receiver sees it."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def __call__(self, ms: Sequence[Message], /) -> bool:
        return self._router.received(ms)

    async def settled(self) -> bool:
        return await self._router.settled()


def part_of_node(head: Head) -> str:
    """What tells several series of a node-level metric apart where a store does not look: sub type or device."""
    tags = head.tags
    if tags.get("type", "node") != "node":
        return ""
    return tags.get("stype-id", "") or tags.get("device", "")


def local_hostname(config: RouterConfig, system: str | None = None) -> str:
    """`hostname` as it is configured, else the system's name up to the first dot."""
    return config.hostname or (socket.gethostname() if system is None else system).partition(".")[0]


def router_options(config: RouterConfig) -> ProcessorOptions:
    """The router's rules: `process_messages`, then the deprecated keys in the same stages."""
    return with_router_options(
        config.process_messages,
        add_tags=config.add_tags,
        delete_tags=config.delete_tags,
        drop_metrics=config.drop_metrics,
        drop_metrics_if=config.drop_metrics_if,
        rename_metrics=config.rename_metrics,
        change_unit_prefix=config.change_unit_prefix,
        normalize_units=config.normalize_units,
    )


def router_notes(config: RouterConfig) -> list[Problem]:
    """Warnings about values that are taken, but probably not meant."""
    notes = []
    if config.hostname_tag not in STORE_TAGS:
        notes.append(
            Problem(
                "router.hostname_tag",
                None,
                f"{config.hostname_tag!r} is the key of the tag, and a store does not look there for the host",
                'use "hostname" as key; to change the name itself, set "hostname"',
                fatal=False,
            )
        )
    if config.max_forward < 2:
        notes.append(Problem("router.max_forward", None, f"{config.max_forward} is too small, 2 is taken", "leave it out", fatal=False))
    if config.interval_aggregates and not config.num_cache_intervals:
        names = ", ".join(a.name for a in config.interval_aggregates)
        text = f"num_cache_intervals is 0, so these are not computed: {names}"
        notes.append(Problem("router.interval_aggregates", None, text, "set num_cache_intervals to 1", fatal=False))
    return notes
