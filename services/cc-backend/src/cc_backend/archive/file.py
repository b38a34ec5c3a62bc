"""Archive in a directory tree, as docs/formats/job-archive.md describes it.

A new job is written as a directory of its own beside its place and renamed: it is there completely or not at all. A job that
exists is replaced file by file, metadata last.
"""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from ccdaemon.errors import OperatorError

from . import VERSION, JobKey, Missing, check_name

GZIP_ABOVE: Final = 2000
"""Bytes of a data document above which it is compressed."""

_DIR_MODE: Final = 0o750
_FILE_MODE: Final = 0o640


class FileArchive:
    """`path` must exist; a directory without entries (hidden ones aside) becomes an archive. OperatorError otherwise."""

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda text: None) -> None:
        self._root = path
        self._warn = warn
        _check_version(path)

    def read_meta(self, key: JobKey) -> bytes:
        try:
            return (self._dir(key) / "meta.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(key, "metadata") from None

    def read_data(self, key: JobKey) -> bytes:
        directory = self._dir(key)
        try:
            return gzip.decompress((directory / "data.json.gz").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            pass
        try:
            return (directory / "data.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(key, "data") from None

    def write(self, key: JobKey, meta: bytes, data: bytes) -> None:
        target = self._dir(key)
        name, other, content = _variant(data)
        if target.exists():
            _replace(target / name, content)
            (target / other).unlink(missing_ok=True)  # the compressed one would win on reading
            _replace(target / "meta.json", meta)
            _sync_directory(target)
            return
        target.parent.mkdir(mode=_DIR_MODE, parents=True, exist_ok=True)
        building = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        building.mkdir(mode=_DIR_MODE)
        try:
            _write(building / name, content)
            _write(building / "meta.json", meta)
            _sync_directory(building)
            building.rename(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        _sync_directory(target.parent)

    def write_meta(self, key: JobKey, meta: bytes) -> None:
        target = self._dir(key)
        if not target.is_dir():
            raise Missing(key, "metadata")
        _replace(target / "meta.json", meta)
        _sync_directory(target)

    def exists(self, key: JobKey) -> bool:
        return self._dir(key).is_dir()

    def delete(self, keys: Iterable[JobKey]) -> Iterator[JobKey]:
        for key in keys:
            directory = self._dir(key)
            try:
                if directory.exists():
                    # Renamed first: a deletion that is cut short leaves no half job behind.
                    gone = directory.parent / f".{directory.name}.{secrets.token_hex(4)}.tmp"
                    directory.rename(gone)
                    shutil.rmtree(gone)
            except OSError as e:
                self._warn(f"cannot delete {directory}: {e}")
                continue
            if directory.parent.is_dir() and not any(directory.parent.iterdir()):
                directory.parent.rmdir()
            yield key

    def keys(self, cluster: str | None = None) -> Iterator[JobKey]:
        names = [check_name(cluster)] if cluster is not None else sorted(self.clusters())
        for name in names:
            for level1 in _numbered(self._root / name):
                for level2 in _numbered(level1):
                    for start in _numbered(level2):
                        yield JobKey(name, int(level1.name) * 1000 + int(level2.name), int(start.name))

    def clusters(self) -> dict[str, bytes]:
        out = {}
        for directory in sorted(self._root.iterdir()):
            if not directory.is_dir() or directory.name.startswith("."):
                continue
            try:
                out[directory.name] = (directory / "cluster.json").read_bytes()
            except FileNotFoundError:
                self._warn(f"{directory} has no cluster.json and is no cluster: skipped")
            except OSError as e:
                raise OperatorError(f"failed to load cluster config for '{directory.name}': {e}", "make it readable") from e
        return out

    def _dir(self, key: JobKey) -> Path:
        return self._root.joinpath(*key.parts())


def _check_version(root: Path) -> None:
    if not root.is_dir():
        raise OperatorError(f"archive.path: there is no directory '{root}'", "create it (cc-backend -init creates ./var/job-archive)")
    file = root / "version.txt"
    try:
        text = file.read_text()
    except FileNotFoundError:
        if any(not entry.name.startswith(".") for entry in root.iterdir()):
            remedy = f"write '{VERSION}' into it if it is an archive of version {VERSION}"
            raise OperatorError(f"archive.path: '{root}' has entries but no version.txt", remedy) from None
        _replace(file, f"{VERSION}\n".encode(), mode=0o644)
        return
    try:
        version = int(text.removesuffix("\n"))
    except ValueError:
        raise OperatorError(f"archive.path: '{file}' does not hold a number", f"it must be '{VERSION}'") from None
    if version != VERSION:
        raise OperatorError(f"unsupported version {version}, need {VERSION}", "migrate the job archive with archive-migration")


def _variant(data: bytes) -> tuple[str, str, bytes]:
    """(file name, name of the other form, content). No time of compression inside: same data, same bytes."""
    if len(data) > GZIP_ABOVE:
        # Level 9, the default, takes 2.5 times as long as 6 for one per cent of size.
        return "data.json.gz", "data.json", gzip.compress(data, compresslevel=6, mtime=0)
    return "data.json", "data.json.gz", data


def _write(path: Path, content: bytes, mode: int = _FILE_MODE) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, content: bytes, mode: int = _FILE_MODE) -> None:
    building = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write(building, content, mode)
        building.replace(path)
    except BaseException:
        building.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _numbered(directory: Path) -> list[Path]:
    try:
        return sorted((entry for entry in directory.iterdir() if entry.name.isdecimal() and entry.is_dir()), key=lambda p: int(p.name))
    except FileNotFoundError:
        return []
