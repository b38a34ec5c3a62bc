"""The event loop of our daemons: what libraries push into the default executor (name look-ups, files) goes to bounded pools of ours.

asyncio's own default executor waits at exit for its threads, so one name server that does not answer would hold up a stop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from .executors import Pool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Loop(asyncio.SelectorEventLoop):
    """Two pools: a hanging name server must not keep files from being served."""

    def __init__(self) -> None:
        super().__init__()
        self._names = Pool("names", 4, waiting=200)
        self._library = Pool("library", 4)

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        return await self._names.run(socket.getaddrinfo, host, port, family, type, proto, flags)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        return asyncio.wrap_future(self._library.submit(func, *args), loop=self)
