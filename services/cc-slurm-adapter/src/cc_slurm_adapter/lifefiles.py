"""PID file and lastrun file (spec slurm-adapter 4)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ccdaemon.errors import OperatorError


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Held under a lock for life, so that a second daemon refuses and a stale file does not matter; only the owner removes it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as e:
        raise OperatorError(
            f"pidFilePath: {path}: {e.strerror}", "the folder must be writable for this user (RuntimeDirectory= of the unit)"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise OperatorError(f"a daemon is running already (process {file.read().strip() or '?'}, {path})", "stop it first") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        path.chmod(0o644)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


class LastRun:
    """The file whose modification time is the oldest completed poll of all clusters (design T12)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.time = path.stat().st_mtime if path.exists() else 0.0
            path.touch(0o644)
            os.utime(path, (self.time, self.time))
        except OSError as e:
            raise OperatorError(
                f"lastRunPath: {path}: {e.strerror}", "the folder must exist and be writable for this user (StateDirectory= of the unit)"
            ) from None

    def move(self, to: float) -> None:
        """OSError where it cannot be written later: an error of that poll."""
        if to > self.time:
            os.utime(self._path, (to, to))
            self.time = to
