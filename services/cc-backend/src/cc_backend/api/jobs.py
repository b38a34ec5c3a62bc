"""REST of jobs: start, stop, list, one job with its metrics, tags, metadata, deletion. Adapters: decode, call the service, encode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from ccdaemon.errors import InputError, PeerError
from ccschema.archive import DocumentError, decode_meta
from ccschema.jobs import Job, JobState, JobStatistics, Tag
from ccschema.jsonin import BodyError, decode
from ccschema.scopes import Scope
from multidict import MultiMapping

from cc_backend.access import Identity, Right, may, visibility
from cc_backend.archive import JobKey, Missing
from cc_backend.db import tags as tag_rows
from cc_backend.errors import NotFound
from cc_backend.jobs.filters import NEWEST_FIRST, JobFilter, Page, StringCondition, TimeRange, find_jobs
from cc_backend.metrics import shape

from .answers import json_answer, json_bytes, json_raw
from .bodies import decode_start, decode_stop
from .rooms import Gate, Rooms, identity, path_id

DEFAULT_ITEMS: Final = 25
STATISTICS_UP_TO: Final = 1000
"""Jobs of one page whose statistics are read from the archive; a larger page has none."""


class TagBody(msgspec.Struct, forbid_unknown_fields=True):
    """One tag in a request."""

    type: str = ""
    name: str = ""
    scope: str = ""


class KeyValue(msgspec.Struct, forbid_unknown_fields=True):
    key: str = ""
    value: str = ""


class JobRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A job by what the scheduler knows of it."""

    job_id: int | None = None
    cluster: str | None = None
    start_time: int | None = None


class EditRequest(JobRequest, rename="camel", forbid_unknown_fields=True):
    payload: KeyValue = msgspec.field(default_factory=KeyValue)


def routes(rooms: Rooms, gate: Gate) -> list[web.RouteDef]:
    """/api/jobs/…, /api/tags/, /userapi/jobs/…"""
    rest = _Jobs(rooms)
    out: list[web.RouteDef] = []

    def api(methods: str, path: str, handler: Handler) -> None:
        out.extend(web.route(method, path, gate.guarded(Right.USE_API, handler)) for method in methods.split())

    def userapi(method: str, path: str, handler: Handler) -> None:
        out.append(web.route(method, path, gate.guarded(Right.USE_USERAPI, handler, check_address=False)))

    for slash in ("/", ""):
        api("POST PUT", f"/api/jobs/start_job{slash}", rest.start)
        api("POST PUT", f"/api/jobs/stop_job{slash}", rest.stop)
        api("GET", f"/api/jobs{slash}", rest.find)
        api("DELETE", f"/api/jobs/delete_job{slash}", rest.delete_by_request)
        api("PATCH", f"/api/jobs/edit_meta{slash}", rest.edit_by_request)
        api("DELETE", f"/api/tags{slash}", rest.delete_tags)
        userapi("GET", f"/userapi/jobs{slash}", rest.find)
    api("POST PATCH", "/api/jobs/tag_job/{id}", rest.tag)
    api("DELETE", "/api/jobs/tag_job/{id}", rest.untag)
    api("PATCH", "/api/jobs/edit_meta/{id}", rest.edit)
    api("DELETE", "/api/jobs/delete_job/{id}", rest.delete)
    api("DELETE", "/api/jobs/delete_job_before/{ts}", rest.delete_before)
    for prefix, add in (("/api", api), ("/userapi", userapi)):
        add("GET", f"{prefix}/jobs/metrics/{{id}}", rest.metrics)
        add("GET", f"{prefix}/jobs/{{id}}", rest.get)
        add("POST", f"{prefix}/jobs/{{id}}", rest.get_metrics)
    return out


