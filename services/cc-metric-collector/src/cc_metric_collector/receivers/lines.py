"""From a body of line protocol to messages, for the HTTP and the NATS receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
from ccdaemon.ledger import Ledger
from ccmessage.decode import LineError, decode
from ccmessage.encode import Precision
from ccmessage.message import Head, Message, head, refusal
from ccmessage.processor import Dropped, Processor

from ..base import Deliver
from ..common_keys import ReceiverConfig

SETTLE_LIMIT = 30.0
ERRORS = 10  # bad lines named in an answer
HEADS = 50_000  # remembered heads with their source, so that each is made once


class Taken(msgspec.Struct):
    """What became of a body. `delivered` False: the router had no room, nothing of it was taken."""

    messages: int
    bad: int
    errors: list[str]
    delivered: bool


def precision_of(word: str) -> Precision:
    """`ns`, the default, means by magnitude: sinks of other collectors default to seconds."""
    return Precision.AUTO if word == "ns" else Precision[word.upper()]


async def settled_in_time(deliver: Deliver) -> bool:
    """Whether all that was delivered is safe, within the time that a sender waits."""
    try:
        return await asyncio.wait_for(deliver.settled(), SETTLE_LIMIT)
    except TimeoutError:
        return False


class Lines:
    """Decodes, adds meta `source`, runs the receiver's own processor, delivers the good lines wherever the bad ones stand."""

    def __init__(self, config: ReceiverConfig, source: str, precision: str, ledger: Ledger) -> None:
        self._ledger = ledger
        self._source = source
        self._precision = precision_of(precision)
        self._processor = Processor.compile(config.process_messages) if config.process_messages is not None else None
        self._heads: dict[Head, Head] = {}

    def take(self, body: bytes, deliver: Deliver, now_ns: Callable[[], int] = time.time_ns) -> Taken:
        messages: list[Message] = []
        errors: list[str] = []
        bad = dropped = 0
        for found in decode(body, precision=self._precision, default_ns=now_ns()):
            if isinstance(found, LineError) or (why := refusal(found)) is not None:
                bad += 1
                if len(errors) < ERRORS:
                    errors.append(str(found) if isinstance(found, LineError) else f"{found.head.name}: {why}")
                continue
            message = Message(self._sourced(found.head), found.fields, found.time_ns)
            processed = self._processor.apply(message) if self._processor is not None else message
            if isinstance(processed, Dropped):
                dropped += 1
            else:
                messages.append(processed)
        delivered = not messages or deliver(messages)
        self._count(len(messages), dropped, bad, delivered=delivered)
        return Taken(len(messages), bad, errors, delivered)

    def _count(self, messages: int, dropped: int, bad: int, *, delivered: bool) -> None:
        self._ledger.took(messages + dropped + bad)
        self._ledger.gave(messages if delivered else 0)
        for why, n in (("bad line", bad), ("dropped by a rule", dropped), ("no room", 0 if delivered else messages)):
            if n:
                self._ledger.refused(why, n)

    def _sourced(self, plain: Head) -> Head:
        sourced = self._heads.get(plain)
        if sourced is None:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            sourced = self._heads[plain] = head(plain.name, plain.tags, {"source": self._source})
        return sourced
