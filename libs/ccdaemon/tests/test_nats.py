import asyncio
import base64
import os
import time

import nkeys
import pytest
from ccdaemon.config.jsonc import parse
from ccdaemon.config.types import Secret
from ccdaemon.config.walk import convert
from ccdaemon.errors import InputError, OperatorError, PeerError
from ccdaemon.net.nats import Nats, NatsConfig

pytestmark = pytest.mark.slow  # as a whole: many small servers


@pytest.fixture
async def connect(log):
    made = []

    async def connect(config, *, expect=True, before=None):
        link = Nats(config if isinstance(config, NatsConfig) else NatsConfig(config), client_name="test", log=log)
        if before:
            before(link)
        made.append(link)
        await link.start()
        if expect is not None:
            assert await link.wait_connected(5 if expect else 1.5) is expect
        return link

    yield connect
    for link in made:
        await link.stop(2)


async def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        await asyncio.sleep(0.01)


async def test_publish_and_subscribe(nats_server, connect):
    server, got = nats_server().start(), []

    async def handler(subject, data):
        got.append((subject, data))
        if data == b"bad":
            raise ValueError("handler")

    link = await connect(server.url, before=lambda n: n.subscribe("cc.>", handler))
    for data in (b"1", b"bad", b"2"):
        await link.publish("cc.x", data, flushed=True)
    await until(lambda: len(got) == 3)
    assert got == [("cc.x", b"1"), ("cc.x", b"bad"), ("cc.x", b"2")]
    late = []

    async def late_handler(_, data):
        late.append(data)

    link.subscribe("late", late_handler)
    await asyncio.sleep(0.1)
    await link.publish("late", b"x", flushed=True)
    await until(lambda: late == [b"x"])


async def test_queue_shares_messages(nats_server, connect):
    server, got = nats_server().start(), ([], [])
    for mine in got:

        async def handler(_, data, mine=mine):
            mine.append(data)

        link = await connect(server.url, before=lambda n, h=handler: n.subscribe("q", h, queue="workers"))
    for i in range(50):
        await link.publish("q", b"%d" % i)
    await until(lambda: len(got[0]) + len(got[1]) == 50)
    assert got[0] and got[1]


@pytest.mark.slow
async def test_pitfall_server_away_at_start_is_tried_for_ever_and_subscriptions_come_back(nats_server, connect):
    server, got = nats_server(), []

    async def handler(_, data):
        got.append(data)

    link = await connect(server.url, expect=False, before=lambda n: n.subscribe("s", handler))
    with pytest.raises(PeerError, match="not connected"):
        await link.publish("s", b"x")
    for round_ in range(2):
        server.start()
        assert await link.wait_connected(10)
        await link.publish("s", b"%d" % round_, flushed=True)
        await until(lambda n=round_: len(got) == n + 1)
        server.kill()
        await until(lambda: not link.connected)
        began = time.monotonic()
        with pytest.raises(PeerError):
            await link.publish("s", b"lost", flushed=True)
        assert time.monotonic() - began < 0.5
    server.start()
    assert await link.wait_connected(10)
    await asyncio.sleep(0.2)
    assert got == [b"0", b"1"]  # nothing waited in a buffer


async def test_flushed_fails_when_the_server_dies_in_between(nats_server, connect):
    server = nats_server().start()
    link = await connect(server.url)
    os.kill(server.process.pid, 19)  # SIGSTOP: deaf, not gone
    await asyncio.sleep(0.1)
    sending = asyncio.ensure_future(link.publish("s", b"x", flushed=True))
    await asyncio.sleep(0.2)
    assert not sending.done()
    server.kill()
    with pytest.raises(PeerError, match="lost|Empty|reset|closed"):
        await asyncio.wait_for(sending, 5)