class _Jobs:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._service = rooms.service

    # --- life cycle ---------------------------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        await self._service.start(decode_start(await request.read()), identity(request))
        return json_answer({"msg": "success"}, 201)

    async def stop(self, request: web.Request) -> web.Response:
        return json_answer(await self._service.stop(decode_stop(await request.read())))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def find(self, request: web.Request) -> web.Response:
        see = visibility(identity(request))
        where, page, metadata = list_query(request.query)
        now = int(self._rooms.clock())

        def read(conn: object) -> tuple[list[Job], dict[int, list[Tag]]]:
            found = find_jobs(conn, see, [where], NEWEST_FIRST, page, metadata=metadata, now=now).jobs  # type: ignore[arg-type]
            return found, tag_rows.tags_of(conn, see, [job.id for job in found])  # type: ignore[arg-type]

        jobs, tags = await self._rooms.database.read(read)
        for job in jobs:
            job.tags = tags.get(job.id, [])
        await self._add_statistics(jobs)
        for job in jobs:
            self._hide(identity(request), job)
        # A page of many thousand jobs is encoded job by job in a thread, not in one piece on the loop.
        body = await self._rooms.work.run(lambda: b",".join([json_bytes(job) for job in jobs]))
        return json_raw(b'{"jobs":[%s],"items":%d,"page":%d}' % (body, page.items, page.page))

    async def _add_statistics(self, jobs: Sequence[Job]) -> None:
        archived = [job for job in jobs if job.monitoring_status == 3][: STATISTICS_UP_TO + 1]
        if not archived or len(archived) > STATISTICS_UP_TO:
            return

        def read_all() -> list[dict[str, JobStatistics] | None]:
            return [self._statistics(job) for job in archived]

        for job, statistics in zip(archived, await self._rooms.archive.run(read_all), strict=True):
            job.statistics = statistics

    def _statistics(self, job: Job) -> dict[str, JobStatistics] | None:
        """None where the archive's entry cannot be read: one bad entry costs only its own statistics."""
        try:
            return decode_meta(self._rooms.read_meta(JobKey(job.cluster, job.job_id, job.start_time))).statistics
        except (Missing, DocumentError, OSError) as e:
            self._rooms.log.throttled(60, "archive.unreadable", job=job.id, reason=str(e))
            return None

    async def get(self, request: web.Request) -> web.Response:
        """One job; with `all-metrics=true` also its data."""
        who = identity(request)
        job = await self._job(who, path_id(request))
        data = b"null"
        if request.query.get("all-metrics") == "true":
            data = await self._data(job, self._names(who, job, None), grouped=True)
        return json_raw(b'{"Meta":' + json_bytes(job) + b',"Data":' + data + b"}")

    async def get_metrics(self, request: web.Request) -> web.Response:
        """One job and the metrics that the body lists."""
        who = identity(request)
        job = await self._job(who, path_id(request))
        asked = decode(await request.read(), list[str] | None)  # type: ignore[arg-type]
        names = self._names(who, job, asked)
        data = b"[]" if asked == [] else await self._data(job, names, grouped=False)
        return json_raw(b'{"Meta":' + json_bytes(job) + b',"Data":' + data + b"}")

    async def metrics(self, request: web.Request) -> web.Response:
        """Data of the asked metrics and scopes, in the form of a GraphQL answer."""
        who = identity(request)
        scopes = [_scope(word) for word in request.query.getall("scope", [])]
        try:
            job = await self._job(who, path_id(request))
            names = self._names(who, job, request.query.getall("metric", []) or None)
            resolution = self._rooms.dispatcher.resampling.default
            found = await self._rooms.dispatcher.job_data(job, names, scopes or None, resolution)
        except (NotFound, PeerError) as e:
            body = json_bytes({"data": None, "error": {"message": str(e)}})
            return json_raw(body, 404 if isinstance(e, NotFound) else 503)
        entries = await self._rooms.work.run(_entries, found)
        return json_raw(b'{"data":{"jobMetrics":' + entries + b'},"error":null}')

    async def _job(self, who: Identity, db_id: int) -> Job:
        job = await self._service.job(visibility(who), db_id)
        await self._add_statistics([job])
        self._hide(who, job)
        return job

    def _names(self, who: Identity, job: Job, asked: Sequence[str] | None) -> list[str] | None:
        """The metrics to load: all or the asked ones, without those that are restricted for the caller."""
        hidden, cluster = self._hidden(who, job), self._rooms.catalogue.find(job.cluster)
        if cluster is None or not hidden:
            return None if asked is None else [*asked]
        return [name for name in (asked or [metric.name for metric in cluster.metric_config]) if name not in hidden]

    def _hidden(self, who: Identity, job: Job) -> frozenset[str]:
        """Names of metrics of the job that are not open to the caller."""
        cluster = self._rooms.catalogue.find(job.cluster)
        if cluster is None or may(who, Right.READ_RESTRICTED):
            return frozenset()
        return frozenset(metric.name for metric in cluster.metric_config if metric.restricted(job.sub_cluster))

    def _hide(self, who: Identity, job: Job) -> None:
        """Take what tells values of such metrics out of the job."""
        if hidden := self._hidden(who, job):
            job.footprint = {key: v for key, v in (job.footprint or {}).items() if key.rpartition("_")[0] not in hidden}
            job.energy_footprint = {name: v for name, v in (job.energy_footprint or {}).items() if name not in hidden}
            if job.statistics is not None:
                job.statistics = {name: v for name, v in job.statistics.items() if name not in hidden}

    async def _data(self, job: Job, names: Sequence[str] | None, *, grouped: bool) -> bytes:
        scope = Scope.CORE if job.num_nodes == 1 else Scope.NODE
        found = await self._rooms.dispatcher.job_data(job, names, [scope], 0)
        return await self._rooms.work.run(_grouped if grouped else _entries, found)

    # --- tags and metadata --------------------------------------------------------------------------------------------

    async def tag(self, request: web.Request) -> web.Response:
        tags = await _tags(request)
        return json_answer(await self._service.add_tags(identity(request), path_id(request), tags))

    async def untag(self, request: web.Request) -> web.Response:
        """Only global and admin tags; others are passed over."""
        tags = [tag for tag in await _tags(request) if (tag.scope or "global") in ("global", "admin")]
        return json_answer(await self._service.remove_tags(identity(request), path_id(request), tags))

    async def delete_tags(self, request: web.Request) -> web.Response:
        asked = await _tags(request)
        tags = [tag for tag in asked if (tag.scope or "global") in ("global", "admin")]
        done = await self._service.delete_tags(identity(request), tags)
        return web.Response(text=f"Deleted Tags from DB: {done} successfull of {len(asked)} requested\n")

    async def edit(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), KeyValue, strict=True)
        return json_answer(await self._service.edit_metadata(path_id(request), body.key, body.value))

    async def edit_by_request(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), EditRequest, strict=True)
        db_id = await self._newest(body)
        return json_answer(await self._service.edit_metadata(db_id, body.payload.key, body.payload.value))

    # --- deleting -----------------------------------------------------------------------------------------------------

    async def delete(self, request: web.Request) -> web.Response:
        return await self._delete(path_id(request))

    async def delete_by_request(self, request: web.Request) -> web.Response:
        return await self._delete(await self._newest(decode(await request.read(), JobRequest, strict=True)))

    async def _delete(self, db_id: int) -> web.Response:
        await self._service.delete(db_id)
        return json_answer({"msg": f"Successfully deleted job {db_id}"})

    async def delete_before(self, request: web.Request) -> web.Response:
        before = _number(request.match_info["ts"], "ts")
        running = request.query.get("include-running") == "true"
        count = await self._service.delete_before(before, request.query.get("omit-tagged", "none"), running=running)
        return json_answer({"msg": f"Successfully deleted {count} jobs"})

    async def _newest(self, wanted: JobRequest) -> int:
        if wanted.job_id is None:
            raise InputError("the field 'jobId' is required")
        return await self._service.newest(wanted.job_id, wanted.cluster, wanted.start_time)


