"""What the adapter decides for one cluster: a pure `step(state, event, now) → state, actions`; no clock, no I/O, no Slurm type.

Invariants, checked in the tests after each step:
- a start is sent at most once per (id, start) while the job is known, a stop at most once, and never before its start;
- a job is forgotten only when it is closed (stopped or rejected) and CLOSED_FOR has passed, or when cc-backend has lost it;
- time of the last completed poll never moves back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

CLOSED_FOR = 2 * 3600  # seconds; longer than the overlap of polls, so that an ended job is not sent again
LOST_AFTER = 600  # seconds since its start was accepted until a job missing in cc-backend counts as lost
REMEMBER_FOR = 24 * 3600  # seconds for which cores and GPUs of a job are kept that no poll has named yet


class JobKey(NamedTuple):
    """A job attempt: a requeued job has the same id and another start."""

    id: int
    start: int


class Device(msgspec.Struct, frozen=True):
    """One node of an allocation: hardware threads and accelerators (PCI addresses); empty = unknown or the whole node."""

    host: str
    hwthreads: tuple[int, ...] = ()
    accelerators: tuple[str, ...] = ()


class Assigned(msgspec.Struct, frozen=True):
    """What the scheduler's memory knows about a job, for a few minutes after its end only."""

    devices: tuple[Device, ...]
    shared: str
    name: str = ""
    user: str = ""


class JobView(msgspec.Struct, frozen=True):
    """A job as the accounting shows it. Times in s; `end` 0 = not ended; `state` is cc-backend's word (only meaningful with `end`)."""

    id: int
    start: int
    end: int
    state: str
    user: str
    project: str
    partition: str
    hosts: tuple[str, ...]
    name: str = ""
    array_job: int = 0
    walltime: int = 0
    num_hwthreads: int = 0
    num_acc: int = 0
    submit: int = 0

    @property
    def key(self) -> JobKey:
        return JobKey(self.id, self.start)


class Known(msgspec.Struct, frozen=True):
    """A job that the adapter has met."""

    view: JobView
    start: Literal["asked", "due", "done", "rejected"]
    stop: Literal["", "due", "done"] = ""
    gone: int = 0  # squeue polls in a row that did not show it running
    changed: float = 0.0  # when `start` or `stop` last changed

    @property
    def runs(self) -> bool:
        return self.stop == "" and self.start != "rejected"

    @property
    def closed(self) -> bool:
        return self.stop == "done" or self.start == "rejected"


class ClusterState(msgspec.Struct, frozen=True):
    """One cluster. `hooks` counts the tries of hook events not settled yet; `remembered`: job id → (what it got, when seen)."""

    name: str
    jobs: Mapping[JobKey, Known] = {}
    remembered: Mapping[int, tuple[Assigned, float]] = {}
    hooks: Mapping[tuple[int, str], int] = {}
    polled: float = 0.0


# --- events --------------------------------------------------------------------------------------------------------------------


class Polled(msgspec.Struct, frozen=True):
    """Records of the accounting. `until`: end of a completed span, None for an answer about single ids."""

    jobs: tuple[JobView, ...]
    until: float | None = None


class Queued(msgspec.Struct, frozen=True):
    """The scheduler's memory: ids that run (or are suspended) and what the jobs it knows were given."""

    running: frozenset[int]
    assigned: Mapping[int, Assigned]


class Detailed(msgspec.Struct, frozen=True):
    """Answer to AskDetails."""

    key: JobKey
    assigned: Assigned | None
    meta: Mapping[str, str]


class HookSeen(msgspec.Struct, frozen=True):
    id: int
    kind: Literal["prolog", "epilog"]


class Tick(msgspec.Struct, frozen=True):
    """Time to ask about hook events and to forget closed jobs."""

    max_tries: int


class BackendRunning(msgspec.Struct, frozen=True):
    """All jobs of the cluster that cc-backend believes running."""

    jobs: frozenset[JobKey]


class Delivered(msgspec.Struct, frozen=True):
    key: JobKey
    kind: Literal["start", "stop"]


