"""Jobs as all JSON of the suite has them: start_job bodies, answers, `meta.json`.

The field order is the order in which the reference writes. Fields with a `default_factory` are always written, plain defaults are
left out. `None` where the reference says null: not loaded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from .fields import Int32, Int64, empty_list, null
from .units import MetricUnit

Shared = Literal["none", "single_user", "multi_user"]
SHARED: tuple[Shared, ...] = ("none", "single_user", "multi_user")


class JobState(StrEnum):
    """The twelve states of archive version 3."""

    BOOT_FAIL = "boot_fail"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    DEADLINE = "deadline"
    FAILED = "failed"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    PENDING = "pending"
    PREEMPTED = "preempted"
    RUNNING = "running"
    SUSPENDED = "suspended"
    TIMEOUT = "timeout"

    @property
    def final(self) -> bool:
        """Whether a job in this state has ended."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED)

    @classmethod
    def of(cls, word: str) -> JobState | None:
        """The state of exactly this word, else None."""
        return _STATES.get(word)


_STATES = {state.value: state for state in JobState}


class MonitoringStatus:
    """Values of `monitoringStatus`; 0 is written as a missing key."""

    DISABLED = 0
    RUNNING_OR_ARCHIVING = 1
    ARCHIVING_FAILED = 2
    ARCHIVING_SUCCESSFUL = 3


class Tag(msgspec.Struct, rename="camel"):
    """Scope: `global`, `admin`, or the name of the user whose private tag it is."""

    type: str = msgspec.field(default_factory=str)
    name: str = msgspec.field(default_factory=str)
    scope: str = msgspec.field(default_factory=str)
    id: Int64 = msgspec.field(default_factory=int)


class Resource(msgspec.Struct, rename="camel", omit_defaults=True):
    """One host of a job. No hwthreads: the whole node. accelerators: PCI addresses."""

    hostname: str = msgspec.field(default_factory=str)
    configuration: str = ""
    hwthreads: list[Int32] = []
    accelerators: list[str] = []


class JobLink(msgspec.Struct, rename="camel"):
    id: Int64 = 0
    job_id: Int64 = 0


class JobLinks(msgspec.Struct, rename="camel"):
    items: list[JobLink] | None = None
    count: Int64 = 0


class JobStatistics(msgspec.Struct, rename="camel"):
    """Statistics of one metric over the job; avg is per node."""

    unit: MetricUnit = msgspec.field(default_factory=MetricUnit)
    avg: float = 0.0
    min: float = 0.0
    max: float = 0.0


class Job(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A job (messages-and-lib 16.2). Times in seconds since the epoch, energy in kWh, walltime and duration in s, memory in MB.

    Nothing is defaulted on reading: an absent `shared` or `jobState` is empty.
    """

    cluster: str = msgspec.field(default_factory=str)
    sub_cluster: str = msgspec.field(default_factory=str)
    partition: str = ""
    project: str = msgspec.field(default_factory=str)
    user: str = msgspec.field(default_factory=str)
    shared: str = msgspec.field(default_factory=str)
    job_state: str = msgspec.field(default_factory=str)
    tags: list[Tag] = []
    resources: list[Resource] = msgspec.field(default_factory=empty_list)
    energy_footprint: dict[str, float] | None = msgspec.field(default_factory=null)
    footprint: dict[str, float] | None = msgspec.field(default_factory=null)
    meta_data: dict[str, str] | None = msgspec.field(default_factory=null)
    concurrent_jobs: JobLinks = msgspec.field(default_factory=JobLinks)
    energy: float = msgspec.field(default_factory=float)
    array_job_id: Int64 = 0
    walltime: Int64 = 0
    requested_memory: Int64 = 0
    job_id: Int64 = msgspec.field(default_factory=int)
    duration: Int32 = msgspec.field(default_factory=int)
    smt: Int32 = 0
    monitoring_status: Int32 = 0
    num_acc: Int32 = 0
    num_hwthreads: Int32 = 0
    num_nodes: Int32 = msgspec.field(default_factory=int)
    statistics: dict[str, JobStatistics] | None = msgspec.field(default_factory=null)
    id: Int64 = 0
    submit_time: Int64 = 0
    start_time: Int64 = msgspec.field(default_factory=int)
