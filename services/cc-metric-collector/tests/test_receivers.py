"""HTTP receiver on a real port: answers, credentials, TLS, good lines beside bad ones."""

from __future__ import annotations

import asyncio
import base64
import ssl

import aiohttp
import pytest
from cc_metric_collector.receivers.http import HttpReceiver, Keys, basic
from ccdaemon.config.types import Secret
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Ledger


class Taker:
    """The router's side."""

    def __init__(self) -> None:
        self.got = []
        self.room = True
        self.safe = True

    async def settled(self):
        return self.safe

    def __call__(self, ms):
        if self.room:
            self.got += ms
        return self.room


@pytest.fixture
async def serve(make_context):
    tasks = []

    async def start(**keys):
        receiver = HttpReceiver(Keys(type="http", address="127.0.0.1", port="0", **keys), "in", make_context().log, Ledger("in"))
        taker = Taker()
        tasks.append(asyncio.create_task(receiver.run(taker)))
        for _ in range(200):
            if receiver.port:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        return f"http://127.0.0.1:{receiver.port}", taker

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def post(url, body=b"m,hostname=n1 value=1 1700000000000000000\n", method="POST", **kw):
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body, **kw) as answer:
        return answer.status, await answer.text()


def login(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


async def test_lines_are_delivered_with_their_source(serve):
    url, taker = await serve(path="/api/write")
    assert await post(f"{url}/api/write?cluster=x") == (200, "")
    (message,) = taker.got
    assert dict(message.head.tags) == {"hostname": "n1"} and dict(message.head.meta) == {"source": "HttpReceiver(in)"}
    assert message.time_ns == 1700000000000000000


async def test_pitfall_seconds_of_other_collectors_are_recognised(serve):
    url, taker = await serve()
    await post(url, b"m value=1 1700000000\nm value=1 1700000000000\n")
    assert [m.time_ns for m in taker.got] == [1700000000 * 10**9] * 2


async def test_pitfall_good_lines_are_taken_wherever_the_bad_ones_stand(serve):
    url, taker = await serve()
    status, text = await post(url, b"a value=1 1700000000\nwrong\nb value=2 1700000000\n")
    assert status == 400 and "ServerHttp: Failed to decode message: " in text and "1 of 3" in text
    assert [m.head.name for m in taker.got] == ["a", "b"]


async def test_paths_and_methods(serve):
    url, taker = await serve(path="write")
    assert (await post(f"{url}/write"))[0] == 200
    assert (await post(f"{url}/write/x"))[0] == 404
    assert (await post(f"{url}/write", method="PUT"))[0] == 405
    url, taker = await serve(path="/sub/")
    assert (await post(f"{url}/sub/x"))[0] == 200 and (await post(f"{url}/"))[0] == 404


async def test_basic_authentication(serve):
    url, taker = await serve(username="u", password=Secret("p"))
    assert (await post(url))[0] == 401
    assert (await post(url, headers=login("u:x")))[0] == 401
    assert (await post(url, headers=login("u:p")))[0] == 200
    assert len(taker.got) == 1
    assert basic("Basic %%%") == b"" and basic("Bearer x") == b""


async def test_bearer_tokens(serve):
    from ccdaemon.tokens import load_private_key, make_token, new_key_pair

    public, private = new_key_pair()
    _, other = new_key_pair()
    url, taker = await serve(jwt_public_key=public, username="u", password=Secret("p"))
    good = make_token(load_private_key(private), {"sub": "agent"})
    expired = make_token(load_private_key(private), {"sub": "agent", "exp": 1000})
    foreign = make_token(load_private_key(other), {"sub": "agent"})

    def header(token):
        return {"headers": {"Authorization": f"Bearer {token}"}}

    assert [(await post(url, **header(t)))[0] for t in (good, expired, foreign, "x")] == [200, 401, 401, 401]
    assert (await post(url, headers=login("u:p")))[0] == 200  # either one is enough


async def test_no_room_is_503_and_nothing_is_taken(serve):
    url, taker = await serve()
    taker.room = False
    assert (await post(url))[0] == 503 and taker.got == []


async def test_durable_answers_only_for_what_is_safe(serve):
    url, taker = await serve(durable=True)
    assert (await post(url))[0] == 200
    taker.safe = False
    assert (await post(url))[0] == 503


async def test_own_processor(serve):
    from ccmessage.processor.options import ProcessorOptions

    url, taker = await serve(process_messages=ProcessorOptions(drop_messages=["a"]))
    assert (await post(url, b"a value=1 1700000000\nb value=1 1700000000\n"))[0] == 200
    assert [m.head.name for m in taker.got] == ["b"]


async def test_a_large_body_is_refused_and_gzip_is_read(serve):
    import gzip

    url, taker = await serve()
    assert (await post(url, b"#" * (17 << 20)))[0] == 413
    assert (await post(url, gzip.compress(b"a value=1 1700000000\n"), headers={"Content-Encoding": "gzip"}))[0] == 200
    assert len(taker.got) == 1


async def test_pitfall_two_receivers_share_nothing(serve):
    first, a = await serve(path="/a")
    second, b = await serve(path="/b")
    assert (await post(f"{first}/b"))[0] == 404
    assert (await post(f"{second}/b"))[0] == 200 and len(b.got) == 1 and not a.got


async def test_a_taken_port_and_a_bad_key_are_the_operators(serve, make_context):
    url, _ = await serve()
    log = make_context().log
    taken = HttpReceiver(Keys(type="http", address="127.0.0.1", port=url.rpartition(":")[2]), "in", log, Ledger("in"))
    with pytest.raises(OperatorError, match="cannot listen"):
        await taken.run(Taker())
    with pytest.raises(OperatorError, match="key"):
        HttpReceiver(Keys(type="http", jwt_public_key="zz"), "in", log, Ledger("in"))


async def test_tls(serve, tmp_path):
    certificate(tmp_path)
    url, taker = await serve(tls_cert_file=str(tmp_path / "cert.pem"), tls_key_file=str(tmp_path / "key.pem"))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert (await post(url.replace("http://127.0.0.1", "https://localhost"), ssl=context))[0] == 200
    assert len(taker.got) == 1


def certificate(directory) -> None:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_base64_of_credentials():
    assert basic("Basic " + base64.b64encode(b"a:b").decode()) == b"a:b"
