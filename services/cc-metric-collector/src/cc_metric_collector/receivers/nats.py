"""Line protocol from a NATS subject (wildcards allowed).

Bad lines are counted and logged, the good ones of the same message are taken. With `queue_group` several collectors share the
messages of a subject.

With `durable: true` the messages come from a JetStream consumer (named by `queue_group`, else by the receiver) and are acknowledged
only after every sink that has a peer has sent them or written them to its spool: nothing is lost, whoever stops or dies. A stream must take the
subject.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from ccdaemon.config.types import Secret
from ccdaemon.errors import PeerError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log
from ccdaemon.net.nats import Nats
from msgspec import Meta

from ..base import Deliver, Receiver
from ..common_keys import ReceiverConfig, both_or_none
from ..nats_link import nats_config, nats_url
from .lines import Lines, settled_in_time


class Keys(ReceiverConfig, kw_only=True):
    address: Annotated[str, Meta(description="Host of the server, or its URL (`nats://`, `tls://`).")] = "localhost"
    port: Annotated[str | int, Meta(description="Port of the server.")] = "4222"
    subject: Annotated[str, Meta(description="Subject to listen to.", min_length=1, extra={"aliases": ("database",)})]
    queue_group: Annotated[str, Meta(description="Share the messages with the other members of this group.")] = ""
    durable: Annotated[bool, Meta(description="JetStream consumer, acknowledged when all lines are sent or on disk.")] = False
    precision: Annotated[
        Literal["s", "ms", "us", "ns"], Meta(description="Unit of the timestamps; `ns` recognises the others by magnitude.")
    ] = "ns"
    user: Annotated[str, Meta(description="User name, with `password`.", extra={"aliases": ("username",)})] = ""
    password: Annotated[Secret, Meta(description="Password, with `user`.")] = Secret("")
    nkey_file: Annotated[str, Meta(description="File with an NKey seed, or a .creds file; used without user and password.")] = ""
    tls_ca_file: Annotated[str, Meta(description="CA of the server's certificate.")] = ""
    tls_cert_file: Annotated[str, Meta(description="Client certificate, with its key.")] = ""
    tls_key_file: Annotated[str, Meta(description="Key of the client certificate.")] = ""

    def check(self) -> Iterator[tuple[str, str, str]]:
        return both_or_none(self, "tls_cert_file", "tls_key_file")


class NatsReceiver(Receiver):
    Config = Keys

    def __init__(self, config: Keys, name: str, log: Log, ledger: Ledger) -> None:
        self._config = config
        self._name = name
        self._log = log
        self._lines = Lines(config, f"NatsReceiver({name})", config.precision, ledger)

    async def run(self, deliver: Deliver) -> None:
        config = self._config
        link = nats_config(
            nats_url(config.address, str(config.port), tls=bool(config.tls_ca_file or config.tls_cert_file)),
            user=config.user,
            password=config.password,
            nkey_file=config.nkey_file,
            ca=config.tls_ca_file,
            cert=config.tls_cert_file,
            key=config.tls_key_file,
        )
        nats = Nats(link, client_name=f"cc-metric-collector receiver {self._name}", log=self._log)

        async def handle(subject: str, body: bytes) -> None:
            taken = self._lines.take(body, deliver)
            if taken.bad:
                self._log.throttled(60, "receiver.bad_lines", subject=subject, count=taken.bad, first=taken.errors[0])
            if config.durable:
                if not taken.delivered or not await settled_in_time(deliver):
                    raise PeerError("sinks", "no room, or not safe in time")  # not acknowledged: it comes again
            elif not taken.delivered:
                self._log.throttled(60, "receiver.no_room", subject=subject, lost=taken.messages)

        consumer = re.sub(r"[^A-Za-z0-9_-]", "-", config.queue_group or self._name)
        nats.subscribe(config.subject, handle, queue=config.queue_group or None, durable=consumer if config.durable else None)
        await nats.start()
        try:
            await asyncio.Event().wait()
        finally:
            await nats.stop(2.0)
