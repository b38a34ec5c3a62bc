"""Files that are whole or not there: atomic write, directory sync, locks, quarantine, safe names."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError, OperatorError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` by `data`: a reader sees the old or the new content, also after a power cut (with `sync`). OSError.

    The file is written beside it as `.<name>.<pid>.tmp` and renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in a directory safe against a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quarantine(path: Path) -> Path:
    """Put a damaged file aside as `<name>.damaged` (`.damaged-2` …) in the same directory; its new path."""
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.damaged" + (f"-{number}" if number > 1 else ""))
        if not aside.exists():
            path.rename(aside)
            return aside
        number += 1


def safe_name(text: str, what: str = "name") -> str:
    """`text`, when it can be one component of a path: not empty, `.`, `..`, no `/` or NUL, at most 255 bytes. InputError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError("is no valid text", what) from None
    if text in ("", ".", "..") or "/" in text or "\0" in text:
        raise InputError(f"{text!r} cannot be used here", what)
    if size > 255:
        raise InputError("is longer than 255 bytes", what)
    return text


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file (made if absent, left in place); OperatorError when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"{path} is in use by another process", "stop that one first") from None
        yield
    finally:
        os.close(descriptor)
