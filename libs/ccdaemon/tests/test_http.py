import asyncio
import contextlib
import gzip
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from ccdaemon.app import Address, Application
from ccdaemon.config.types import Secret
from ccdaemon.errors import InputError, OperatorError, PeerError
from ccdaemon.net.clientip import client_address, contains, networks
from ccdaemon.net.http_client import HttpClient
from ccdaemon.net.http_server import Listener
from ccdaemon.tls import ServerTls, client_context, server_tls


@pytest.fixture
async def serve(log):
    running = []

    async def start(*, tls=None, **handlers):
        app = web.Application()
        for name, handler in handlers.items():
            app.router.add_route("*", f"/{name}", handler)
        (sock,) = Application("t", log=log).bind([Address("127.0.0.1", 0)])
        port = sock.getsockname()[1]
        listener = Listener(sock, app, tls=tls, log=log)
        await listener.start()
        running.append(listener)
        return listener, f"http{'s' if tls else ''}://127.0.0.1:{port}"

    yield start
    for listener in running:
        await listener.stop(1)


@pytest.fixture
async def client():
    made = []

    def make(base, **options):
        made.append(HttpClient(base, **options))
        return made[-1]

    yield make
    for c in made:
        await c.close()


async def echo(request):
    return web.json_response({"auth": request.headers.get("Authorization"), "q": dict(request.query), "body": (await request.text())})


async def test_request_and_token(serve, client):
    _, url = await serve(echo=echo)
    answer = await client(url + "/", token=Secret("tok")).request("POST", "/echo", query={"a": "b c"}, body=b"{}")
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/json")
    assert answer.body == b'{"auth": "Bearer tok", "q": {"a": "b c"}, "body": "{}"}'


async def test_what_is_no_answer_is_a_peer_error(serve, client):
    async def slow(_):
        await asyncio.sleep(5)

    async def big(_):
        return web.Response(body=gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"})

    async def away(_):
        return web.Response(status=302, headers={"Location": "http://elsewhere/"})

    _, url = await serve(slow=slow, big=big, away=away)
    c = client(url, limit=1_000_000)
    with pytest.raises(PeerError, match=r"no answer within 0.2 s"):
        await c.request("GET", "/slow", timeout=0.2)
    with pytest.raises(PeerError, match="larger than 1000000"):
        await c.request("GET", "/big")
    assert (await c.request("GET", "/away")).status == 302  # the token never travels on
    assert (await c.request("GET", "/nowhere")).status == 404
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with pytest.raises(PeerError, match=f"127.0.0.1:{s.getsockname()[1]}: cannot connect"):
            await client(f"http://127.0.0.1:{s.getsockname()[1]}").request("GET", "/")
    for bad in ("localhost:8080", "http://[::1", "http://h:99999", "http://h:port", "http://:80"):
        with pytest.raises(OperatorError, match="no URL"):
            HttpClient(bad)


async def test_retry_after(serve, client):
    async def busy(_):
        return web.Response(status=503, headers={"Retry-After": "7"})

    _, url = await serve(busy=busy)
    assert (await client(url).request("GET", "/busy")).retry_after() == 7


async def test_an_unexpected_error_shows_nothing_and_is_logged(serve, client, capsys):
    async def broken(_):
        raise RuntimeError("select * from secrets")

    _, url = await serve(broken=broken)
    answer = await client(url).request("GET", "/broken")
    assert (answer.status, answer.body) == (500, b"internal error\n")
    assert "select * from secrets" in capsys.readouterr().err


async def test_stop_refuses_new_requests_and_waits_for_running_ones(serve, client):
    go, entered = asyncio.Event(), asyncio.Event()

    async def slow(_):
        entered.set()
        await go.wait()
        return web.Response(text="done")

    listener, url = await serve(slow=slow, echo=echo)
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)  # kept alive from before
    running = asyncio.ensure_future(client(url).request("GET", "/slow"))
    await entered.wait()
    stopping = asyncio.ensure_future(listener.stop(5))
    await asyncio.sleep(0.05)
    writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    with pytest.raises(PeerError):
        await client(url).request("GET", "/echo")
    assert not stopping.done()
    go.set()
    assert (await running).body == b"done"
    await asyncio.wait_for(stopping, 3)
    writer.close()


async def test_stop_cuts_what_is_past_the_deadline(serve, client):
    async def hang(_):
        await asyncio.sleep(60)

    listener, url = await serve(hang=hang)
    running = asyncio.ensure_future(client(url).request("GET", "/hang"))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(listener.stop(0.6), 3)
    with pytest.raises(PeerError):
        await running


