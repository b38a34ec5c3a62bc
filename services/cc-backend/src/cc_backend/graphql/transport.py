"""`POST /query`: what arrives, what it may cost, what is answered (graphql spec, section 1)."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from aiohttp import web
from ccdaemon.cache import AsyncCache, Cache
from ccdaemon.errors import InputError, PeerError
from ccdaemon.log import Log
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    execute,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)

from cc_backend.access import Denied, Identity, Right
from cc_backend.auth.middleware import WHO

from .context import Context, Rooms
from .encode import encode
from .limits import MAX_BODY, MAX_TOKENS, NoIntrospection, too_expensive
from .schema import make_schema

PATH: Final = "/query"
TIME_LIMIT: Final = 20.0
SLICE: Final = 32 << 10
"""Bytes that are sent, and compressed, at once: about half a millisecond."""
PACK_ABOVE: Final = 1 << 10
DOCUMENTS: Final = 4 << 20
"""Characters of query texts whose parsed form is kept."""
JSON: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"

DENIED: Final = {
    Right.READ_JOBS: "user has no or unknown roles",
    Right.READ_NODES: "you need to be administrator or support staff for this query",
    Right.LOOK_UP_USER: "forbidden",
}


class Body(msgspec.Struct, rename="camel"):
    query: str
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: Any = None


class Refusal(Exception):
    """A request that is not executed: errors and the code that decides the status."""

    def __init__(self, code: str, errors: list[GraphQLError]) -> None:
        super().__init__(code)
        self.code = code
        self.errors = errors


def routes(rooms: Rooms, log: Log, *, introspection: bool = False) -> list[web.RouteDef]:
    """The endpoint, for every method: what is no POST of JSON is told so."""
    endpoint = _Endpoint(rooms, log, introspection)
    return [web.route("*", PATH, endpoint.handle)]


def make_rooms(database: Any, catalogue: Any, dispatcher: Any, clock: Any, short_job: int = 300) -> Rooms:
    """Rooms with empty caches."""
    return Rooms(
        database=database, catalogue=catalogue, dispatcher=dispatcher, clock=clock, partitions=AsyncCache(10_000), short_job=short_job
    )


class _Endpoint:
    def __init__(self, rooms: Rooms, log: Log, introspection: bool) -> None:
        self._rooms = rooms
        self._log = log
        self._schema: GraphQLSchema = make_schema()
        self._rules = list(specified_rules) if introspection else [*specified_rules, NoIntrospection]
        self._documents: Cache[str, DocumentNode] = Cache(DOCUMENTS)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        who = request.get(WHO)
        if who is None:
            return _plain(401, "unauthorized")
        if request.method != "POST" or request.content_type != JSON or "Upgrade" in request.headers:
            return _plain(400, "transport not supported")
        try:
            body = msgspec.json.decode(await _read(request), type=Body)
        except _TooLarge:
            return _plain(413, f"request body is larger than {MAX_BODY} bytes")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            return _plain(400, f"json request body could not be decoded: {e}")
        kind = answer_type(request.headers.getall("Accept", []))
        try:
            result = await self._run(body, who)
        except Refusal as e:
            status = 200 if e.code.endswith("EXCEEDED") else 400 if kind == RESPONSE else 422
            return _answer(status, kind, [self._shown(error, e.code) for error in e.errors], None)
        errors = [self._shown(error) for error in result.errors or ()]
        return await _send(request, kind, errors, result.data)

    async def _run(self, body: Body, who: Identity) -> ExecutionResult:
        document = self._document(body.query)
        operation = get_operation_ast(document, body.operation_name)
        if operation is None:
            raise Refusal("GRAPHQL_VALIDATION_FAILED", [GraphQLError("operation not found: name one that the query has")])
        if operation.operation is not OperationType.QUERY:
            raise Refusal("GRAPHQL_VALIDATION_FAILED", [GraphQLError(f"there is no {operation.operation.value} of this name")])
        try:
            async with asyncio.timeout(TIME_LIMIT):
                outcome = execute(
                    self._schema,
                    document,
                    context_value=Context(self._rooms, who),
                    variable_values=body.variables,
                    operation_name=body.operation_name,
                )
                result = outcome if isinstance(outcome, ExecutionResult) else await outcome
        except TimeoutError:
            text = f"the query took longer than {TIME_LIMIT:.0f} s; ask for less at once"
            return ExecutionResult(None, [GraphQLError(text, extensions={"code": "TIMEOUT"})])
        if result.data is None and result.errors and all(error.path is None for error in result.errors):
            raise Refusal("GRAPHQL_VALIDATION_FAILED", result.errors)  # variables that do not fit
        return result

    def _document(self, text: str) -> DocumentNode:
        def prepare() -> tuple[DocumentNode, float, int]:
            return self._prepared(text), float("inf"), len(text) + 1000

        document = self._documents.get(text, prepare)
        assert document is not None
        return document

    def _prepared(self, text: str) -> DocumentNode:
        """Parsed, affordable, valid; Refusal."""
        try:
            document = parse(text, max_lexical_tokens=MAX_TOKENS)
            expensive = too_expensive(document)
        except GraphQLError as e:
            raise Refusal("GRAPHQL_PARSE_FAILED", [e]) from e
        except RecursionError:
            raise Refusal("GRAPHQL_PARSE_FAILED", [GraphQLError("the query is nested too deeply")]) from None
        if expensive is not None:
            raise Refusal(str((expensive.extensions or {})["code"]), [expensive])
        if errors := validate(self._schema, document, self._rules, max_errors=20):
            raise Refusal("GRAPHQL_VALIDATION_FAILED", errors)
        return document

    def _shown(self, error: GraphQLError, code: str | None = None) -> dict[str, Any]:
        """The entry of an answer. Texts that are not meant for the caller stay in the log, under an id that the caller gets."""
        shown: dict[str, Any] = {"message": self._text(error)}
        if error.path is not None:
            shown["path"] = list(error.path)
        if error.locations:
            shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
        extensions = dict(error.extensions or {})
        if code is not None:
            extensions["code"] = code
        return shown | ({"extensions": extensions} if extensions else {})

    def _text(self, error: GraphQLError) -> str:
        cause = error.original_error
        if cause is None or isinstance(cause, GraphQLError):
            return error.message
        if isinstance(cause, Denied):
            return DENIED.get(cause.right, "forbidden")
        if isinstance(cause, InputError):
            return f"{cause.place}: {cause.text}" if cause.place else cause.text
        number = secrets.token_hex(4)
        if isinstance(cause, PeerError):
            self._log.warning("graphql.peer", id=number, path=error.path, error=str(cause))
            return f"{cause.who} did not answer (see the log, id {number})"
        self._log.bug("graphql.bug", cause, id=number, path=error.path)
        return f"internal error (see the log, id {number})"


class _TooLarge(Exception):
    pass


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_BODY:
            raise _TooLarge
    return bytes(body)


def answer_type(accept: list[str]) -> str:
    """JSON without an Accept header, or where its first known entry is JSON or anything; else the type of GraphQL answers."""
    entries = [entry.split(";")[0].strip().lower() for line in accept for entry in line.split(",")]
    known = [entry for entry in entries if entry in (JSON, "application/*", "*/*", RESPONSE)]
    return JSON if not any(entries) or (known and known[0] != RESPONSE) else RESPONSE


def _plain(status: int, message: str) -> web.Response:
    return _answer(status, JSON, [{"message": message}], None)


def _answer(status: int, kind: str, errors: list[dict[str, Any]], data: Any) -> web.Response:
    return web.Response(status=status, body=b"".join(encode({"errors": errors, "data": data})), content_type=kind)


async def _send(request: web.Request, kind: str, errors: list[dict[str, Any]], data: Any) -> web.StreamResponse:
    """Status 200. A large answer goes out as it is made, giving way to other work in between."""
    pieces = encode({"errors": errors, "data": data} if errors else {"data": data})
    headers = {"Content-Type": kind, "Vary": "Accept-Encoding"}
    first = next(slices := _slices(pieces))
    # Compressed here, a slice at a time, and not by the library: it would take threads of the loop's default executor.
    packer = zlib.compressobj(1, wbits=31) if len(first) > PACK_ABOVE and "gzip" in request.headers.get("Accept-Encoding", "") else None
    if packer is not None:
        headers["Content-Encoding"] = "gzip"
    if len(first) < SLICE:
        return web.Response(body=first if packer is None else packer.compress(first) + packer.flush(), headers=headers)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for part in itertools.chain((first,), slices):
        if out := part if packer is None else packer.compress(part):
            await response.write(out)
        await asyncio.sleep(0)
    if packer is not None:
        await response.write(packer.flush())
    await response.write_eof()
    return response


def _slices(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces joined to at least SLICE bytes; the last may be shorter. At least one."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= SLICE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)
