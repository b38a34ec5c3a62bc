"""The log: what a settled ticket promises, parts and cuts, failures, damage. No engine; series are made up."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

import numpy as np
import pytest
from ccdaemon.log import make_log
from ccstore.ingest import Record
from ccstore.persist import hostlog, wal
from ccstore.persist.parts import entries, read_folder
from ccstore.persist.records import Free, Keys, Samples, decode, encode_free, encode_keys, encode_samples
from ccstore.persist.wal import Ticket, Wal, WriteFailed
from ccstore.registry import HostKey, SeriesKey

A = HostKey("fritz", "f0101")
B = HostKey("fritz", "f0102")


def key(n: int) -> SeriesKey:
    return SeriesKey((f"hwthread{n}",), "clock", 60, n % 60)


def keys_of(host: HostKey, ids: range) -> list[SeriesKey]:
    return [key(i) for i in ids]


def record(host: HostKey, *samples: tuple[int, int, float]) -> Record:
    ids, times, values = zip(*samples, strict=True)
    return Record(host, np.array(ids, np.int32), np.array(times, np.int64), np.array(values, np.float32))


class Running:
    """A Wal whose settled tickets are waited for."""

    def __init__(self, root: Path, **options: object) -> None:
        self.done: queue.Queue[Ticket] = queue.Queue()
        self.wal = Wal(root, log=make_log("test", level="crit"), settled=self._settled, **options)  # type: ignore[arg-type]
        self.wal.start()

    def _settled(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self.done.put(ticket)

    def write(self, *records: Record) -> None:
        ticket = self.wal.append(records, keys_of)
        while self.done.get(timeout=5) is not ticket:
            pass
        if ticket.error:
            raise ticket.error


@pytest.fixture
def running(tmp_path: Path):
    made: list[Running] = []

    def make(**options: object) -> Running:
        made.append(Running(tmp_path, **options))
        return made[-1]

    yield make
    for r in made:
        r.wal.close(5)


def replay(root: Path, host: HostKey) -> dict[tuple[SeriesKey, int], float]:
    """Last value of each (series, time), as the parts say it."""
    found: dict[tuple[SeriesKey, int], float] = {}
    for part in read_folder(root / host.cluster / host.host).parts:
        names: dict[int, SeriesKey] = {}
        for content in entries(part.path):
            if isinstance(content, Keys):
                names |= dict(zip(content.ids, content.keys, strict=True))
            elif isinstance(content, Samples):
                for i, t, v in zip(content.ids.tolist(), content.times.tolist(), content.values.tolist(), strict=True):
                    found[names[i], t] = v
    return found


@pytest.mark.parametrize("times", [[5, 5, 5], [5, 6, 4], [5, 2**40, 6], [-5, -5, -5]])
@pytest.mark.parametrize("ids", [[0, 1, 2], [0, 70_000, 1]])
def test_samples_keep_their_bits(times: list[int], ids: list[int]) -> None:
    values = np.array([1.5, np.nan, -0.0], np.float32)
    back = decode(encode_samples(np.array(ids, np.int32), np.array(times, np.int64), values))
    assert isinstance(back, Samples)
    assert back.ids.tolist() == ids and back.times.tolist() == times
    assert back.values.tobytes() == values.tobytes()


def test_one_time_and_few_series_cost_six_bytes_a_sample() -> None:
    n = 1000
    size = len(encode_samples(np.arange(n, dtype=np.int32), np.full(n, 1_700_000_000, np.int64), np.ones(n, np.float32)))
    assert size == 6 * n + 16


def test_keys_and_frees_come_back() -> None:
    odd = SeriesKey(("accelerator00000000:49:00.0", "x1"), "µ", 10, 3)
    assert decode(encode_keys([7], [odd])) == Keys([7], [odd])
    assert decode(encode_free(("socket0",), -5)) == Free(("socket0",), -5)


def test_settled_is_on_disk(running, tmp_path: Path) -> None:
    r = running()
    r.write(record(A, (0, 100, 1.0), (1, 100, 2.0)), record(B, (0, 100, 3.0)))
    assert replay(tmp_path, A) == {(key(0), 100): 1.0, (key(1), 100): 2.0}
    assert replay(tmp_path, B) == {(key(0), 100): 3.0}
    assert (tmp_path / "fritz" / "f0101" / "current.wal").is_file()


def test_each_part_names_its_series_itself(running, tmp_path: Path) -> None:
    r = running()
    r.write(record(A, (0, 100, 1.0), (5, 100, 2.0)))
    assert r.wal.cut(A).result(5) == 2
    r.write(record(A, (5, 160, 4.0)))
    folder = tmp_path / "fritz" / "f0101"
    assert sorted(p.name for p in folder.iterdir()) == ["1.wal", "current.wal"]
    (folder / "1.wal").unlink()
    assert replay(tmp_path, A) == {(key(5), 160): 4.0}


def test_key_tables_stand_twice_so_one_damaged_frame_costs_no_series(running, tmp_path: Path) -> None:
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    path = tmp_path / "fritz" / "f0101" / "current.wal"
    data = path.read_bytes()
    first = data.index(b"hwthread0")
    assert data.index(b"hwthread0", first + 1) > first
    flipped = bytearray(data)
    flipped[first] ^= 1
    path.write_bytes(flipped)
    assert replay(tmp_path, A) == {(key(0), 100): 1.0}


def test_cut_without_a_log_makes_nothing(running, tmp_path: Path) -> None:
    r = running()
    assert r.wal.cut(A).result(5) == 1
    assert not (tmp_path / "fritz").exists()


def test_a_new_process_never_writes_behind_a_torn_record(running, tmp_path: Path) -> None:
    """PITFALL metric-store 4.3: the reference appends behind the truncated last record, and all of that is lost."""
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    r.write(record(A, (0, 160, 2.0)))
    r.wal.close(5)
    path = tmp_path / "fritz" / "f0101" / "current.wal"
    with path.open("r+b") as f:
        f.truncate(path.stat().st_size - 3)
    again = running()
    again.write(record(A, (0, 220, 3.0)))
    assert sorted(p.name for p in path.parent.iterdir()) == ["1.wal", "current.wal"]
    assert replay(tmp_path, A) == {(key(0), 100): 1.0, (key(0), 220): 3.0}


def test_numbers_rise_above_those_of_a_former_process(running, tmp_path: Path) -> None:
    r = running()
    for n in range(3):
        r.write(record(A, (0, 100 + 60 * n, 1.0)))
        r.wal.cut(A).result(5)
    r.wal.close(5)
    again = running()
    again.write(record(A, (0, 400, 1.0)))
    assert [p.number for p in read_folder(tmp_path / "fritz" / "f0101").parts] == [1, 2, 3, 4]


def test_supersede_removes_contained_parts_only(running, tmp_path: Path) -> None:
    r = running()
    folder = tmp_path / "fritz" / "f0101"
    r.write(record(A, (0, 100, 1.0)))
    behind = r.wal.cut(A).result(5)
    r.write(record(A, (0, 160, 2.0)))
    r.wal.supersede(A, folder / "9.bin", behind).result(5)
    assert sorted(p.name for p in folder.iterdir()) == ["current.wal"]
    assert replay(tmp_path, A) == {(key(0), 160): 2.0}


def test_forgotten_host_leaves_nothing_and_begins_anew(running, tmp_path: Path) -> None:
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    r.wal.cut(A).result(5)
    r.write(record(A, (0, 160, 2.0)))
    r.wal.forget(A).result(5)
    assert not (tmp_path / "fritz").exists()
    r.write(record(A, (0, 220, 3.0)))
    assert replay(tmp_path, A) == {(key(0), 220): 3.0}


def test_forget_leaves_files_of_others(running, tmp_path: Path) -> None:
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    folder = tmp_path / "fritz" / "f0101"
    (folder / "1700000000.bin").write_bytes(bytes.fromhex("01005bcc") + bytes(20))
    (folder / "notes.txt").write_text("mine")
    r.wal.forget(A).result(5)
    assert sorted(p.name for p in folder.iterdir()) == ["1700000000.bin", "notes.txt"]


def test_current_wal_of_the_reference_is_kept_aside(running, tmp_path: Path) -> None:
    folder = tmp_path / "fritz" / "f0101"
    folder.mkdir(parents=True)
    (folder / "current.wal").write_bytes(bytes.fromhex("01a71dcc"))
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    assert (folder / "reference.wal").read_bytes() == bytes.fromhex("01a71dcc")
    assert replay(tmp_path, A) == {(key(0), 100): 1.0}


def test_few_files_stay_open(running, tmp_path: Path) -> None:
    """PITFALL metric-store 4.3: one open file per host exhausts the process's limit."""
    r = running(open_files=3)
    hosts = [HostKey("fritz", f"f{n:04d}") for n in range(10)]
    for turn in range(3):
        r.write(*(record(h, (0, 100 + 60 * turn, float(turn))) for h in hosts))
    assert sum(log.is_open for log in r.wal._hosts.values()) <= 3
    assert all(len(replay(tmp_path, h)) == 3 for h in hosts)