async def test_a_request_head_that_never_ends_loses_its_connection(log):
    async def slow_body(request):
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.router.add_post("/", slow_body)
    (sock,) = Application("t", log=log).bind([Address("127.0.0.1", 0)])
    port = sock.getsockname()[1]
    listener = Listener(sock, app, log=log, header_timeout=0.3)
    await listener.start()
    mute = await asyncio.open_connection("127.0.0.1", port)
    drip = await asyncio.open_connection("127.0.0.1", port)
    body = await asyncio.open_connection("127.0.0.1", port)
    body[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    drip[1].write(b"POST / HTTP/1.1\r\n")
    for i in range(10):
        await asyncio.sleep(0.1)
        body[1].write(b"x")
        drip[1].write(b"A%d: b\r\n" % i)
    assert await asyncio.wait_for(mute[0].read(), 1) == b""
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(drip[0].read(), 1) == b""
    assert (await body[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")  # a slow body is fine
    for _, writer in (mute, drip, body):
        writer.close()
    await listener.stop(1)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_peer_that_does_not_read_its_answer_loses_its_connection_a_slow_one_does_not(log, certificates, secure, capsys):
    size, ended = 12 << 20, []

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(size >> 16):
                await response.write(bytes(1 << 16))
        except ConnectionError:
            ended.append("stream")
            raise
        return response

    async def whole(_):
        return web.Response(body=bytes(size))

    app = web.Application()
    app.router.add_get("/stream", stream)
    app.router.add_get("/whole", whole)
    (sock,) = Application("t", log=log).bind([Address("127.0.0.1", 0)])
    port = sock.getsockname()[1]
    listener = Listener(sock, app, tls=ServerTls(*certificates("a")).context if secure else None, log=log, write_timeout=0.4)
    await listener.start()
    tls = {"ssl": client_context(certificates.ca), "server_hostname": "localhost"} if secure else {}

    async def ask(path):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 14, **tls)
        writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
        return reader, writer

    deaf = [await ask(b"/stream"), await ask(b"/whole")]
    slow, _ = await ask(b"/stream")
    got = 0
    while part := await slow.read(1 << 19):  # over a second for all of it, but never half a second without taking
        got += len(part)
        await asyncio.sleep(0.001)
    assert got > size
    await asyncio.sleep(1)
    assert ended == ["stream"] and listener.running == 0
    assert not listener._runner.server.connections
    assert "client.does.not.read" in capsys.readouterr().err
    for _, writer in deaf:
        writer.transport.abort()
    await listener.stop(1)


async def test_tls_verifies_and_takes_a_renewed_certificate(serve, client, certificates):
    cert, key = certificates("first")
    tls = ServerTls(cert, key)
    _, url = await serve(tls=tls.context, echo=echo)
    trusting = client_context(certificates.ca)
    assert (await client(url, tls=trusting).request("GET", "/echo")).status == 200
    with pytest.raises(PeerError, match="certificate is not accepted"):
        await client(url).request("GET", "/echo")

    def served():
        with socket.create_connection((url.split("/")[2].split(":")[0], int(url.rpartition(":")[2]))) as raw:
            with trusting.wrap_socket(raw, server_hostname="localhost") as s:
                return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]

    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, served) == "first"
    new = certificates("second")
    for old_file, new_file in zip((cert, key), new, strict=True):
        with open(old_file, "wb") as f:
            f.write(Path(new_file).read_bytes())
    tls.reload()
    assert await loop.run_in_executor(None, served) == "second"
    with open(key, "w") as f:
        f.write("broken")
    with pytest.raises(OperatorError):
        tls.reload()
    assert await loop.run_in_executor(None, served) == "second"


async def test_old_tls_is_refused(serve, certificates):
    tls = ServerTls(*certificates("x"))
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    _, url = await serve(tls=tls.context, echo=echo)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), ssl=old)


def test_one_tls_file_without_the_other_is_an_error(certificates, tmp_path):
    cert, key = certificates("a")
    _, other_key = certificates("b")
    assert server_tls("", "") is None
    for pair, words in (
        ((cert, ""), "without its key file"),
        (("", key), "without its certificate file"),
        ((cert, str(tmp_path / "gone")), "cannot read the key file .*gone: No such file"),
        ((cert, other_key), "cannot be used .*mismatch"),
    ):
        with pytest.raises(OperatorError, match=words):
            server_tls(*pair)
        with pytest.raises(OperatorError, match=words):
            client_context("", *pair)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("8.8.8.8", ["1.1.1.1"], "8.8.8.8"),  # not from a proxy of ours: a claim
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),  # what the client wrote itself stands on the left
        ("10.0.0.1", ["1.1.1.1", "10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]:99"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["1.1.1.1:443"], "1.1.1.1"),
    ],
)
def test_client_address(peer, forwarded, expected):
    assert client_address(peer, forwarded, networks(["10.0.0.0/8"])) == expected


def test_networks():
    nets = networks(["192.168.1.7", "fe80::/10"])
    assert contains(nets, "192.168.1.7") and contains(nets, "fe80::1%eth0") and not contains(nets, "192.168.1.8")
    assert not contains(nets, "nonsense")
    with pytest.raises(InputError, match=r"10\.0\.0\.0/99"):
        networks(["10.0.0.0/99"])
