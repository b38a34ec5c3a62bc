"""What Slurm says, as the adapter's own types. SlurmDown for a command that fails, Unreadable for an answer that is no JSON of its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
from ccdaemon.log import Log

from ..config import Rules
from ..core import Assigned, JobView
from .commands import Commands, SlurmDown, UnknownJob, chunks
from .records import (
    ClustersAnswer,
    NodeRecord,
    NodesAnswer,
    RawJobsAnswer,
    SacctJob,
    SqueueJob,
    UsersAnswer,
    jobs_of,
    number,
    texts,
)
from .translate import Ignored, assigned, job_description, job_view, runs

T = TypeVar("T")
OLDEST, NOTICE = 24, 26  # major versions: refused below the first, a notice from the second


class Clusters(msgspec.Struct):
    """Names in Slurm's order, the local one, the version as text."""

    names: list[str]
    local: str
    version: str
    major: int


class Queue(msgspec.Struct):
    """The scheduler's memory of one cluster."""

    jobs: list[SqueueJob]
    running: frozenset[int]
    assigned: Mapping[int, Assigned]


class Slurm:
    """The commands of spec slurm-adapter 7, decoded. `cores(cluster, host)`: hardware threads of each core, where known."""

    def __init__(self, commands: Commands, rules: Rules, cores: Callable[[str, str], Sequence[Sequence[int]] | None], log: Log) -> None:
        self._commands = commands
        self._rules = rules
        self._cores = cores
        self._log = log
        self._nodes: dict[str, dict[str, NodeRecord]] = {}  # cluster → host → its last record, for nodes without topology

    async def _ask(self, type_: type[T], *command: str) -> T:
        out = await self._commands.run(*command)
        try:
            answer = msgspec.json.decode(out, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise SlurmDown(f"{' '.join(command[:3])}: unreadable answer ({e}): {out[:120]!r}") from None
        for complaint in getattr(answer, "errors", []):
            self._log.throttled(60, "slurm.error", command=command[0], text=complaint.description or complaint.error)
        return answer

    async def clusters(self) -> Clusters:
        answer = await self._ask(ClustersAnswer, "sacctmgr", "list", "clusters", "--noheader", "--json")
        if not answer.clusters:
            raise SlurmDown("sacctmgr lists no cluster: is slurmdbd set up?")
        slurm = answer.meta.slurm if answer.meta else None
        return Clusters(
            [c.name for c in answer.clusters],
            slurm.cluster if slurm else "",
            slurm.release if slurm else "",
            number(slurm.version.major) if slurm else 0,
        )

    async def may_see_all(self, login: str) -> bool:
        """Whether the account is operator or administrator."""
        answer = await self._ask(UsersAnswer, "sacctmgr", "show", "user", login, "--json")
        return any({"Operator", "Administrator"} & set(texts(u.administrator_level)) for u in answer.users if u.name == login)

    async def ended_between(self, cluster: str, begin: int, end: int) -> list[JobView]:
        """Jobs that waited, ran or ended in the span."""
        return await self._sacct(cluster, "--allusers", "--starttime", f"uts{begin}", "--endtime", f"uts{end}")

    async def jobs(self, cluster: str, ids: Sequence[int]) -> list[JobView]:
        """The asked ids as far as the accounting has them, by id."""
        found = [j for part in chunks(ids) for j in await self._sacct(cluster, "-j", part)]
        return sorted((j for j in found if j.id in set(ids)), key=lambda j: j.key)

    async def _sacct(self, cluster: str, *more: str) -> list[JobView]:
        answer = await self._ask(RawJobsAnswer, "sacct", "-X", "--cluster", cluster, *more, "--json")
        records, bad = jobs_of(answer.jobs, SacctJob)
        for why in bad:
            self._log.error("slurm.bad_record", cluster=cluster, command="sacct", why=why)
        views = []
        for record in records:
            try:
                views.append(job_view(record, self._rules.ignored))
            except Ignored as e:
                (self._log.error if e.bad else self._log.debug)("job.ignored", cluster=cluster, job=record.job_id, why=str(e))
        return views

    async def queue(self, cluster: str, ids: Sequence[int] | None = None) -> Queue:
        """All jobs that slurmctld remembers, ended ones too, or the asked ones. Nothing for ids it has forgotten."""
        raw: list[msgspec.Raw] = []
        for part in [None] if ids is None else chunks(ids):
            more = [] if part is None else ["-j", part]
            try:
                answer = await self._ask(
                    RawJobsAnswer, "squeue", "--noheader", *self._commands.at(cluster), "--all", "--states=all", *more, "--json"
                )
            except UnknownJob:
                continue
            raw += answer.jobs
        jobs, bad = jobs_of(raw, SqueueJob)
        for why in bad:
            self._log.error("slurm.bad_record", cluster=cluster, command="squeue", why=why)
        given = {
            j.job_id: a for j in jobs if (a := assigned(j, self._rules.addresses, lambda host, core: self._threads(cluster, host, core)))
        }
        return Queue(jobs, frozenset(j.job_id for j in jobs if runs(j)), given)

    def _threads(self, cluster: str, host: str, core: int) -> Sequence[int]:
        """Hardware threads of a core: from cc-backend's topology, else the usual numbering (spec 8.3)."""
        cores = self._cores(cluster, host)
        if cores is not None and core < len(cores):
            return cores[core]
        node = self._nodes.get(cluster, {}).get(host)
        if node is None:
            return (core,)
        per_node = max(1, number(node.cores)) * max(1, number(node.sockets))
        return tuple(core + k * per_node for k in range(max(1, number(node.threads))))

    async def details(self, cluster: str, job_id: int) -> dict[str, str]:
        """`slurmInfo` and `jobScript`; never fails, what is not to be had is said or left out."""
        info, script = await asyncio.gather(self._info(cluster, job_id), self._script(cluster, job_id))
        return {"slurmInfo": info, "jobScript": script}

    async def _info(self, cluster: str, job_id: int) -> str:
        try:
            out = await self._commands.run("scontrol", *self._commands.at(cluster), "show", "job", str(job_id))
        except SlurmDown:
            return f"Error while getting job information for ({cluster}, {job_id})"
        return job_description(out.decode("utf-8", "replace"), job_id)

    async def _script(self, cluster: str, job_id: int) -> str:
        try:
            out = await self._commands.run("scontrol", *self._commands.at(cluster), "write", "batch_script", str(job_id), "-")
        except SlurmDown:
            return ""
        return out.decode("utf-8", "replace")

    async def nodes(self, cluster: str) -> list[NodeRecord]:
        answer = await self._ask(NodesAnswer, "scontrol", *self._commands.at(cluster), "show", "node", "--json")
        self._nodes[cluster] = {n.name: n for n in answer.nodes}
        return answer.nodes
