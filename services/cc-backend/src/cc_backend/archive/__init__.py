"""The job archive: metadata and metric data of finished jobs, by (cluster, job id, start time).

Drivers are synchronous and know bytes only; callers run them in the archive's executor. What the bytes mean is `codec`'s
business. A driver passes the contract suite of the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from ccdaemon.errors import InputError

VERSION: Final = 3
"""Archive version that is read and written (docs/formats/job-archive.md)."""


class JobKey(NamedTuple):
    """Identity of a job in the archive. `parts` is its path: cluster, job id div 1000, job id mod 1000 (3 digits), start time."""

    cluster: str
    job_id: int
    start_time: int

    def parts(self) -> tuple[str, str, str, str]:
        """InputError for a cluster name that could leave its directory, or a negative number."""
        check_name(self.cluster)
        if self.job_id < 0 or self.start_time < 0:
            raise InputError(f"job id {self.job_id} and start time {self.start_time} must not be negative")
        return self.cluster, str(self.job_id // 1000), f"{self.job_id % 1000:03d}", str(self.start_time)


class Missing(Exception):
    """The archive has no such job, or not this part of it."""

    def __init__(self, key: JobKey, what: str) -> None:
        super().__init__(f"no {what} of job {key.job_id} (cluster {key.cluster}, start {key.start_time}) in the archive")
        self.key = key


class ArchiveBackend(Protocol):
    """Every write is atomic: a reader finds the old job or the new one, whatever happens meanwhile."""

    def read_meta(self, key: JobKey) -> bytes:
        """Missing where there is none."""

    def read_data(self, key: JobKey) -> bytes:
        """The uncompressed data document; Missing."""

    def write(self, key: JobKey, meta: bytes, data: bytes) -> None:
        """Store a job, over an old one of the same key. Returns when it is safe on the medium."""

    def write_meta(self, key: JobKey, meta: bytes) -> None:
        """Replace the metadata of a job that exists; Missing."""

    def exists(self, key: JobKey) -> bool: ...

    def delete(self, keys: Iterable[JobKey]) -> Iterator[JobKey]:
        """Delete jobs; yields those that are really gone (also those that were not there): rows are deleted by that."""

    def keys(self, cluster: str | None = None) -> Iterator[JobKey]:
        """All jobs, in no particular order."""

    def clusters(self) -> dict[str, bytes]:
        """Content of every `cluster.json` by its directory's name, sorted by name."""


def check_name(name: str) -> str:
    """A name that is one path element and nothing else; InputError."""
    if name in ("", ".", "..") or any(c in "/\\" or ord(c) < 32 for c in name):
        raise InputError(f"'{name}' cannot be the name of a cluster")
    return name