class Rejected(msgspec.Struct, frozen=True):
    """cc-backend's final no."""

    key: JobKey
    kind: Literal["start", "stop"]


Event = Polled | Queued | Detailed | HookSeen | Tick | BackendRunning | Delivered | Rejected

# --- actions -------------------------------------------------------------------------------------------------------------------


class AskJobs(msgspec.Struct, frozen=True):
    ids: tuple[int, ...]


class AskDetails(msgspec.Struct, frozen=True):
    views: tuple[JobView, ...]


class SendStart(msgspec.Struct, frozen=True):
    view: JobView
    assigned: Assigned | None
    meta: Mapping[str, str]


class SendStop(msgspec.Struct, frozen=True):
    key: JobKey
    state: str
    time: int
    partition: str = ""
    older: bool = False  # not the newest attempt of its id: the start must be named too


class Warn(msgspec.Struct, frozen=True):
    event: str
    keys: Mapping[str, object]


Action = AskJobs | AskDetails | SendStart | SendStop | Warn


def step(s: ClusterState, e: Event, now: float) -> tuple[ClusterState, list[Action]]:
    """The next state and what is to be done about it; see the module's invariants."""
    match e:
        case Polled():
            return _polled(s, e, now)
        case Queued():
            return _queued(s, e, now)
        case Detailed():
            return _detailed(s, e, now)
        case HookSeen():
            return msgspec.structs.replace(s, hooks={**s.hooks, (e.id, e.kind): 0}), []
        case Tick():
            return _tick(s, e, now)
        case BackendRunning():
            return _backend_running(s, e, now)
        case Delivered():
            return _settled(s, e.key, e.kind, "done", now)
        case Rejected():
            return _settled(s, e.key, e.kind, "rejected" if e.kind == "start" else "done", now)


def _polled(s: ClusterState, e: Polled, now: float) -> tuple[ClusterState, list[Action]]:
    jobs, hooks = dict(s.jobs), dict(s.hooks)
    new: list[JobView] = []
    stops: list[Action] = []
    for view in e.jobs:
        hooks.pop((view.id, "prolog"), None)
        if view.end:
            hooks.pop((view.id, "epilog"), None)
        stops += _end_older_attempts(jobs, view, now)
        known = jobs.get(view.key)
        if known is None:
            new.append(view)
            jobs[view.key] = Known(view, "asked", changed=now)
        else:
            jobs[view.key], stop = _seen_again(known, view, now)
            stops += stop
    polled = s.polled if e.until is None else max(s.polled, e.until)
    asks: list[Action] = [AskDetails(tuple(new))] if new else []
    return msgspec.structs.replace(s, jobs=jobs, hooks=hooks, polled=polled), [*asks, *stops]


def _end_older_attempts(jobs: dict[JobKey, Known], view: JobView, now: float) -> list[Action]:
    """A requeued job: its new attempt ends what was still open of an older one."""
    stops: list[Action] = []
    for key, known in list(jobs.items()):
        if key.id == view.id and key.start < view.start and known.runs and known.start != "asked":
            jobs[key] = msgspec.structs.replace(known, stop="due", changed=now)
            stops.append(SendStop(key, "cancelled", view.start, known.view.partition, older=True))
    return stops


def _seen_again(known: Known, view: JobView, now: float) -> tuple[Known, list[Action]]:
    if view.end and known.runs and known.start != "asked":
        stop = SendStop(view.key, view.state, view.end, view.partition)
        return msgspec.structs.replace(known, view=view, stop="due", changed=now), [stop]
    return msgspec.structs.replace(known, view=view), []


def _detailed(s: ClusterState, e: Detailed, now: float) -> tuple[ClusterState, list[Action]]:
    known = s.jobs.get(e.key)
    if known is None or known.start != "asked":
        return s, []
    remembered = s.remembered.get(e.key.id)
    assigned = _richer(e.assigned, remembered[0] if remembered else None)
    view = known.view
    out: list[Action] = [SendStart(view, assigned, e.meta)]
    stop: Literal["", "due"] = ""
    if view.end:
        out.append(SendStop(view.key, view.state, view.end, view.partition))
        stop = "due"
    after = msgspec.structs.replace(known, start="due", stop=stop, changed=now)
    return msgspec.structs.replace(s, jobs={**s.jobs, e.key: after}), out


