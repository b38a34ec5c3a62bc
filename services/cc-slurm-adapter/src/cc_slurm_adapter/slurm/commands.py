"""Runs Slurm's commands: found through PATH, no shell, a time limit, at most so many at once, output capped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from ccdaemon.log import Log

LIMIT = 60.0  # seconds per command
SIZE = 1 << 30  # bytes of output
CHUNK = 1000  # job ids in one argument: Linux limits one argument to 128 KiB


class SlurmDown(Exception):
    """A command failed or did not end; the text names the command, its exit code and what it said."""


class UnknownJob(SlurmDown):
    """slurmctld does not know the one asked id."""


class Commands:
    """`local` is the cluster of this machine's slurmctld: it is asked without `--cluster`, which works while slurmdbd is down."""

    def __init__(self, concurrent: int, log: Log) -> None:
        self._slots = asyncio.Semaphore(max(1, concurrent))
        self._log = log
        self.local = ""
        self._running: set[asyncio.subprocess.Process] = set()

    def kill_all(self) -> None:
        """End what runs now (second signal, stop past its deadline)."""
        for process in self._running:
            _kill(process)

    async def run(self, *command: str) -> bytes:
        """Standard output. SlurmDown, UnknownJob."""
        self._log.debug("slurm.command", command=" ".join(command))
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                    env={**os.environ, "TZ": "UTC"},
                )
            except OSError as e:
                raise SlurmDown(f"{command[0]} cannot be run ({e.strerror}): is Slurm's bin folder in PATH?") from None
            self._running.add(process)
            try:
                out, err = await asyncio.wait_for(process.communicate(), LIMIT)
            except TimeoutError:
                raise SlurmDown(f"{command[0]} did not end within {LIMIT:.0f} s") from None
            finally:
                self._running.discard(process)
                if process.returncode is None:  # too late, or the daemon stops: end it and take its pipes down while the loop still runs
                    _kill(process)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.communicate(), 2)
        if process.returncode != 0:
            said = err.decode("utf-8", "replace").strip()
            if "Invalid job id specified" in said:
                raise UnknownJob(f"{command[0]}: {said}")
            raise SlurmDown(f"{command[0]} ended with {process.returncode}: {said[:500]}")
        if len(out) > SIZE:
            raise SlurmDown(f"{command[0]} printed {len(out)} bytes, more than {SIZE}")
        return out

    def at(self, cluster: str) -> list[str]:
        """`--cluster NAME`, or nothing for the local cluster."""
        return [] if cluster == self.local else ["--cluster", cluster]


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def chunks(ids: Sequence[int]) -> list[str]:
    """Comma-joined ids, at most CHUNK in each."""
    return [",".join(map(str, ids[i : i + CHUNK])) for i in range(0, len(ids), CHUNK)]
