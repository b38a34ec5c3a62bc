"""NATS sink and receiver with the real server."""

from __future__ import annotations

import asyncio
import time

import pytest
from cc_metric_collector.base import metric, node_head
from cc_metric_collector.nats_link import key_kind, nats_url
from cc_metric_collector.receivers.nats import Keys as ReceiverKeys
from cc_metric_collector.receivers.nats import NatsReceiver
from cc_metric_collector.sinks.nats import Keys, NatsSink
from cc_metric_collector.sinks.runner import Options, SinkRunner
from cc_metric_collector.sinks.spool import Spool
from ccdaemon.config.types import Secret
from ccdaemon.errors import OperatorError
from ccdaemon.ledger import Ledger
from ccmessage.encode import Encoder
from ccmessage.processor import Processor
from ccmessage.processor.options import ProcessorOptions

HEAD = node_head("m", "T", "T", tags={"hostname": "n1"})


@pytest.mark.parametrize(
    ("host", "port", "tls", "url"),
    [
        ("h", "4222", False, "nats://h:4222"),
        ("h", "4222", True, "tls://h:4222"),
        ("h:5", "4222", False, "nats://h:5"),
        ("tls://h", "4222", False, "tls://h:4222"),
        ("nats://h:5", "4222", False, "nats://h:5"),
        ("[::1]", "4222", False, "nats://[::1]:4222"),
        ("tls://[::1]:5", "4222", False, "tls://[::1]:5"),
    ],
)
def test_url(host, port, tls, url):
    assert nats_url(host, port, tls=tls) == url


def test_pitfall_nkey_file_may_be_a_seed_or_a_credentials_file(tmp_path):
    seed, creds = tmp_path / "seed", tmp_path / "creds"
    seed.write_text("SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4\n")
    creds.write_text("-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nS\n")
    assert key_kind(seed) == ("", str(seed)) and key_kind(creds) == (str(creds), "")
    with pytest.raises(OperatorError, match="nkey_file"):
        key_kind(tmp_path / "none")


async def until(condition, limit=15.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not within the limit"
        await asyncio.sleep(0.02)


@pytest.fixture
async def agent(tmp_path, make_context):
    """agent(server, …): a runner with a NATS sink."""
    runners = []

    async def make(url, ledger=None, processor=None, batch_size=1000, **keys):
        sink = NatsSink(Keys(type="nats", host=url, subject="fritz", **keys), "s", make_context().log)
        runner = SinkRunner(
            "s",
            sink,
            Options(0.01, batch_size, 0.05, 0.2),
            encoder=Encoder("s"),
            processor=processor,
            spool=Spool(tmp_path / "spool", 10**9),
            ledger=ledger or Ledger("s"),
            log=make_context().log,
        )
        await runner.start()
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        await runner.stop(1)


class Keeps:
    """The router's side: takes everything; `safe` says whether the sinks have it."""

    def __init__(self, got):
        self.got, self.safe = got, True

    def __call__(self, ms):
        self.got += ms
        return True

    async def settled(self):
        return self.safe


@pytest.fixture
async def listen(make_context):
    """listen(url): messages that a NATS receiver took."""
    tasks = []

    async def make(url, deliver=None, **keys):
        got = []
        receiver = NatsReceiver(ReceiverKeys(type="nats", address=url, subject="fritz", **keys), "in", make_context().log, Ledger("in"))
        tasks.append(asyncio.create_task(receiver.run(deliver or Keeps(got))))
        await asyncio.sleep(0.5)
        return got

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def put(runner, *values, head=HEAD):
    runner.put([metric(head, float(v), (1_700_000_000 + v) * 10**9) for v in values])


async def test_from_sink_to_receiver(nats_server, agent, listen):
    got = await listen(nats_server.url)
    ledger = Ledger("s")
    runner = await agent(nats_server.url, ledger)
    put(runner, 1, 2)
    await until(lambda: len(got) == 2)
    assert got[0].head.name == "m" and dict(got[0].head.meta) == {"source": "NatsReceiver(in)"}
    assert got[0].time_ns == 1_700_000_001 * 10**9  # pitfall: seconds are recognised
    await until(lambda: ledger.totals() == (2, 2, 0))


async def test_server_goes_away_and_comes_back(nats_server, agent, listen):
    ledger = Ledger("s")
    runner = await agent(nats_server.url, ledger)
    put(runner, 0)
    await until(lambda: ledger.totals()[1] == 1)
    nats_server.stop()
    for v in range(1, 20):
        put(runner, v)
        await asyncio.sleep(0.02)
    nats_server.start()
    got = await listen(nats_server.url)  # before or after the sink: what it missed was accepted by the server
    await until(lambda: ledger.totals() == (20, 20, 0))
    values = [m.fields["value"] for m in got]
    assert values == sorted(values)


async def test_pitfall_the_processed_message_is_published(nats_server, agent, listen):
    got = await listen(nats_server.url)
    runner = await agent(nats_server.url, processor=Processor.compile(ProcessorOptions(rename_messages={"m": "n"})))
    put(runner, 1)
    await until(lambda: len(got) == 1)
    assert got[0].head.name == "n"


async def test_pitfall_close_flushes(nats_server, agent, listen):
    got = await listen(nats_server.url)
    runner = await agent(nats_server.url)
    await until(lambda: runner._sink._nats.connected)
    put(runner, 1)
    await runner.stop(3)
    await until(lambda: len(got) == 1)


async def test_pitfall_larger_than_max_payload_is_split(nats_server, agent, listen):
    got = await listen(nats_server.url)
    runner = await agent(nats_server.url, batch_size=100_000)
    put(runner, *range(30_000))  # more than 1 MiB
    await until(lambda: len(got) == 30_000)
    assert [m.fields["value"] for m in got] == list(range(30_000))


async def test_user_and_password(make_nats_server, agent):
    server = make_nats_server("authorization { user: u, password: secret }")
    ledger = Ledger("s")
    runner = await agent(server.url, ledger, user="u", password=Secret("secret"))
    put(runner, 1)
    await until(lambda: ledger.totals()[1] == 1)


async def test_nkey(make_nats_server, agent, tmp_path):
    import nkeys

    seed = b"SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4"
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "nats.nkey").write_bytes(seed + b"\n")
    server = make_nats_server(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    ledger = Ledger("s")
    runner = await agent(server.url, ledger, nkey_file=str(tmp_path / "nats.nkey"))
    put(runner, 1)
    await until(lambda: ledger.totals()[1] == 1)


async def test_jetstream_from_sink_to_durable_receiver(make_nats_server, agent, listen, tmp_path, monkeypatch):
    import nats
    from ccdaemon.net import nats as link

    monkeypatch.setattr(link, "_REDELIVER_AFTER", 0.2)
    server = make_nats_server(f'jetstream {{ store_dir: "{tmp_path}/js" }}')
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="metrics", subjects=["fritz"])
    ledger = Ledger("s")
    runner = await agent(server.url, ledger, jetstream=True)
    put(runner, 1)  # nobody listens yet
    await until(lambda: ledger.totals() == (1, 1, 0))
    taker = Keeps([])
    taker.safe = False
    await listen(server.url, taker, durable=True)
    await until(lambda: len(taker.got) >= 2)  # not acknowledged: it comes again
    taker.safe = True
    await until(lambda: len(taker.got) >= 3)
    await asyncio.sleep(1.0)
    info = await client.jetstream().consumer_info("metrics", "in")
    assert info.num_ack_pending == 0 and info.num_pending == 0
    await client.close()