class Disk:
    """os.pwrite that runs full; what fits is written, as a file system does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.real = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        if self.room is None:
            return self.real(fd, data, at)
        fits = min(len(data), self.room)
        if fits == 0:
            raise OSError(28, "No space left on device")
        self.room -= fits
        return self.real(fd, bytes(data)[:fits], at)


@pytest.mark.parametrize("room", [0, 1, 40, 130, 160, 200])
def test_disk_full_fails_the_ticket_and_leaves_no_torn_record(running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    disk = Disk(monkeypatch)
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    disk.room = room
    with pytest.raises(WriteFailed):
        r.write(record(A, *((n, 160, 2.0) for n in range(100))))
    assert A in r.wal.take_due(), "the host wants a snapshot as soon as there is room"
    disk.room = None
    r.write(record(A, (1, 220, 3.0)))
    assert replay(tmp_path, A) == {(key(0), 100): 1.0, (key(1), 220): 3.0}


@pytest.mark.parametrize("room", [0, 1, 100, 128, 140])
def test_disk_full_at_the_first_write_of_a_part(running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    disk = Disk(monkeypatch)
    r = running()
    disk.room = room
    with pytest.raises(WriteFailed):
        r.write(record(A, (0, 100, 1.0)))
    disk.room = None
    r.write(record(A, (0, 160, 2.0)))
    assert replay(tmp_path, A) == {(key(0), 160): 2.0}


def test_a_part_that_cannot_be_cut_back_is_closed(running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    r = running()
    r.write(record(A, (0, 100, 1.0)))
    disk.room = 30
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(WriteFailed):
        r.write(record(A, (0, 160, 2.0)))
    disk.room = None
    r.write(record(A, (0, 220, 3.0)))
    assert sorted(p.name for p in (tmp_path / "fritz" / "f0101").iterdir()) == ["1.wal", "current.wal"]
    assert replay(tmp_path, A) == {(key(0), 100): 1.0, (key(0), 220): 3.0}


def test_a_failing_host_fails_alone(running, tmp_path: Path) -> None:
    (tmp_path / "fritz").mkdir()
    (tmp_path / "fritz" / "f0101").write_text("a file where the folder should be")
    r = running()
    with pytest.raises(WriteFailed):
        r.write(record(A, (0, 100, 1.0)), record(B, (0, 100, 2.0)))
    r.write(record(B, (0, 160, 3.0)))
    assert replay(tmp_path, B) == {(key(0), 100): 2.0, (key(0), 160): 3.0}


def test_no_room_above_the_limit(running) -> None:
    r = running(queue_limit=1000)
    gate = threading.Event()
    r.wal._call(A, lambda log: gate.wait(5))
    assert r.wal.room()
    ticket = r.wal.append([record(A, *((n, 100, 1.0) for n in range(100)))], keys_of)
    assert not r.wal.room()
    gate.set()
    assert r.done.get(timeout=5) is ticket
    assert r.wal.room()


def test_large_logs_are_due(running) -> None:
    r = running(max_size=500)
    r.write(record(A, (0, 100, 1.0)))
    assert r.wal.take_due() == set()
    r.write(record(A, *((n, 160, 1.0) for n in range(100))))
    assert r.wal.take_due() == {A}


def test_failed_sync_makes_all_written_hosts_due_and_says_so(running, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = threading.Event()
    broken.set()

    def sync(_: Path) -> None:
        if broken.is_set():
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(wal, "sync_file_system", sync)
    r = running(sync_interval=0)
    with pytest.raises(WriteFailed):
        r.write(record(A, (0, 100, 1.0)))
    assert r.wal.sync_failed and r.wal.take_due() == {A}
    broken.clear()
    r.write(record(B, (0, 100, 1.0)))
    assert not r.wal.sync_failed


def test_close_writes_what_is_queued(running, tmp_path: Path) -> None:
    r = running()
    for n in range(50):
        r.wal.append([record(A, (0, 60 * n, float(n)))], keys_of)
    assert r.wal.close(5)
    assert len(replay(tmp_path, A)) == 50
    with pytest.raises(WriteFailed):
        r.wal.append([record(A, (0, 0, 0.0))], keys_of)


def test_names_that_are_no_folder_never_reach_the_file_system(running, tmp_path: Path) -> None:
    r = running()
    for name in ("..", ".", "", "a/b", "x\0y"):
        with pytest.raises((WriteFailed, ValueError)):
            r.write(record(HostKey("fritz", name), (0, 100, 1.0)))
    assert not list(tmp_path.iterdir())
    assert hostlog.folder_of(tmp_path, A) == tmp_path / "fritz" / "f0101"
