"""Acknowledged means durable across a kill -9 (design 5): a real daemon, real load, real kills; every acknowledged sample compared."""

from __future__ import annotations

import random
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_kill_restart_load_kill_restart(daemon, load) -> None:
    """PITFALL metric-store 4.3, 4.5 b: the second kill is the one that costs data."""
    d = daemon().start()
    for _ in range(3):
        load.start(d)
        time.sleep(random.uniform(0.2, 0.8))
        d.kill()
        load.finish()
        d.start()
    assert load.check(d.loaded()) > 1000


def test_kill_while_snapshots_are_taken_all_the_time(daemon, load) -> None:
    d = daemon(store={"checkpoints": {"max-wal-size": 3000}}).start()
    for _ in range(2):
        load.start(d)
        time.sleep(random.uniform(1.5, 2.5))
        d.kill()
        load.finish()
        assert any(name.endswith(".bin") for name in d.files()), d.files()
        d.start()
    assert load.check(d.loaded()) > 1000


def test_load_during_the_start(daemon, load) -> None:
    """What comes while a start still reads its files is binned by the phase of the files, and is as safe."""
    d = daemon().start()
    load.start(d)
    time.sleep(1.0)
    d.kill()
    load.finish()
    d.process.start()
    deadline = time.monotonic() + 30
    while d.write(f"clock,hostname=f0000,type=hwthread,type-id=0 value=1 {load.begin - 10}")[0] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    load.start(d)
    time.sleep(0.7)
    d.kill()
    load.finish()
    assert load.check(d.start().loaded()) > 1000


def test_clean_stop_and_start(daemon, load) -> None:
    d = daemon().start()
    load.start(d)
    time.sleep(1.0)
    load.finish()
    d.stop()
    assert {name.split(".")[-1] for name in d.files()} == {"bin"} and len(d.files()) == len(load.hosts)
    assert "store.stop-incomplete" not in d.process.said()
    assert load.check(d.start().loaded()) > 1000
    assert "damaged" not in d.process.said()


def test_stop_under_load_keeps_what_it_acknowledged(daemon, load) -> None:
    d = daemon().start()
    load.start(d)
    time.sleep(1.0)
    d.stop()
    load.finish()
    assert load.check(d.start().loaded()) > 500


def test_truncated_and_flipped_files_do_not_keep_it_from_starting(daemon, load) -> None:
    d = daemon().start()
    load.start(d)
    time.sleep(0.5)
    load.finish()
    d.stop()
    d.start().loaded()
    load.start(d)
    time.sleep(0.5)
    load.finish()
    d.kill()
    first, second, third = (d.checkpoints / "fritz" / host for host in load.hosts[:3])
    snapshot = next(first.glob("*.bin"))
    snapshot.write_bytes(snapshot.read_bytes()[:200])
    log = second / "current.wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    (third / "current.wal").write_bytes(b"")
    d.start().loaded()
    assert any(name.endswith(".bin.damaged") for name in d.files(first.name))
    assert d.process.said().count("store.file") >= 2
    load.start(d)
    time.sleep(0.3)
    load.finish()
    whole = {s for s in load.acknowledged if s[0] in load.hosts[3:]}
    load.acknowledged = whole
    load.hosts = load.hosts[3:]
    assert load.check(d) > 500
