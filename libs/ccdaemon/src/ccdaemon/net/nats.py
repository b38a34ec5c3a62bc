"""NATS connection of every daemon: user/password, NKey seed, creds file, TLS; reconnects for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, ClassVar

import msgspec

from ..config.types import Secret
from ..log import Log


class NatsConfig(msgspec.Struct, rename="kebab"):
    """Section `nats` of store and backend; the collector and adapter map their own keys onto it."""

    strict: ClassVar[bool] = True
    address: Annotated[str, msgspec.Meta(description="URL of the server: nats://host:4222 or tls://host:4222.")]
    username: str = ""
    password: Secret = Secret("")
    creds_file_path: str = ""
    nkey_file: Annotated[str, msgspec.Meta(extra={"aliases": ("nkey-seed-file",)})] = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class Nats:
    """A Part (phase LINK). `start` returns at once when the server is away and goes on trying; subscriptions are made again
    at each reconnect. `connected` tells."""

    name: str
    max_payload: int
    connected: bool

    def __init__(self, config: NatsConfig, *, client_name: str, log: Log) -> None: ...
    async def start(self) -> None: ...
    async def stop(self, deadline: float) -> None:
        """Drain subscriptions, flush, close."""

    async def publish(self, subject: str, data: bytes, *, flushed: bool = False, jetstream: bool = False) -> None:
        """PeerError at once without a connection; `flushed` returns when the server has it, `jetstream` when the stream has."""

    def subscribe(
        self, subject: str, handler: Callable[[str, bytes], Awaitable[None]], *, queue: str | None = None, durable: str | None = None
    ) -> None:
        """May be called before start. With `durable`: JetStream consumer, acknowledged when the handler returns, not when it raises."""
