import asyncio
import gzip
import zlib

import pytest
from aiohttp import web
from ccdaemon.app import Address, Application
from ccdaemon.errors import PeerError
from ccdaemon.net.body import read_body
from ccdaemon.net.http_client import HttpClient
from ccdaemon.net.http_server import Listener

LINES = b"m value=1\n" * 50_000
PACKED = gzip.compress(LINES)


@pytest.fixture
async def taken(log):
    """take(body, encoding) → (status, text) of a handler that reads at most 1 MB; `.bodies`: what it got."""
    bodies = []

    async def handler(request):
        bodies.append(await read_body(request, 1_000_000))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handler)
    (sock,) = Application("t", log=log).bind([Address("127.0.0.1", 0)])
    client = HttpClient(f"http://127.0.0.1:{sock.getsockname()[1]}")
    listener = Listener(sock, app, log=log)
    await listener.start()

    async def take(body, encoding="gzip"):
        headers = {"Content-Encoding": encoding} if encoding else {}
        answer = await client.request("POST", "/", body=body, headers=headers)
        return answer.status, answer.body.decode()

    take.bodies, take.port = bodies, sock.getsockname()[1]
    yield take
    await client.close()
    await listener.stop(1)


@pytest.mark.parametrize(
    ("body", "encoding", "whole"),
    [
        (LINES, "", LINES),
        (LINES, "identity", LINES),
        (PACKED, "GZip", LINES),
        (PACKED + gzip.compress(b"more"), "x-gzip", LINES + b"more"),
        (b"", "gzip", b""),
    ],
)
async def test_whole_bodies(taken, body, encoding, whole):
    assert (await taken(body, encoding))[0] == 200
    assert taken.bodies == [whole]


@pytest.mark.parametrize(
    ("body", "encoding", "status", "words"),
    [
        (PACKED[:-1], "gzip", 400, "ends too early"),
        (PACKED[: len(PACKED) // 2], "gzip", 400, "ends too early"),
        (PACKED + b"\x1f\x8b", "gzip", 400, "ends too early"),
        (PACKED[:-6] + bytes(6), "gzip", 400, "damaged"),
        (PACKED + b"trailer", "gzip", 400, "damaged"),
        (LINES, "gzip", 400, "no gzip"),
        (gzip.compress(bytes(50_000_000)), "gzip", 413, "larger than 1000000"),
        (b"x" * 1_000_001, "", 413, "larger than 1000000"),
        (gzip.compress(b"") * 60_000, "gzip", 413, "larger than 1000000"),
        (zlib.compress(LINES), "deflate", 415, "'deflate' is not read here"),
    ],
)
async def test_what_is_not_whole_is_refused(taken, body, encoding, status, words):
    got, text = await taken(body, encoding)
    assert got == status and words in text
    assert taken.bodies == []


async def test_every_cut_of_a_packed_body_is_noticed(taken):
    packed = gzip.compress(b"m value=1\nm value=2\n")
    for end in range(1, len(packed)):
        assert (await taken(packed[:end]))[0] == 400, end
    assert taken.bodies == []


async def test_a_connection_that_ends_inside_its_body_gives_nothing(taken):
    _, writer = await asyncio.open_connection("127.0.0.1", taken.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await asyncio.sleep(0.2)
    assert (await taken(b"x", ""))[0] == 200 and taken.bodies == [b"x"]


async def test_a_client_notices_a_packed_answer_that_ends_early(log):
    async def handler(request):
        assert request.headers["Accept-Encoding"] == "gzip"
        body = {"whole": PACKED, "cut": PACKED[:-9], "other": b"?"}[request.match_info["which"]]
        return web.Response(body=body, headers={"Content-Encoding": "br" if body == b"?" else "gzip"})

    app = web.Application()
    app.router.add_get("/{which}", handler)
    (sock,) = Application("t", log=log).bind([Address("127.0.0.1", 0)])
    client, listener = HttpClient(f"http://127.0.0.1:{sock.getsockname()[1]}"), Listener(sock, app, log=log)
    await listener.start()
    assert (await client.request("GET", "/whole")).body == LINES
    with pytest.raises(PeerError, match="the gzip stream ends too early"):
        await client.request("GET", "/cut")
    with pytest.raises(PeerError, match="'br' is not read here"):
        await client.request("GET", "/other")
    await client.close()
    await listener.stop(1)
