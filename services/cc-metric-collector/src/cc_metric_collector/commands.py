"""Running a command for a collector: own process group, time limit, bounded output, no shell."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .base import CommandFailed, SourceMissing

CHUNK = 65536


def run_command(argv: Sequence[str], *, timeout: float, limit: int = 1 << 20, stdin: bytes = b"") -> bytes:
    """Standard output of a command. CommandFailed: not found, exit status not 0, over `timeout` seconds, over `limit` bytes.

    A command that runs into a limit is killed with everything it started (its process group).
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - argv comes from the administrator's configuration, no shell
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{argv[0] if argv else '(empty)'}: {error}") from None
    try:
        output = _collect(process, argv[0], time.monotonic() + timeout, limit, stdin)
    finally:
        _end(process)
    if process.returncode != 0:
        raise CommandFailed(f"{argv[0]}: exit status {process.returncode}", process.returncode, output)
    return output


def find_command(program: str, *, sudo: Sequence[str] = ()) -> list[str]:
    """Begin of a command line: absolute path of a program, behind `sudo` and its options where given. SourceMissing."""
    found = []
    for name in ([sudo[0]] if sudo else []) + [program]:
        path = shutil.which(name)
        if path is None:
            raise SourceMissing(f"there is no program {name}")
        found.append(str(Path(path).absolute()))
    return [found[0], *sudo[1:], *found[1:]]


def need_root(program: str, remedy: str) -> None:
    """SourceMissing for a program that only root may use."""
    if os.geteuid() != 0:
        raise SourceMissing(f"{program} is for root only: {remedy}")


def _collect(process: subprocess.Popen[bytes], name: str, deadline: float, limit: int, stdin: bytes) -> bytes:
    assert process.stdout is not None
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)  # a few words: below the pipe's capacity, so this does not block
            process.stdin.close()
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise CommandFailed(f"{name}: no end within the time limit")
            chunk = os.read(process.stdout.fileno(), CHUNK)
            if not chunk:
                break
            output += chunk
            if len(output) > limit:
                raise CommandFailed(f"{name}: more than {limit} bytes of output")
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{name}: no end within the time limit") from None
    return bytes(output)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group, collect the process, close its pipes."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