def list_query(query: MultiMapping[str]) -> tuple[JobFilter, Page, bool]:
    """(filter, page, with metadata) of a job list's parameters; InputError names the one that is wrong."""
    for name in query:
        if name not in ("state", "cluster", "project", "start-time", "items-per-page", "page", "with-metadata"):
            raise InputError(f"invalid query parameter: {name}")
    states = query.getall("state", [])
    if any(JobState.of(state) is None for state in states):
        raise InputError("invalid query parameter value: state")
    items = _number(query.get("items-per-page", str(DEFAULT_ITEMS)), "items-per-page")
    page = _number(query.get("page", "1"), "page")
    if items < 1 or page < 1:
        raise InputError("page must be >= 1" if page < 1 else "items-per-page must be >= 1")
    if items * page >= 2**62:
        raise InputError("page is out of range")
    where = JobFilter(
        state=tuple(states) or None,
        cluster=StringCondition(eq=query["cluster"]) if "cluster" in query else None,
        project=StringCondition(eq=query["project"]) if "project" in query else None,
        start_time=_times(query["start-time"]) if "start-time" in query else None,
    )
    # The Slurm adapter sends with-metadata=false and means it.
    metadata = query.get("with-metadata", "false").lower() not in ("false", "0")
    return where, Page(items=items, page=page), metadata


def _times(text: str) -> TimeRange:
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise InputError("invalid query parameter value: startTime")
    return TimeRange(from_=int(parts[0]), to=int(parts[1]))


def _number(text: str, what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise InputError(f"'{text[:50]}' is no number", what) from None
    if not -(2**63) <= number < 2**63:
        raise InputError("the number is out of range", what)
    return number


def _scope(word: str) -> Scope:
    scope = Scope.of(word)
    if scope is None:
        raise InputError(f"'{word[:50]}' is no scope", "scope")
    return scope


async def _tags(request: web.Request) -> list[Tag]:
    bodies = decode(await request.read(), list[TagBody], strict=True)
    if any(not body.type or not body.name for body in bodies):
        raise BodyError("type and name of a tag must not be empty")
    return [Tag(type=body.type, name=body.name, scope=body.scope) for body in bodies]


def _grouped(found: shape.JobData) -> bytes:
    return msgspec.json.encode(shape.to_document(found))


def _entries(found: shape.JobData) -> bytes:
    """[{name, scope, metric}], by name, then scope."""
    document = shape.to_document(found)
    return msgspec.json.encode(
        [
            {"name": name, "scope": scope.value, "metric": metric}
            for name in sorted(document)
            for scope, metric in sorted(document[name].items(), key=lambda item: item[0].value)
        ]
    )
