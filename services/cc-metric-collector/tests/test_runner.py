"""The sink runner against a real HTTP server that goes away and comes back."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from aiohttp import web
from cc_metric_collector.base import Refused, Retry, Sink, metric, node_head
from cc_metric_collector.sinks import runner as runner_module
from cc_metric_collector.sinks.http import HttpSink, Keys
from cc_metric_collector.sinks.runner import Options, SinkRunner
from cc_metric_collector.sinks.spool import Spool
from ccdaemon.config.types import Secret
from ccdaemon.ledger import Ledger
from ccdaemon.log import make_log
from ccmessage.encode import Batch, Encoder, Precision
from ccmessage.processor import Processor
from ccmessage.processor.options import ProcessorOptions

HEAD = node_head("m", "Test", "Test", tags={"hostname": "n1"})


class Peer:
    """An HTTP server on a fixed port that can be stopped and started; keeps the values it accepted."""

    def __init__(self) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.status = 200
        self.values: list[int] = []
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.largest = 1 << 30
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/write?cluster=fritz"

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/api/write", self._write)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _write(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(request)
        self.bodies.append(body)
        if len(body) > self.largest:
            return web.Response(status=413)
        if self.status == 200:
            self.values += [int(float(line.split(b"value=")[1].split()[0])) for line in body.splitlines()]
        return web.Response(status=self.status, text="line 1: because", headers=self.headers)


@pytest.fixture
async def peer():
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
async def make_runner(tmp_path, make_context):
    runners = []

    async def make(sink, *, spool=True, flush_delay=0.01, batch_size=1000, ledger=None, spool_class=Spool):
        runner = SinkRunner(
            "s",
            sink,
            Options(flush_delay, batch_size, first_pause=0.02, longest_pause=0.1),
            encoder=Encoder(Precision.S),
            processor=None,
            spool=spool_class(tmp_path / "spool", 10**9) if spool else None,
            ledger=ledger or Ledger("s"),
            log=make_context().log,
        )
        await runner.start()
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        await runner.stop(0.5)


def http(peer, **keys) -> HttpSink:
    return HttpSink(Keys(type="http", url=peer.url, **keys), "s", make_log("t", stream=io.StringIO()))


def put(runner, *values: int) -> None:
    runner.put([metric(HEAD, float(v), v * 10**9) for v in values])


async def until(condition, limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not within the limit"
        await asyncio.sleep(0.01)


async def test_one_request_per_batch_with_token(peer, make_runner):
    ledger = Ledger("s")
    runner = await make_runner(http(peer, jwt=Secret("abc")), ledger=ledger)
    put(runner, 1, 2)
    put(runner, 3)
    await until(lambda: peer.values == [1, 2, 3])
    assert len(peer.requests) == 1 and peer.requests[0].headers["Authorization"] == "Bearer abc"
    assert peer.requests[0].query["cluster"] == "fritz"
    assert (
        peer.bodies[0] == b"m,hostname=n1,type=node value=1.0 1\nm,hostname=n1,type=node value=2.0 2\nm,hostname=n1,type=node value=3.0 3\n"
    )
    await until(lambda: ledger.totals() == (3, 3, 0))


async def test_basic_authentication_overrides_the_token(peer, make_runner):
    runner = await make_runner(http(peer, jwt=Secret("abc"), username="u", password=Secret("p")))
    put(runner, 1)
    await until(lambda: peer.values == [1])
    assert peer.requests[0].headers["Authorization"] == "Basic dTpw"


async def test_batches_by_count(peer, make_runner):
    runner = await make_runner(http(peer), batch_size=2, flush_delay=0.05)
    put(runner, *range(5))
    await until(lambda: len(peer.values) == 5)
    assert [len(b.splitlines()) for b in peer.bodies] == [2, 2, 1]


async def test_flush_delay_zero_sends_at_once(peer, make_runner):
    runner = await make_runner(http(peer), flush_delay=0)
    put(runner, 1)
    await until(lambda: peer.values == [1], 1.0)


async def test_peer_goes_away_and_comes_back_nothing_lost_order_kept(peer, make_runner):
    ledger = Ledger("s")
    runner = await make_runner(http(peer), ledger=ledger, flush_delay=0)
    put(runner, 0)
    await until(lambda: peer.values == [0])
    await peer.stop()
    for v in range(1, 40):
        put(runner, v)
        await asyncio.sleep(0.01)
    assert runner.away
    await peer.start()
    for v in range(40, 60):
        put(runner, v)
        await asyncio.sleep(0.005)
    await until(lambda: len(peer.values) >= 60)
    assert peer.values == list(range(60))
    await until(lambda: ledger.totals() == (60, 60, 0))
    await until(lambda: not runner._in_spool)  # back to memory
    put(runner, 60)
    await until(lambda: peer.values[-1] == 60)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_pitfall_these_answers_cost_no_data(peer, make_runner, status):
    runner = await make_runner(http(peer), flush_delay=0)
    peer.status = status
    put(runner, 1)
    put(runner, 2)
    await until(lambda: len(peer.requests) >= 3)
    peer.status = 200
    await until(lambda: peer.values == [1, 2])


@pytest.mark.parametrize("status", [400, 422])
async def test_what_the_peer_has_judged_is_counted_and_not_sent_again(peer, make_runner, status):
    ledger = Ledger("s")
    runner = await make_runner(http(peer), ledger=ledger, flush_delay=0)
    peer.status = status
    put(runner, 1)
    await until(lambda: ledger.totals() == (1, 0, 1))
    peer.status = 200
    put(runner, 2)
    await until(lambda: peer.values == [2])


async def test_204_is_success(peer, make_runner):
    ledger = Ledger("s")
    runner = await make_runner(http(peer), ledger=ledger)
    peer.status = 204
    put(runner, 1)
    await until(lambda: ledger.totals() == (1, 1, 0))


async def test_413_is_halved_at_a_line_end(peer, make_runner):
    peer.largest = 150
    runner = await make_runner(http(peer))
    put(runner, *range(10))
    await until(lambda: len(peer.values) == 10)
    assert peer.values == list(range(10))


async def test_gzip_as_soon_as_the_peer_says_so(peer, make_runner):
    runner = await make_runner(http(peer), flush_delay=0)
    put(runner, 1)
    await until(lambda: peer.values == [1])
    peer.headers = {"Accept-Encoding": "gzip"}
    put(runner, 2)
    await until(lambda: peer.values == [1, 2])
    put(runner, 3)
    await until(lambda: peer.values == [1, 2, 3])
    assert ["Content-Encoding" in r.headers for r in peer.requests] == [False, False, True]


async def test_stop_flushes_what_was_not_yet_sent(peer, make_runner):
    runner = await make_runner(http(peer), flush_delay=60)
    put(runner, 1, 2)
    await asyncio.sleep(0.05)
    assert peer.values == []
    await runner.stop(3)
    assert peer.values == [1, 2]


async def test_stop_while_the_peer_is_away_spools_and_the_next_start_sends(peer, make_runner):
    await peer.stop()
    runner = await make_runner(http(peer), flush_delay=60)
    put(runner, 1, 2)
    await runner.stop(1)
    await peer.start()
    ledger = Ledger("s")
    again = await make_runner(http(peer), flush_delay=0, ledger=ledger)
    put(again, 3)
    await until(lambda: peer.values == [1, 2, 3])
    await until(lambda: ledger.totals() == (3, 3, 0))


class Scripted(Sink):
    """A driver whose answers the test gives."""

    Config = Keys

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.gate = asyncio.Event()
        self.answers: list[Exception] = []

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def send(self, batch) -> None:
        await self.gate.wait()
        if self.answers:
            raise self.answers.pop(0)
        self.sent.append(batch.body)

    def values(self) -> list[int]:
        return [int(float(line.split(b"value=")[1].split()[0])) for body in self.sent for line in body.splitlines()]


async def test_a_slow_peer_overflows_into_the_spool_in_order(make_runner):
    sink, ledger = Scripted(), Ledger("s")
    runner = await make_runner(sink, flush_delay=0, ledger=ledger)
    await until(lambda: not runner._in_spool)
    for v in range(30):
        put(runner, v)
        await asyncio.sleep(0.001)
    assert runner._in_spool
    sink.gate.set()
    await until(lambda: len(sink.values()) >= 30)
    assert sink.values() == list(range(30))
    await until(lambda: ledger.totals() == (30, 30, 0))


async def test_without_a_spool_the_oldest_is_dropped_and_counted(make_runner, monkeypatch):
    monkeypatch.setattr(runner_module, "WAITING_WITHOUT_SPOOL", 4)
    sink, ledger = Scripted(), Ledger("s")
    runner = await make_runner(sink, spool=False, flush_delay=0, ledger=ledger)
    for v in range(10):
        put(runner, v)
        await asyncio.sleep(0.002)
    sink.gate.set()
    await until(lambda: ledger.held() == 0)
    assert sink.values() == [0, 7, 8, 9]  # 0 was on its way
    assert dict(ledger.reasons()) == {"queue full": 6}


class FullDisk(Spool):
    """A spool on a disk that has no room while `full` is set."""

    full = True

    def append(self, batch):
        if self.full:
            self.appended += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(batch)


@pytest.fixture
async def full_disk(peer, make_runner, monkeypatch):
    """(runner, its ledger) with a peer that is away and a disk that is full."""
    monkeypatch.setattr(runner_module, "RETRY_DISK", 0.05)
    monkeypatch.setattr(FullDisk, "full", True)
    await peer.stop()
    ledger = Ledger("s")
    return await make_runner(http(peer), flush_delay=0, ledger=ledger, spool_class=FullDisk), ledger


async def put_slowly(runner, values) -> None:
    for value in values:
        put(runner, value)
        await asyncio.sleep(0.01)


async def test_disk_full_while_the_peer_is_away_loses_nothing_that_fits_into_memory(full_disk, peer):
    runner, ledger = full_disk
    await put_slowly(runner, range(20))
    await asyncio.sleep(0.2)
    assert ledger.totals() == (20, 0, 0)
    await peer.start()
    await until(lambda: ledger.totals() == (20, 20, 0))
    assert peer.values == list(range(20))


async def test_disk_with_room_again_takes_what_waited(full_disk, peer, monkeypatch):
    runner, ledger = full_disk
    await put_slowly(runner, range(20))
    asked = asyncio.create_task(runner.settled())
    await asyncio.sleep(0.1)
    assert not asked.done()  # neither sent nor on disk
    monkeypatch.setattr(FullDisk, "full", False)
    assert await asyncio.wait_for(asked, 5)
    await put_slowly(runner, range(20, 25))
    await peer.start()
    await until(lambda: ledger.totals() == (25, 25, 0))
    assert peer.values == list(range(25))


async def test_disk_full_and_memory_full_drops_the_oldest_and_counts(full_disk, peer, monkeypatch):
    monkeypatch.setattr(runner_module, "WAITING_WITHOUT_SPOOL", 5)
    runner, ledger = full_disk
    await put_slowly(runner, range(40))
    await asyncio.sleep(0.1)
    await peer.start()
    await until(lambda: ledger.held() == 0)
    took, gave, refused = ledger.totals()
    assert took == 40 and gave == len(peer.values) and set(ledger.reasons()) == {"disk full, oldest dropped"}
    assert peer.values == sorted(peer.values) and peer.values[-1] == 39 and refused >= 20


async def test_stop_with_a_full_disk_counts_what_is_lost(full_disk):
    runner, ledger = full_disk
    await put_slowly(runner, range(10))
    await runner.stop(0.5)
    assert ledger.totals() == (10, 0, 10)


async def test_a_damaged_record_of_the_spool_is_counted(peer, make_runner, tmp_path):
    spool = Spool(tmp_path / "spool", 10**9)
    for n in range(3):
        spool.append(Batch(f"m value={n} {n}\n".encode(), 1, n, Precision.S))
    spool.close()
    (file,) = (tmp_path / "spool").glob("*.spool")
    file.write_bytes(file.read_bytes().replace(b"value=1 1", b"value=9 9"))
    ledger = Ledger("s")
    await make_runner(http(peer), ledger=ledger)
    await until(lambda: ledger.totals() == (3, 2, 1))
    assert peer.values == [0, 2] and dict(ledger.reasons()) == {"damaged in the spool": 1}


async def test_refused_in_part(make_runner):
    sink, ledger = Scripted(), Ledger("s")
    sink.gate.set()
    sink.answers = [Refused("two bad", 2)]
    runner = await make_runner(sink, flush_delay=0, ledger=ledger)
    put(runner, 1, 2, 3)
    await until(lambda: ledger.totals() == (3, 1, 2))


async def test_a_defect_of_a_driver_does_not_stop_the_sink(make_runner):
    sink = Scripted()
    sink.gate.set()
    sink.answers = [ZeroDivisionError("defect"), Retry("busy", 0.01)]
    runner = await make_runner(sink, flush_delay=0)
    put(runner, 1)
    await until(lambda: sink.values() == [1])


async def test_pitfall_a_message_that_cannot_be_encoded_costs_only_itself(make_runner):
    sink, ledger = Scripted(), Ledger("s")
    sink.gate.set()
    runner = await make_runner(sink, flush_delay=0, ledger=ledger)
    runner.put([metric(HEAD, float("nan"), 1), metric(HEAD, 5.0, 10**9)])
    await until(lambda: sink.values() == [5])
    await until(lambda: ledger.totals() == (2, 1, 1))


async def test_settled_when_the_peer_has_it(peer, make_runner):
    runner = await make_runner(http(peer), flush_delay=0.1)
    assert await runner.settled()  # nothing to wait for
    put(runner, 1)
    assert await asyncio.wait_for(runner.settled(), 5)
    assert peer.values == [1]


async def test_settled_when_it_is_on_disk(peer, make_runner, tmp_path):
    await peer.stop()
    runner = await make_runner(http(peer), flush_delay=0)
    for v in range(3):
        put(runner, v)
        assert await asyncio.wait_for(runner.settled(), 5)
        assert sum(f.stat().st_size for f in (tmp_path / "spool").glob("*.spool")) > 100 * v


async def test_settled_is_false_when_it_was_lost(make_runner, monkeypatch):
    monkeypatch.setattr(runner_module, "WAITING_WITHOUT_SPOOL", 2)
    sink = Scripted()
    runner = await make_runner(sink, spool=False, flush_delay=0)
    asked = []
    for v in range(6):
        put(runner, v)
        asked.append(asyncio.create_task(runner.settled()))
        await asyncio.sleep(0.005)
    sink.gate.set()
    answers = await asyncio.wait_for(asyncio.gather(*asked), 5)
    assert answers[0] is True and False in answers
    put(runner, 7)
    assert await asyncio.wait_for(runner.settled(), 5)


async def test_settled_when_rules_dropped_everything(peer, make_runner):
    runner = await make_runner(http(peer), flush_delay=0)
    runner._processor = Processor.compile(ProcessorOptions(drop_messages=["m"]))
    put(runner, 1)
    assert await asyncio.wait_for(runner.settled(), 5)


AGENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from cc_metric_collector.base import metric, node_head
from cc_metric_collector.sinks.http import HttpSink, Keys
from cc_metric_collector.sinks.runner import Options, SinkRunner
from cc_metric_collector.sinks.spool import Spool
from ccdaemon.ledger import Ledger
from ccdaemon.log import make_log
from ccmessage.encode import Batch, Encoder, Precision
from ccmessage.processor import Processor
from ccmessage.processor.options import ProcessorOptions

async def run():
    log = make_log("t")
    spool = Spool(Path(sys.argv[1]), 10**9)
    runner = SinkRunner("s", HttpSink(Keys(type="http", url=sys.argv[2]), "s", log), Options(0, 1000, 0.02, 0.05),
                        encoder=Encoder(Precision.S), processor=None, spool=spool, ledger=Ledger("s"), log=log)
    await runner.start()
    head = node_head("m", "T", "T", tags={"hostname": "n1"})
    v = 0
    while True:
        runner.put([metric(head, float(v), v * 10**9)])
        v += 1
        await asyncio.sleep(0.005)
        print(spool.appended, flush=True)
asyncio.run(run())
"""


async def test_kill_9_after_spooling_loses_nothing(peer, tmp_path, make_runner):
    await peer.stop()
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path / "spool"), peer.url, "."], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    spooled = 0
    while spooled < 30:
        spooled = int(await asyncio.to_thread(process.stdout.readline))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    await peer.start()
    await make_runner(http(peer), flush_delay=0)
    await until(lambda: len(peer.values) >= spooled - 1)
    assert peer.values == list(range(len(peer.values)))
