"""NATS connection of every daemon: user/password, NKey seed, creds file, TLS; reconnects for ever."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from ..config.types import Secret
from ..errors import InputError, OperatorError, PeerError
from ..log import Log
from ..retry import Backoff
from ..tls import client_context
from .nats_library import Client, errors, js_errors

_CONNECT_TIMEOUT = 10.0
_FLUSH_TIMEOUT = 10.0
_STEADY = 3.0  # a connection that lasted so long starts the back-off anew
_BATCH = 256  # JetStream messages that are in the handler at once
_REDELIVER_AFTER = 5.0
_STRICT = {"strict": True}

Handler = Callable[[str, bytes], Awaitable[None]]


class NatsConfig(msgspec.Struct, rename="kebab"):
    """Section `nats` of store and backend; the collector and adapter map their own keys onto it."""

    address: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            description="URL of the server: nats://host:4222 or tls://host:4222; several separated by commas.",
            extra={"example": '"nats://localhost:4222"'},
        ),
    ]
    username: Annotated[str, msgspec.Meta(description="User name; used together with the password.", extra=_STRICT)] = ""
    password: Annotated[Secret, msgspec.Meta(description="Password.")] = Secret("")
    creds_file_path: Annotated[str, msgspec.Meta(description="Credentials file (.creds).", extra=_STRICT)] = ""
    nkey_file: Annotated[
        str, msgspec.Meta(description="File with an NKey seed (SU…).", extra={"aliases": ("nkey-seed-file",), "strict": True})
    ] = ""
    ca_file: Annotated[str, msgspec.Meta(description="CA that the server's certificate must have.", extra=_STRICT)] = msgspec.field(
        default="", name="tls-ca-file"
    )
    cert_file: Annotated[str, msgspec.Meta(description="Client certificate.", extra=_STRICT)] = msgspec.field(
        default="", name="tls-cert-file"
    )
    key_file: Annotated[str, msgspec.Meta(description="Key of the client certificate.", extra=_STRICT)] = msgspec.field(
        default="", name="tls-key-file"
    )

    def check(self) -> Iterable[tuple[str, str, str]]:
        for url in addresses(self.address):
            if not _is_address(url):
                yield "address", f"{url.rpartition('@')[2]!r} is no URL of a NATS server", 'write "nats://host:4222" or "tls://host:4222"'
        if bool(self.cert_file) != bool(self.key_file):
            yield "cert_file" if self.cert_file else "key_file", "certificate and key belong together", "configure both or none"
        if self.creds_file_path and self.nkey_file:
            yield "nkey_file", "credentials file and NKey exclude each other", "keep one of the two"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


def addresses(text: str) -> list[str]:
    """The servers of an `address`, with scheme (`host:4222` means `nats://host:4222`)."""
    urls = [part.strip() for part in text.split(",") if part.strip()]
    return [url if "://" in url else f"nats://{url}" for url in urls]


class _Subscription(msgspec.Struct):
    subject: str
    handler: Handler
    queue: str | None
    durable: str | None


class Nats:
    """A Part (phase LINK). `start` returns at once when the server is away and goes on trying; subscriptions are made again
    at each reconnect. `connected` tells.

    Each connection is a new client of the library without its own reconnect: so nothing that could not be sent waits in a
    buffer to be sent later as if it had been delivered.
    """

    name: str
    max_payload: int
    connected: bool

    def __init__(self, config: NatsConfig, *, client_name: str, log: Log) -> None:
        urls = addresses(config.address)
        self.name = "nats"
        self.max_payload = 1 << 20
        self.connected = False
        self.who = "NATS " + ",".join(urlsplit(url).netloc.rpartition("@")[2] for url in urls)
        self._urls = urls
        self._config = config
        self._client_name = client_name
        self._log = log.bind(component="NATS")
        self._subscriptions: list[_Subscription] = []
        self._client: Client | None = None
        self._lost = asyncio.Event()
        self._tls: ssl.SSLContext | None = None
        self._task: asyncio.Task[None] | None = None
        self._consumers: dict[int, asyncio.Task[None]] = {}
        self._stopping = False
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """OperatorError when a file of keys or certificates cannot be used."""
        config = self._config
        _check_keys(config)
        wants_tls = any(url.startswith("tls://") for url in self._urls) or config.ca_file or config.cert_file
        self._tls = client_context(config.ca_file, config.cert_file, config.key_file) if wants_tls else None
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    async def stop(self, deadline: float) -> None:
        """Drain subscriptions, flush, close."""
        self._stopping = True
        consumers = list(self._consumers.values())
        for task in consumers:
            task.cancel()
        if consumers:
            await asyncio.wait(consumers, timeout=deadline / 2)
        client = self._client
        if client is not None and client.is_connected:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.drain(), deadline / 2)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)

    async def wait_connected(self, timeout: float) -> bool:
        """True as soon as there is a connection with all subscriptions, False after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self.connected:
                    await self._changed.wait()
        return self.connected

    async def publish(self, subject: str, data: bytes, *, flushed: bool = False, jetstream: bool = False) -> None:
        """PeerError at once without a connection; `flushed` returns when the server has it, `jetstream` when the stream has.

        Without either a message may still be lost with the connection. InputError: larger than `max_payload`.
        """
        client = self._client
        if client is None or not self.connected or not client.is_connected:
            raise PeerError(self.who, "not connected")
        if len(data) > self.max_payload:
            raise InputError(f"{len(data)} bytes, the server takes at most {self.max_payload}", f"message to {subject}")
        try:
            if jetstream:
                await self._unless_lost(client.jetstream().publish(subject, data, timeout=_FLUSH_TIMEOUT))
                return
            await self._unless_lost(client.publish(subject, data))
            if flushed:
                await self._unless_lost(client.flush(int(_FLUSH_TIMEOUT)))
        except js_errors.NoStreamResponseError:
            raise PeerError(self.who, f"no stream takes the subject {subject}") from None
        except (errors.TimeoutError, TimeoutError):
            raise PeerError(self.who, f"no acknowledgement within {_FLUSH_TIMEOUT:g} s") from None
        except (errors.Error, OSError) as error:
            raise PeerError(self.who, _reason(error)) from None

    def subscribe(self, subject: str, handler: Handler, *, queue: str | None = None, durable: str | None = None) -> None:
        """May be called before start. With `durable`: JetStream consumer, acknowledged when the handler returns, not when it raises.

        Handlers of a plain subscription run one after the other; those of a durable one are started in order, many at once.
        A message whose handler raises is counted as lost on a plain subscription (logged) and redelivered on a durable one.
        """
        subscription = _Subscription(subject, handler, queue, durable)
        self._subscriptions.append(subscription)
        if self._client is not None and self.connected:
            self._consumers[id(subscription)] = asyncio.get_running_loop().create_task(self._subscribe_now(self._client, subscription))

    async def _unless_lost(self, call: Awaitable[Any]) -> None:
        """Await a call of the library, but not beyond the connection: it would wait for its own time limit."""
        task, lost = asyncio.ensure_future(call), asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise PeerError(self.who, "the connection was lost")
            task.result()
        finally:
            lost.cancel()
            if not task.done():
                task.cancel()

    # The connection

    async def _keep_connected(self) -> None:
        backoff = Backoff(0.25, 10.0)
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self._lost = asyncio.Event()
            client, began = Client(), loop.time()
            try:
                await self._connect(client)
            except Exception as error:  # nkeys and the library raise what they like; nothing may end the retries
                self._log.throttled(60, "connecting.failed", server=self.who, error=_reason(error))
            else:
                began = loop.time()
                await self._lost.wait()
                if not self._stopping:
                    self._log.warning("disconnected", server=self.who, error=_reason(client.last_error) if client.last_error else "")
            finally:
                await self._disconnected(client)
            if loop.time() - began > _STEADY:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _connect(self, client: Client) -> None:
        config = self._config

        async def on_error(error: Exception) -> None:
            if isinstance(error, errors.SlowConsumerError):
                self._log.throttled(10, "slow.consumer", subject=error.subject, pending=error.sub.pending_msgs)
            elif client is self._client:
                self._log.throttled(10, "error", error=_reason(error))

        async def on_closed() -> None:
            self._lost.set()

        def user() -> str:
            self._require_tls(client)
            return config.username

        both = bool(config.username and config.password)
        urls = random.sample(self._urls, len(self._urls))
        options: dict[str, Any] = {"tls": self._tls} if self._tls else {}
        if config.creds_file_path:
            options["user_credentials"] = config.creds_file_path
        if config.nkey_file:
            options["nkeys_seed"] = config.nkey_file
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            await client.connect(
                urls,
                name=self._client_name,
                user=user if both else None,
                password=config.password.reveal if both else None,
                error_cb=on_error,
                closed_cb=on_closed,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=4,
                ping_interval=15,
                max_outstanding_pings=2,
                dont_randomize=True,
                **options,
            )
        self._require_tls(client)
        self.max_payload = int(client.max_payload)
        self._client = client
        await self._subscribe_all(client)
        self.connected = True
        self._changed.set()
        self._changed.clear()
        self._log.notice("connected", server=client.connected_url.netloc.rpartition("@")[2] if client.connected_url else self.who)

    def _require_tls(self, client: Client) -> None:
        # The library upgrades when the server asks for it; a server in between that does not ask must not get our password.
        if self._tls is not None and not client._server_info.get("tls_required"):
            raise PeerError(self.who, "the server offers no TLS")

    async def _disconnected(self, client: Client) -> None:
        self.connected = False
        self._client = None
        self._lost.set()
        for task in self._consumers.values():
            task.cancel()
        self._consumers.clear()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await client.close()

    # Subscriptions

    async def _subscribe_all(self, client: Client) -> None:
        for subscription in self._subscriptions:
            if subscription.durable:
                task = asyncio.get_running_loop().create_task(self._consume(client, subscription))
                self._consumers[id(subscription)] = task
            else:
                await self._subscribe_now(client, subscription)
        await client.flush(int(_FLUSH_TIMEOUT))

    async def _subscribe_now(self, client: Client, subscription: _Subscription) -> None:
        if subscription.durable:
            return await self._consume(client, subscription)

        async def on_message(message: Any) -> None:
            try:
                await subscription.handler(message.subject, message.data)
            except Exception as error:
                self._log.throttled(10, "handler.failed", subject=message.subject, bytes=len(message.data), error=error)

        await client.subscribe(subscription.subject, queue=subscription.queue or "", cb=on_message)
        self._log.info("subscribed", subject=subscription.subject)
        return None

    async def _consume(self, client: Client, subscription: _Subscription) -> None:
        """Pull batches of a durable consumer; until the connection is lost."""
        backoff = Backoff(1.0, 30.0)
        stream = client.jetstream()
        while not self._lost.is_set():
            try:
                pull = await stream.pull_subscribe(subscription.subject, durable=subscription.durable)
                self._log.info("subscribed", subject=subscription.subject, durable=subscription.durable)
                backoff.reset()
                while True:
                    await self._take_batch(pull, subscription)
            except js_errors.NotFoundError:
                self._log.throttled(60, "no stream takes this subject", subject=subscription.subject)
            except (errors.Error, TimeoutError, OSError) as error:
                self._log.throttled(60, "jetstream.failed", subject=subscription.subject, error=_reason(error))
            await asyncio.sleep(backoff.next())

    async def _take_batch(self, pull: Any, subscription: _Subscription) -> None:
        try:
            messages = await pull.fetch(_BATCH, timeout=5)
        except (errors.TimeoutError, TimeoutError):
            if self._lost.is_set():
                raise
            return
        await asyncio.gather(*(self._handle(message, subscription) for message in messages))

    async def _handle(self, message: Any, subscription: _Subscription) -> None:
        try:
            await subscription.handler(message.subject, message.data)
        except Exception as error:
            self._log.throttled(10, "handler.failed", subject=message.subject, durable=subscription.durable, error=error)
            await message.nak(delay=_REDELIVER_AFTER)
            return
        await message.ack()


def _check_keys(config: NatsConfig) -> None:
    """At start, so that a wrong path is not an endless reconnect. The files are read again at each connection."""
    for path, what in ((config.creds_file_path, "credentials file"), (config.nkey_file, "NKey file")):
        if not path:
            continue
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise OperatorError(f"cannot read the NATS {what} {path}: {error.strerror}", "correct the path or its permissions") from None
        if what == "credentials file" and (b"BEGIN NATS USER JWT" not in content or b"BEGIN USER NKEY SEED" not in content):
            raise OperatorError(f"{path} is no NATS credentials file", "make it with nsc generate creds")
        if what == "NKey file":
            import nkeys  # loads PyNaCl: only where there is a seed

            try:
                nkeys.from_seed(bytearray(content.strip())).wipe()
            except Exception:  # nkeys raises several unrelated classes
                raise OperatorError(f"{path} holds no NKey seed", "it must be one line that begins with SU") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix("nats: ") or type(error).__name__
