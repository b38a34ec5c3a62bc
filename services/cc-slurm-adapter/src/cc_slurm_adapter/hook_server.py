"""Receives what hook clients send: bounded in size, time and number; whatever arrives, the daemon lives on."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Ledger
from ccdaemon.log import Log

from .hook import parse_address

SIZE = 64 << 10  # bytes of one message
TIME = 10.0  # seconds for one message
CONNECTIONS = 1024


class HookMessage(msgspec.Struct):
    """What the daemon uses of a message; missing members are empty."""

    job_id: str = msgspec.field(name="SLURM_JOB_ID", default="")
    cluster: str = msgspec.field(name="SLURM_CLUSTER_NAME", default="")
    context: str = msgspec.field(name="SLURM_SCRIPT_CONTEXT", default="")


class HookServer:
    """A Part. Gives each good message to `take(cluster, job id, "prolog" | "epilog")`."""

    name = "hook-server"

    def __init__(self, address: str, take: Callable[[str, int, str], None], ledger: Ledger, log: Log) -> None:
        self._text = address
        self._take = take
        self._ledger = ledger
        self._log = log
        self._open = 0
        self._server: asyncio.Server | None = None
        self._made: Path | None = None

    async def start(self) -> None:
        """Listen. OperatorError names the key and what is wrong."""
        try:
            family, where = parse_address(self._text)
            if family == socket.AF_UNIX:
                self._server = await self._listen_unix(Path(str(where)))
            else:
                if not ipaddress.ip_address(where[0]).is_loopback:
                    self._log.warning(
                        "hook.open_network", address=self._text, advice="whoever reaches this port can make the adapter ask Slurm"
                    )
                self._server = await asyncio.start_server(self._serve, where[0], where[1], family=family)
        except (OSError, ValueError) as e:
            long = "path too long" in str(e)
            remedy = "a Unix socket's path has at most 107 bytes" if long else "does the folder exist and may this user write there?"
            raise OperatorError(f"prepSockListenPath: cannot listen on {self._text}: {e}", remedy) from None

    async def _listen_unix(self, path: Path) -> asyncio.Server:
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise OSError(f"{path} exists and is no socket")
            path.unlink()
        server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o666)  # the folder (0750, group slurm) says who may
        self._made = path
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ledger.took(1)
        try:
            if self._open >= CONNECTIONS:
                self._ledger.refused("too_many_connections", 1)
                return
            self._open += 1
            try:
                message = await asyncio.wait_for(_read_all(reader), TIME)
            finally:
                self._open -= 1
            self._judge(message)
        except (TimeoutError, OSError, ValueError) as e:
            self._ledger.refused("unreadable", 1)
            self._log.throttled(60, "hook.unreadable", why=str(e) or type(e).__name__)
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    def _judge(self, data: bytes) -> None:
        try:
            message = msgspec.json.decode(data, type=HookMessage)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._ledger.refused("no_message", 1)
            self._log.throttled(60, "hook.no_message", begins=repr(data[:80]))
            return
        if not message.job_id.isdecimal() or len(message.job_id) > 10:
            self._ledger.refused("no_job_id", 1)
            self._log.throttled(60, "hook.no_job_id", job=message.job_id[:40], cluster=message.cluster[:40])
            return
        self._take(message.cluster, int(message.job_id), "epilog" if message.context.startswith("epilog") else "prolog")
        self._ledger.gave(1)

    async def stop(self, deadline: float) -> None:
        """Close, and remove only what this process made."""
        if self._server is not None:
            self._server.close()
        if self._made is not None:
            with contextlib.suppress(OSError):
                self._made.unlink()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while chunk := await reader.read(65536):
        data += chunk
        if len(data) > SIZE:
            raise ValueError(f"more than {SIZE} bytes")
    return data
