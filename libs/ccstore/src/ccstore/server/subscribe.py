"""Metrics from NATS into the store (metric-store 2.7)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from ccdaemon.errors import PeerError
from ccdaemon.net.nats import Nats

from .config import Subscription
from .store import Store

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def subscribe(store: Store, nats: Nats, entries: Sequence[Subscription], *, instance: str) -> None:
    """One subscription per distinct subject. Lines with a cluster tag are taken once, those without go to each configured tag.

    instance: part of the default name of durable consumers; two stores with one name would share the messages (host name and port)."""
    for subject, its in by_subject(entries).items():
        tags = list(OrderedDict.fromkeys(e.cluster_tag for e in its))
        durable = next((e.durable_name or _NO_NAME.sub("-", f"{instance}-{subject}") for e in its if e.durable), None)
        nats.subscribe(subject, _handler(store, tags, durable is not None), durable=durable)


def by_subject(entries: Sequence[Subscription]) -> dict[str, list[Subscription]]:
    found: dict[str, list[Subscription]] = {}
    for entry in entries:
        found.setdefault(entry.subscribe_to, []).append(entry)
    return found


def _handler(store: Store, tags: Sequence[str], durable: bool) -> Callable[[str, bytes], Awaitable[None]]:
    async def take(subject: str, data: bytes) -> None:
        """Durable: returning acknowledges, so only what stands in the log returns; refused and malformed lines are counted and
        acknowledged. Plain: nobody is told, the queue's room is all that is waited for."""
        for tag in tags:
            answer = await store.write(data if tag == tags[0] else untagged(data), tag, wait=durable)
            if durable and answer.status in (429, 503):
                raise PeerError(store.name, "; ".join(answer.errors))

    return take


def untagged(data: bytes) -> bytes:
    """The lines that name no cluster: the others were taken with the first tag."""
    return b"\n".join(line for line in data.split(b"\n") if b",cluster=" not in line.split(b" ", 1)[0])
