"""Metrics from commands and files of the administrator, as line protocol.

Every command is run (split at blanks, no shell) and every file read in each round; the output is line protocol with
timestamps in nanoseconds, any number of lines and any kind of message. It is passed on as it is: no tag and no meta data
is added except those of the router, so the lines should carry `type=node` or the like themselves.

- A line that is wrong is left out, with a warning; the others are sent. A line without time gets the time of the read.
- At start every entry is tried once; an entry that fails then is left out. With nothing left the collector is skipped.
- All commands together have the collection interval to end, each an equal share of it; its exit status must be 0 and its output below 1 MiB, else its output is discarded for
  that round.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from ccmessage.decode import LineError, decode
from ccmessage.encode import Precision
from ccmessage.message import Message
from msgspec import Meta

from ..base import Collector, CommandFailed, Context, SourceMissing

LIMIT = 1 << 20


class Keys(msgspec.Struct):
    commands: Annotated[list[str], Meta(description="Command lines, split at blanks, run without a shell.")] = []
    files: Annotated[list[str], Meta(description="Files to read.")] = []
    exclude_metrics: Annotated[list[str], Meta(description="Names of metrics that are not sent.")] = []


class Customcmd(Collector):
    Config = Keys

    def __init__(self, config: Keys) -> None:
        self._config = config
        self._excluded = frozenset(config.exclude_metrics)

    def open(self, ctx: Context) -> None:
        self._ctx = ctx
        self._share = ctx.interval / max(len(self._config.commands), 1)  # all of them together get the interval
        self._commands = [argv for line in self._config.commands if (argv := line.split()) and self._works(argv)]
        self._files = [file for file in self._config.files if self._readable(file)]
        if not self._commands and not self._files:
            raise SourceMissing("no command or file that works")

    def _works(self, argv: list[str]) -> bool:
        try:
            self._ctx.run(argv, timeout=self._share, limit=LIMIT)
        except CommandFailed as error:
            self._ctx.log.warning("customcmd.left_out", command=" ".join(argv), error=str(error))
            return False
        return True

    def _readable(self, file: str) -> bool:
        try:
            self._ctx.path(file).read_bytes()
        except OSError as error:
            self._ctx.log.warning("customcmd.left_out", file=file, error=str(error))
            return False
        return True

    def read(self, now_ns: int, duration: float) -> list[Message]:
        out: list[Message] = []
        for argv in self._commands:
            try:
                out += self._messages(self._ctx.run(argv, timeout=self._share, limit=LIMIT), now_ns, argv[0])
            except CommandFailed as error:
                self._ctx.log.throttled(60, "customcmd.failed", command=" ".join(argv), error=str(error))
        for file in self._files:
            try:
                out += self._messages(self._ctx.path(file).read_bytes()[:LIMIT], now_ns, file)
            except OSError as error:
                self._ctx.log.throttled(60, "customcmd.failed", file=file, error=str(error))
        return out

    def _messages(self, text: bytes, now_ns: int, source: str) -> list[Message]:
        out: list[Message] = []
        for found in decode(text, precision=Precision.NS, default_ns=now_ns):
            if isinstance(found, LineError):
                self._ctx.log.throttled(60, "customcmd.bad_line", source=source, error=str(found))
            elif found.head.name not in self._excluded:
                out.append(found)
        return out