async def test_nothing_ends_the_retries(nats_server, connect, monkeypatch):
    from nats.aio.client import Client

    real, failures = Client.connect, [KeyError("x"), AssertionError(), ValueError("seed")]

    async def broken(self, *args, **options):
        if failures:
            raise failures.pop()
        await real(self, *args, **options)

    monkeypatch.setattr(Client, "connect", broken)
    await connect(nats_server().start().url)
    assert not failures


async def test_max_payload_is_the_servers(nats_server, connect, tmp_path):
    (tmp_path / "n.conf").write_text("max_payload: 1000\n")
    link = await connect(nats_server("-c", str(tmp_path / "n.conf")).start().url)
    assert link.max_payload == 1000
    with pytest.raises(InputError, match="at most 1000"):
        await link.publish("s", b"x" * 1001)
    await link.publish("s", b"x" * 1000, flushed=True)


@pytest.mark.slow
async def test_durable_redelivers_what_raised_and_goes_on_after_a_restart(nats_server, connect):
    from nats.aio.client import Client

    server = nats_server("-js").start()
    admin = Client()
    await admin.connect(server.url)
    await admin.jetstream().add_stream(name="METRICS", subjects=["metrics"])
    await admin.close()
    got, fail = [], {b"1"}

    async def handler(_, data):
        got.append(data)
        if data in fail:
            fail.discard(data)
            raise RuntimeError("store is full")

    link = await connect(server.url, before=lambda n: n.subscribe("metrics", handler, durable="store"))
    for i in range(3):
        await link.publish("metrics", b"%d" % i, jetstream=True)
    await until(lambda: len(got) == 4)  # 1 came again
    assert sorted(got) == [b"0", b"1", b"1", b"2"]
    server.kill()
    await until(lambda: not link.connected)
    server.start()
    assert await link.wait_connected(10)
    await link.publish("metrics", b"3", jetstream=True)
    await until(lambda: got[-1] == b"3")
    with pytest.raises(PeerError, match="no stream"):
        await link.publish("nobody", b"x", jetstream=True)
    await link.stop(2)
    # away: what comes meanwhile waits in the stream, nothing that was acknowledged comes again
    other = await connect(server.url)
    await other.publish("metrics", b"4", jetstream=True)
    await connect(server.url, before=lambda n: n.subscribe("metrics", handler, durable="store"))
    await until(lambda: got[-1] == b"4")
    assert len(got) == 6


def seed_pair(prefix=nkeys.PREFIX_BYTE_USER):
    seed = nkeys.encode_seed(os.urandom(32), prefix)
    return bytes(seed), nkeys.from_seed(bytearray(seed)).public_key.decode()


async def test_user_and_password(nats_server, connect):
    server = nats_server("--user", "me", "--pass", "secret").start()
    await connect(NatsConfig(server.url, username="me", password=Secret("secret")))
    await connect(NatsConfig(server.url, username="me", password=Secret("wrong")), expect=False)