def _richer(fresh: Assigned | None, old: Assigned | None) -> Assigned | None:
    """GPUs are shown only while a job runs: what was seen earlier fills what the fresh record lacks."""
    if fresh is None or old is None or [d.host for d in fresh.devices] != [d.host for d in old.devices]:
        return fresh or old
    devices = tuple(
        msgspec.structs.replace(f, hwthreads=f.hwthreads or o.hwthreads, accelerators=f.accelerators or o.accelerators)
        for f, o in zip(fresh.devices, old.devices, strict=True)
    )
    return msgspec.structs.replace(fresh, devices=devices)


def _queued(s: ClusterState, e: Queued, now: float) -> tuple[ClusterState, list[Action]]:
    remembered = dict(s.remembered)
    for job_id, assigned in e.assigned.items():
        old = remembered.get(job_id)
        remembered[job_id] = (_richer(assigned, old[0] if old else None) or assigned, now)
    jobs = dict(s.jobs)
    missed: list[int] = []
    for key, known in s.jobs.items():
        if not known.runs or known.start == "asked":
            continue
        gone = 0 if key.id in e.running else known.gone + 1
        if gone >= 2:
            missed.append(key.id)
        if gone != known.gone:
            jobs[key] = msgspec.structs.replace(known, gone=gone)
    return msgspec.structs.replace(s, jobs=jobs, remembered=remembered), _ask(missed)


def _ask(ids: Iterable[int]) -> list[Action]:
    asked = tuple(sorted(set(ids)))
    return [AskJobs(asked)] if asked else []


def _tick(s: ClusterState, e: Tick, now: float) -> tuple[ClusterState, list[Action]]:
    hooks: dict[tuple[int, str], int] = {}
    given_up: list[Action] = []
    for (job_id, kind), tries in s.hooks.items():
        if tries >= e.max_tries:
            given_up.append(Warn("hook.given_up", {"cluster": s.name, "job": job_id, "kind": kind, "tries": tries}))
        else:
            hooks[job_id, kind] = tries + 1
    jobs = {k: j for k, j in s.jobs.items() if not (j.closed and now - j.changed > CLOSED_FOR)}
    remembered = {i: r for i, r in s.remembered.items() if now - r[1] < REMEMBER_FOR}
    after = msgspec.structs.replace(s, hooks=hooks, jobs=jobs, remembered=remembered)
    return after, [*given_up, *_ask(job_id for job_id, _ in hooks)]


def _backend_running(s: ClusterState, e: BackendRunning, now: float) -> tuple[ClusterState, list[Action]]:
    jobs = dict(s.jobs)
    ask: list[int] = []
    warned: list[Action] = []
    for key in e.jobs:
        if key not in jobs:  # started by an earlier life of ours or by somebody else: known as started, to be stopped when it ends
            jobs[key] = Known(JobView(key.id, key.start, 0, "", "", "", "", ()), "done", changed=now)
            ask.append(key.id)
    for key, known in s.jobs.items():
        if known.runs and known.start == "done" and key not in e.jobs and now - known.changed > LOST_AFTER:
            warned.append(Warn("job.lost_by_backend", {"cluster": s.name, "job": key.id}))
            del jobs[key]  # the next record of it starts it again
            ask.append(key.id)
    return msgspec.structs.replace(s, jobs=jobs), [*warned, *_ask(ask)]


def _settled(s: ClusterState, key: JobKey, kind: str, how: Literal["done", "rejected"], now: float) -> tuple[ClusterState, list[Action]]:
    known = s.jobs.get(key)
    if known is None:
        return s, []
    if kind == "start":
        after = msgspec.structs.replace(known, start=how, changed=now)
    else:
        after = msgspec.structs.replace(known, stop="done", changed=now)
    return msgspec.structs.replace(s, jobs={**s.jobs, key: after}), []
