"""One line per message on standard output, standard error or into a file, timestamps in nanoseconds.

A file is opened for appending, mode 0600. There is no spool: what cannot be written is counted and lost.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

from ccdaemon.errors import OperatorError
from ccdaemon.executors import Pool
from ccdaemon.log import Log
from ccmessage.encode import Batch
from msgspec import Meta

from ..base import Refused, Sink
from ..common_keys import SinkConfig


class Keys(SinkConfig, kw_only=True):
    output_file: Annotated[str, Meta(description="`stdout`, `stderr` or the path of a file.")] = "stdout"


class StdoutSink(Sink):
    Config = Keys
    spooled = False

    def __init__(self, config: Keys, name: str, log: Log) -> None:
        self._target = config.output_file
        self._pool = Pool(f"sink-{name}", 1, waiting=2)  # a reader that stops reading must not stop the loop

    async def open(self) -> None:
        word = self._target.lower()
        if word in ("stdout", "stderr"):
            self._fd, self._own = (sys.stdout if word == "stdout" else sys.stderr).fileno(), False
            return
        try:
            self._fd, self._own = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), True
        except OSError as error:
            raise OperatorError(f"output_file: {error}", "name a file in a directory that the collector may write") from None

    async def send(self, batch: Batch) -> None:
        try:
            await self._pool.run(write_all, self._fd, batch.body)
        except OSError as error:
            raise Refused(str(error)) from None

    async def close(self) -> None:
        self._pool.close(1.0)
        if getattr(self, "_own", False):
            os.close(self._fd)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