async def test_seed_pitfall_nkey(nats_server, connect, tmp_path):
    seed, public = seed_pair()
    (tmp_path / "n.conf").write_text(f"authorization: {{ users: [ {{ nkey: {public} }} ] }}\n")
    (tmp_path / "user.nk").write_bytes(seed + b"\n")
    server = nats_server("-c", str(tmp_path / "n.conf")).start()
    link = await connect(NatsConfig(server.url, nkey_file=str(tmp_path / "user.nk")))
    await link.publish("s", b"x", flushed=True)
    await connect(server.url, expect=False)


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def nats_jwt(claims, issuer_seed):
    """A JWT as nsc makes it (ed25519-nkey)."""
    import hashlib

    import msgspec

    issuer = nkeys.from_seed(bytearray(issuer_seed))
    claims = {"iat": int(time.time()), "iss": issuer.public_key.decode(), **claims}
    claims["jti"] = base64.b32encode(hashlib.sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    head = unpadded(b'{"typ":"JWT","alg":"ed25519-nkey"}')
    text = f"{head}.{unpadded(msgspec.json.encode(claims))}"
    return f"{text}.{unpadded(issuer.sign(text.encode()))}"


async def test_credentials_file(nats_server, connect, tmp_path):
    operator, operator_id = seed_pair(nkeys.PREFIX_BYTE_OPERATOR)
    account, account_id = seed_pair(nkeys.PREFIX_BYTE_ACCOUNT)
    user, user_id = seed_pair()
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    op_jwt = nats_jwt({"sub": operator_id, "name": "op", "nats": {"type": "operator", "version": 2}}, operator)
    acc = {"sub": account_id, "name": "acc", "nats": {"type": "account", "version": 2, "limits": {**unlimited, "wildcards": True}}}
    usr = {"sub": user_id, "name": "u", "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}}
    (tmp_path / "n.conf").write_text(
        f'operator: "{op_jwt}"\nresolver: MEMORY\nresolver_preload: {{ {account_id}: "{nats_jwt(acc, operator)}" }}\n'
    )
    creds = tmp_path / "user.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{nats_jwt(usr, account)}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.decode()}\n------END USER NKEY SEED------\n"
    )
    server = nats_server("-c", str(tmp_path / "n.conf")).start()
    link = await connect(NatsConfig(server.url, creds_file_path=str(creds)))
    await link.publish("s", b"x", flushed=True)


@pytest.mark.slow
async def test_pitfall_tls_with_client_certificate(nats_server, connect, certificates):
    cert, key = certificates("server")
    mine = certificates("client")
    server = nats_server("--tls", "--tlscert", cert, "--tlskey", key, "--tlsverify", "--tlscacert", certificates.ca).start()
    url = server.url.replace("nats://", "tls://")
    link = await connect(NatsConfig(url, ca_file=certificates.ca, cert_file=mine[0], key_file=mine[1]))
    await link.publish("s", b"x", flushed=True)
    await connect(NatsConfig(url), expect=False)  # a CA that the system does not know
    await connect(NatsConfig(url, ca_file=certificates.ca), expect=False)  # no client certificate


async def test_tls_is_never_left_out_silently(nats_server, connect, certificates, monkeypatch):
    server = nats_server("--user", "me", "--pass", "secret").start()  # speaks no TLS
    sent = []
    from nats.aio.transport import TcpTransport

    monkeypatch.setattr(TcpTransport, "write", lambda self, payload: sent.append(bytes(payload)))
    config = NatsConfig(f"tls://127.0.0.1:{server.port}", username="me", password=Secret("secret"), ca_file=certificates.ca)
    await connect(config, expect=False)
    assert b"secret" not in b"".join(sent)


async def test_wrong_key_files_are_the_operators_fault(connect, tmp_path):
    (tmp_path / "bad").write_text("hello")
    for config in (
        NatsConfig("nats://x", nkey_file=str(tmp_path / "gone")),
        NatsConfig("nats://x", nkey_file=str(tmp_path / "bad")),
        NatsConfig("nats://x", creds_file_path=str(tmp_path / "bad")),
        NatsConfig("nats://x", ca_file=str(tmp_path / "bad")),
    ):
        with pytest.raises(OperatorError):
            await connect(config)


def test_section_keys():
    def read(text):
        return convert(parse(text, tmp), NatsConfig, "nats")

    from pathlib import Path

    tmp = Path("c.json")
    config, problems = read('{"address": "nats://h:4222", "nkey-seed-file": "/n", "tls-ca-file": "/ca", "xyz": 1}')
    assert (config.nkey_file, config.ca_file) == ("/n", "/ca") and [p.fatal for p in problems] == [False]
    for bad in (
        '{"address": ""}',
        '{"address": "http://x"}',
        '{"address": "nats://[::1"}',
        '{"address": "nats://h:99999"}',
        '{"address": "nats://h", "tls-cert-file": "/c"}',
        '{"address": "nats://h", "pasword": "x"}',
        '{"address": "nats://h", "nkey-file": "/a", "creds-file-path": "/b"}',
    ):
        assert read(bad)[0] is None, bad
