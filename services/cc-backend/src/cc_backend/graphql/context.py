"""What a resolver has at hand: who asks, the rooms below, and loaders that ask once for all rows of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import cached_property
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from ccdaemon.cache import AsyncCache
from ccdaemon.errors import InputError
from ccschema.jobs import Job, Tag
from graphql import GraphQLResolveInfo

from cc_backend.access import Identity, Right, Visibility, may, visibility
from cc_backend.clusters import Catalogue
from cc_backend.db import jobs as job_rows
from cc_backend.db import tags as tag_rows
from cc_backend.db import users as user_rows
from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs import filters
from cc_backend.metrics.dispatch import Dispatcher

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

NO_JOB: Final = "no such job"
"""For unknown and for invisible jobs alike."""


class Rooms(msgspec.Struct, frozen=True):
    """What all requests share. short_job: seconds below which a job counts as short."""

    database: Database
    catalogue: Catalogue
    dispatcher: Dispatcher
    clock: Callable[[], float]
    partitions: AsyncCache[str, list[str]]
    short_job: int = 300


class Batch(Generic[K, V]):
    """Collects the keys that are asked for in one turn of the loop and loads them in one call; remembers for the request."""

    def __init__(self, load: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._load = load
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._waiting: list[K] = []
        self._task: asyncio.Task[None] | None = None  # held, so that it is not collected while it runs

    async def get(self, key: K) -> V | None:
        """None where `load` did not give the key."""
        future = self._asked.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._asked[key] = loop.create_future()
            if not self._waiting:
                loop.call_soon(self._begin)
            self._waiting.append(key)
        # Shielded: a sibling field that is cancelled must not cancel what others wait for.
        return await asyncio.shield(future)

    def _begin(self) -> None:
        keys, self._waiting = self._waiting, []
        self._task = asyncio.get_running_loop().create_task(self._run(keys))

    async def _run(self, keys: list[K]) -> None:
        try:
            found = await self._load(keys)
        except Exception as e:
            for key in keys:
                self._asked[key].set_exception(e)
                self._asked[key].exception()  # looked at, so that a caller who has gone leaves no complaint behind
            return
        for key in keys:
            self._asked[key].set_result(found.get(key))


class Context:
    """One request."""

    def __init__(self, rooms: Rooms, who: Identity) -> None:
        self.rooms = rooms
        self.who = who
        self.now = int(rooms.clock())
        self.jobs: Batch[int, Job] = Batch(self._jobs)
        self.tags: Batch[int, list[Tag]] = Batch(self._tags)
        self.metadata: Batch[int, dict[str, str]] = Batch(self._metadata)
        self.users: Batch[str, tuple[str, str]] = Batch(self._users)

    @cached_property
    def see(self) -> Visibility:
        """The row rule; Denied for somebody without a known role."""
        return visibility(self.who)

    async def job(self, id_: int | str) -> Job:
        """The visible job of a database id. InputError: no number; NotFound: unknown, or none of the caller's business."""
        job = await self.jobs.get(whole_number(id_, "id"))
        if job is None:
            raise NotFound(NO_JOB)
        return job

    async def _jobs(self, ids: list[int]) -> dict[int, Job]:
        see, now = self.see, self.now
        where, page = [filters.JobFilter(db_id=tuple(ids))], filters.Page(items=-1)
        found = await self.rooms.database.read(lambda conn: filters.find_jobs(conn, see, where, None, page, now=now))
        return {job.id: job for job in found.jobs}

    async def _tags(self, ids: list[int]) -> dict[int, list[Tag]]:
        see = self.see
        return await self.rooms.database.read(lambda conn: tag_rows.tags_of(conn, see, ids))

    async def _metadata(self, ids: list[int]) -> dict[int, dict[str, str]]:
        return await self.rooms.database.read(lambda conn: job_rows.metadata_of(conn, ids))

    async def _users(self, names: list[str]) -> dict[str, tuple[str, str]]:
        return await self.rooms.database.read(lambda conn: user_rows.names_of(conn, names))

    # ---- metrics marked restricted

    @cached_property
    def restricted(self) -> bool:
        return not may(self.who, Right.READ_RESTRICTED)

    def hidden(self, cluster: str, sub_cluster: str | None) -> frozenset[str]:
        """Names of metrics of a cluster that the caller may not see; sub_cluster None: hidden in any of them."""
        config = self.rooms.catalogue.find(cluster)
        if config is None or not self.restricted:
            return frozenset()
        subs = [sub_cluster] if sub_cluster is not None else [sub.name for sub in config.sub_clusters]
        return frozenset(metric.name for metric in config.metric_config if any(metric.restricted(sub) for sub in subs))

    def check_footprint_keys(self, keys: Iterable[str]) -> None:
        """InputError for the first key of a metric that is hidden in any cluster: filters and sorting would tell its values."""
        for key in keys:
            name = key.rpartition("_")[0] or key
            for cluster in self.rooms.catalogue.all():
                if name in self.hidden(cluster.name, None):
                    raise InputError(f"metric '{name}' is not open to you")


Info: TypeAlias = GraphQLResolveInfo[Context]
"""What graphql-core hands to every resolver of ours."""


def whole_number(value: int | str, place: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InputError(f"'{value[:50] if isinstance(value, str) else value}' is no number", place) from None
