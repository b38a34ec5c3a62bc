"""Typed records of Slurm's JSON, parsers v0.0.41 (24.05) to v0.0.45 (26.05); unknown members are skipped.

Numbers come plain or as `{"set", "infinite", "number"}`, texts as text or list (spec slurm-adapter 9).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class NumberObject(msgspec.Struct, frozen=True):
    set: bool = False
    infinite: bool = False
    number: float = 0


Number = NumberObject | int | float | str | None
Text = str | list[str] | None


def number(n: Number) -> int:
    """The value, also when not `set`; 0 for nothing."""
    if isinstance(n, NumberObject):
        return int(n.number)
    if isinstance(n, str):
        return int(n) if n.lstrip("-").isdecimal() else 0
    return int(n or 0)


def limit(n: Number) -> int:
    """A limit: 0 where it is not set or unlimited."""
    if isinstance(n, NumberObject) and (not n.set or n.infinite):
        return 0
    return number(n)


def texts(t: Text) -> list[str]:
    return [] if t is None else [t] if isinstance(t, str) else t


def text(t: Text) -> str:
    """The first element."""
    return next(iter(texts(t)), "")


class Version(msgspec.Struct, frozen=True):
    major: Number = 0
    minor: Number = 0
    micro: Number = 0


class SlurmMeta(msgspec.Struct, frozen=True):
    version: Version = Version()
    release: str = ""
    cluster: str = ""


class Meta(msgspec.Struct, frozen=True):
    slurm: SlurmMeta | None = None


class Complaint(msgspec.Struct, frozen=True):
    """An entry of `errors`, which may be there although the command succeeded."""

    description: str = ""
    error: str = ""


class ClusterName(msgspec.Struct, frozen=True):
    name: str


class ClustersAnswer(msgspec.Struct, frozen=True):
    clusters: list[ClusterName]
    meta: Meta | None = None


class UserRecord(msgspec.Struct, frozen=True):
    name: str
    administrator_level: Text = None


class UsersAnswer(msgspec.Struct, frozen=True):
    users: list[UserRecord]


class Tres(msgspec.Struct, frozen=True):
    type: str = ""
    name: str = ""
    count: Number = 0


class TresSets(msgspec.Struct, frozen=True):
    allocated: list[Tres] = []
    requested: list[Tres] = []


class SacctTime(msgspec.Struct, frozen=True):
    start: Number = 0
    end: Number = 0
    submission: Number = 0
    limit: Number = None


class SacctState(msgspec.Struct, frozen=True):
    current: Text = None


class ArrayInfo(msgspec.Struct, frozen=True):
    job_id: Number = 0


class Required(msgspec.Struct, frozen=True):
    CPUs: Number = 0


class SacctJob(msgspec.Struct, frozen=True):
    """One of `sacct --json`'s `jobs`."""

    job_id: int
    cluster: str
    state: SacctState
    time: SacctTime
    nodes: str = ""
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    name: str | None = None
    array: ArrayInfo = ArrayInfo()
    allocation_nodes: Number = 0
    required: Required = Required()
    tres: TresSets = TresSets()
    restart_cnt: Number = 0
    exclusive: Text = None
    oversubscribe: Text = None


class RawJobsAnswer(msgspec.Struct, frozen=True):
    """Jobs as raw JSON, so that one bad record does not spoil the others."""

    jobs: list[msgspec.Raw]
    meta: Meta | None = None
    errors: list[Complaint] = []


class Core(msgspec.Struct, frozen=True):
    index: int
    status: Text = None


class Socket(msgspec.Struct, frozen=True):
    index: int
    cores: list[Core] = []


class Allocation(msgspec.Struct, frozen=True):
    name: str
    index: int = 0
    sockets: list[Socket] = []


class JobNodes(msgspec.Struct, frozen=True):
    allocation: list[Allocation] = []


class JobResources(msgspec.Struct, frozen=True):
    nodes: JobNodes | None = None


class SqueueJob(msgspec.Struct, frozen=True):
    """One of `squeue --json`'s or `scontrol show job --json`'s `jobs`."""

    job_id: int
    job_state: Text = None
    user_name: str | None = None
    user_id: Number = None
    name: str | None = None
    comment: str | None = None
    shared: Text = None
    exclusive: Text = None
    gres_detail: list[str] = []
    job_resources: JobResources | None = None
    restart_cnt: Number = 0


class NodeRecord(msgspec.Struct, frozen=True):
    """One of `scontrol show node --json`'s `nodes`; `cores` per socket."""

    name: str
    state: Text = None
    cores: Number = 0
    sockets: Number = 1
    threads: Number = 1
    alloc_cpus: Number = 0
    alloc_memory: Number = 0
    gres_used: str | None = None


class NodesAnswer(msgspec.Struct, frozen=True):
    nodes: list[NodeRecord]
    meta: Meta | None = None


def jobs_of(raw: list[msgspec.Raw], type_: type[T]) -> tuple[list[T], list[str]]:
    """Decode each record for itself: (good ones, what was wrong with the others)."""
    good: list[T] = []
    bad: list[str] = []
    decoder = msgspec.json.Decoder(type_)
    for record in raw:
        try:
            good.append(decoder.decode(record))
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            bad.append(str(e))
    return good, bad
