"""Line protocol published on NATS, one message per batch.

A batch larger than what the server takes (`max_payload`) is split at line ends. While there is no connection, batches wait in
the spool. Without `jetstream`, "accepted" means that the server has the message (not that anybody listens); with
`jetstream: true` that the stream has stored it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from ccdaemon.config.types import Secret
from ccdaemon.errors import InputError, PeerError
from ccdaemon.log import Log
from ccdaemon.net.nats import Nats
from ccmessage.encode import Batch
from msgspec import Meta

from ..base import Refused, Retry, Sink
from ..common_keys import PushConfig, both_or_none
from ..nats_link import nats_config, nats_url


class Keys(PushConfig, kw_only=True):
    host: Annotated[str, Meta(description="Host of the server, or its URL (`nats://`, `tls://`).")]
    port: Annotated[str | int, Meta(description="Port of the server.")] = "4222"
    subject: Annotated[str, Meta(description="Subject to publish on.", min_length=1, extra={"aliases": ("database",)})]
    user: Annotated[str, Meta(description="User name, with `password`.", extra={"aliases": ("username",)})] = ""
    password: Annotated[Secret, Meta(description="Password, with `user`.")] = Secret("")
    nkey_file: Annotated[str, Meta(description="File with an NKey seed, or a .creds file; used without user and password.")] = ""
    tls_ca_file: Annotated[str, Meta(description="CA of the server's certificate.")] = ""
    tls_cert_file: Annotated[str, Meta(description="Client certificate, with its key.", extra={"aliases": ("ssl_cert",)})] = ""
    tls_key_file: Annotated[str, Meta(description="Key of the client certificate.", extra={"aliases": ("ssl_key",)})] = ""
    ssl: Annotated[bool, Meta(description="Old word for a `tls://` URL.")] = False
    jetstream: Annotated[bool, Meta(description="Wait for the acknowledgement of the stream.")] = False

    def check(self) -> Iterator[tuple[str, str, str]]:
        return both_or_none(self, "tls_cert_file", "tls_key_file")


class NatsSink(Sink):
    Config = Keys

    def __init__(self, config: Keys, name: str, log: Log) -> None:
        self._config = config
        self._name = name
        self._log = log
        self._nats: Nats | None = None

    async def open(self) -> None:
        config = self._config
        link = nats_config(
            nats_url(config.host, str(config.port), tls=config.ssl or bool(config.tls_ca_file or config.tls_cert_file)),
            user=config.user,
            password=config.password,
            nkey_file=config.nkey_file,
            ca=config.tls_ca_file,
            cert=config.tls_cert_file,
            key=config.tls_key_file,
        )
        self._nats = Nats(link, client_name=f"cc-metric-collector sink {self._name}", log=self._log)
        await self._nats.start()

    async def send(self, batch: Batch) -> None:
        assert self._nats is not None
        try:
            for part in batch.split(self._nats.max_payload):
                await self._nats.publish(self._config.subject, part.body, flushed=True, jetstream=self._config.jetstream)
        except PeerError as error:
            raise Retry(error.text, error.retry_after) from None
        except InputError as error:  # a single line that is larger than a message may be
            raise Refused(str(error)) from None

    async def close(self) -> None:
        if self._nats is not None:
            await self._nats.stop(2.0)
