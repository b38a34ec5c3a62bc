"""Snapshots and recovery with the real engine: everything comes back, damage costs what it hits, nothing ends a start."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ccdaemon.log import make_log
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.persist import snapshot
from ccstore.persist.recover import HostImage, first_pass, later_blocks, later_pass, list_hosts, read_host
from ccstore.persist.wal import Ticket, Wal
from ccstore.registry import HostKey

METRICS = MetricTable({"clock": MetricSpec(60, "avg"), "mem_bw": MetricSpec(10, "sum")})
HOST = HostKey("fritz", "f0101")
NOW = 1_700_000_000


class Life:
    """One process: an engine and its log over a folder."""

    def __init__(self, root: Path, metrics: MetricTable = METRICS) -> None:
        self.root = root
        self.done: queue.Queue[Ticket] = queue.Queue()
        self.engine = Engine(default=metrics, clock=lambda: float(NOW + 200_000))
        self.wal = Wal(
            root, log=make_log("test", level="crit"), settled=lambda ts: [self.done.put(t) for t in ts] and None, sync_interval=5.0
        )
        self.wal.start()
        self.findings: list[str] = []
        self.images: list[HostImage] = []
        hosts, findings = list_hosts(root)
        self.findings += [f.text for f in findings]
        self.engine.close_hosts(hosts)
        for host in hosts:
            image = read_host(root, host)
            self.images.append(image)
            for _ in first_pass(self.engine, image):
                pass

    def load_rest(self) -> Life:
        for image in self.images:
            if image.later is not None:
                for table, blocks in later_blocks(image.later, image.findings):
                    for _ in later_pass(self.engine, image.host, table, blocks):
                        pass
        self.findings += [f"{f.path.name}: {f.text}" for i in self.images for f in i.findings]
        return self

    def write(self, *lines: str) -> None:
        got = self.engine.ingest("\n".join(lines).encode(), cluster="fritz", now=NOW + 200_000)
        assert not got.refused and not got.closed, got
        self._wait(self.wal.append(got.records, self.engine.series_keys))

    def free(self, levels: tuple[str, ...], before: int) -> int:
        freed = self.engine.free([(*HOST, *levels)], before)
        self._wait(self.wal.free(HOST, levels, before))
        return freed

    def _wait(self, ticket: Ticket) -> None:
        while self.done.get(timeout=10) is not ticket:
            pass
        assert ticket.error is None

    def checkpoint(self, host: HostKey = HOST, stop_before: str = "") -> None:
        """Steps of a snapshot; `stop_before` = a crash there."""
        folder = self.root / host.cluster / host.host
        with self.engine.view(host) as view:
            next_part = self.wal.cut(host).result(10)
            if stop_before == "write":
                return
            final = snapshot.path_of(folder, NOW)
            tmp = final.with_name(final.name + ".tmp")
            snapshot.write_snapshot(view, next_part, tmp, NOW)
        if stop_before == "rename":
            return
        assert self.wal.publish(host, tmp, final).result(10)
        if stop_before != "supersede":
            self.wal.supersede(host, final, next_part).result(10)

    def values(self) -> dict[tuple[object, ...], float]:
        """(host, series without its phase, time) → value, all that memory holds."""
        found: dict[tuple[object, ...], float] = {}
        for host in self.engine.hosts():
            with self.engine.view(host) as view:
                for group in view.groups:
                    for number, tile in group.tiles:
                        for row, key in enumerate(group.keys):
                            if row >= len(tile):
                                continue
                            for column in np.flatnonzero(~np.isnan(tile[row])):
                                time = (number * 64 + int(column)) * group.frequency + key.phase + group.frequency // 2
                                found[host, key.levels, key.metric, time] = float(tile[row][column])
        return found

    def kill(self) -> None:
        """What kill -9 leaves: nothing is closed or flushed beyond what was settled."""
        self.wal.close(5)


def line(metric: str, time: int, value: float, **tags: str) -> str:
    return (
        f"{metric},hostname={HOST.host},type=node value={value} {time}"
        if not tags
        else f"{metric},hostname={HOST.host},type={tags['type']},type-id={tags['id']} value={value} {time}"
    )


@pytest.fixture
def life(tmp_path: Path) -> Iterator[object]:
    lives: list[Life] = []

    def begin(**options: MetricTable) -> Life:
        for old in lives:
            old.kill()
        lives.append(Life(tmp_path, **options))
        return lives[-1]

    yield begin
    for each in lives:
        each.kill()


def some_lines(begin: int, count: int = 100) -> list[str]:
    lines = [line("clock", begin + 60 * n, 0.1 * n) for n in range(count)]
    lines += [line("mem_bw", begin + 10 * n, 0.3 * n, type="socket", id=str(n % 2)) for n in range(count)]
    return lines


def test_log_alone_brings_everything_back(life) -> None:
    first = life()
    first.write(*some_lines(NOW))
    assert life().load_rest().values() == first.values()
    assert first.values()


@pytest.mark.parametrize("crash", ["write", "rename", "supersede", ""])
def test_a_crash_anywhere_in_a_snapshot_loses_nothing(life, tmp_path: Path, crash: str) -> None:
    first = life()
    first.write(*some_lines(NOW))
    first.checkpoint(stop_before=crash)
    first.write(*some_lines(NOW + 6000))
    second = life().load_rest()
    assert second.values() == first.values()
    assert not list(tmp_path.glob("*/*/*.tmp")), "left-over .tmp files are removed at the next start"
    second.write(*some_lines(NOW + 12_000))
    second.checkpoint()
    assert sorted(p.suffix for p in (tmp_path / "fritz" / "f0101").iterdir()) == [".bin"]
    assert life().load_rest().values() == second.values()


def test_recovered_data_is_in_the_next_snapshot(life) -> None:
    """PITFALL metric-store 4.5 b: data recovered from the log after a crash is lost at the second restart."""
    first = life()
    first.write(*some_lines(NOW))
    second = life().load_rest()
    second.checkpoint()
    third = life().load_rest()
    third.checkpoint()
    assert life().load_rest().values() == first.values()


def test_samples_between_view_and_rename_are_kept(life) -> None:
    """PITFALL metric-store 4.5 a."""
    first = life()
    first.write(*some_lines(NOW))
    with first.engine.view(HOST) as view:
        cut = first.wal.cut(HOST)
        first.write(*some_lines(NOW + 6000), line("clock", NOW, 99.0))
        folder = first.root / HOST.cluster / HOST.host
        snapshot.write_snapshot(view, cut.result(5), folder / f"{NOW}.bin.tmp", NOW)
    assert first.wal.publish(HOST, folder / f"{NOW}.bin.tmp", folder / f"{NOW}.bin").result(5)
    first.wal.supersede(HOST, folder / f"{NOW}.bin", cut.result()).result(5)
    assert life().load_rest().values() == first.values()


def test_restart_keeps_the_phase(life) -> None:
    """PITFALL metric-store 4.2: every save and load of the reference moves the data by up to one step."""
    first = life()
    first.write(line("clock", NOW + 17, 1.0))
    for _ in range(3):
        second = life().load_rest()
        assert second.values() == first.values()
        second.checkpoint()
    second.write(line("clock", NOW + 17 + 60 + 29, 2.0))
    assert {t for *_, t in second.values()} == {NOW + 17, NOW + 77}


def test_newest_block_first_then_the_rest(life) -> None:
    first = life()
    first.write(*(line("clock", NOW + 60 * n, float(n)) for n in range(2500)))
    first.checkpoint()
    second = life()
    early = second.values()
    assert 0 < len(early) < 2500 and max(t for *_, t in early) == NOW + 60 * 2499
    second.write(line("clock", NOW, 7.0), line("clock", NOW + 60 * 2500, 8.0))
    expected = first.values() | {(HOST, (), "clock", NOW): 7.0, (HOST, (), "clock", NOW + 60 * 2500): 8.0}
    assert second.load_rest().values() == expected, "a block fills only what is still a gap"


def test_a_free_is_replayed_in_its_place(life) -> None:
    first = life()
    first.write(*(line("mem_bw", NOW + 10 * n, float(n), type="socket", id="0") for n in range(2500)))
    first.checkpoint()
    first.write(*(line("clock", NOW + 60 * n, float(n)) for n in range(400)))
    assert first.free(("socket0",), NOW + 20_000) > 0
    first.write(line("mem_bw", NOW + 24_000, 5.0, type="socket", id="0"))
    kept = first.values()
    assert kept[HOST, ("socket0",), "mem_bw", NOW + 24_000] == 5.0
    assert (HOST, ("socket0",), "mem_bw", NOW + 10) not in kept and (HOST, (), "clock", NOW) in kept
    assert life().load_rest().values() == kept


def test_series_of_unlisted_metrics_are_kept_and_saved(life) -> None:
    """PITFALL metric-store 4.7: skipped at a load plus a whole-window snapshot would delete them."""
    first = life()
    first.write(*some_lines(NOW))
    second = life(metrics=MetricTable({})).load_rest()
    second.checkpoint()
    third = life(metrics=MetricTable({})).load_rest()
    third.checkpoint()
    assert life().load_rest().values() == first.values()


def test_generations_come_back_in_order(life) -> None:
    first = life()
    first.write(*some_lines(NOW))
    finer = MetricTable({"clock": MetricSpec(30, "avg"), "mem_bw": MetricSpec(10, "sum")})
    second = life(metrics=finer).load_rest()
    second.write(*(line("clock", NOW + 6000 + 30 * n, float(n)) for n in range(5)))
    second.checkpoint()
    third = life(metrics=finer).load_rest()
    assert third.values() == second.values()
    third.write(line("clock", NOW + 6150, 5.0))
    assert [k.frequency for g in third.engine.view(HOST).groups for k in g.keys if k.metric == "clock"] == [60, 30]


def test_things_in_the_way_are_told_and_passed_over(life, tmp_path: Path) -> None:
    """PITFALL metric-store 4.7, 2: one README in the folder keeps the reference from starting."""
    first = life()
    first.write(*some_lines(NOW))
    (tmp_path / "README").write_text("x")
    (tmp_path / "fritz" / "notes").write_text("x")
    second = life().load_rest()
    assert second.values() == first.values()
    assert len(second.findings) == 2


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_flipped_bit_in_the_log_costs_one_record(life, tmp_path: Path) -> None:
    first = life()
    for n in range(20):
        first.write(line("clock", NOW + 60 * n, float(n)))
    path = tmp_path / "fritz" / "f0101" / "current.wal"
    _flip(path, path.stat().st_size // 2)
    second = life().load_rest()
    assert len(set(first.values().items()) - set(second.values().items())) == 1
    assert any("current.wal" in f and "damaged" in f for f in second.findings), second.findings
    assert list(path.parent.glob("*.damaged")), "what was damaged is kept"


@pytest.mark.parametrize("cut", [1, 5, 30, 61])
def test_a_torn_end_is_silent(life, tmp_path: Path, cut: int) -> None:
    first = life()
    for n in range(5):
        first.write(line("clock", NOW + 60 * n, float(n)))
    path = tmp_path / "fritz" / "f0101" / "current.wal"
    path.write_bytes(path.read_bytes()[:-cut])
    second = life().load_rest()
    assert second.findings == []
    assert 3 <= len(second.values()) < 5


def test_a_damaged_block_costs_itself(life, tmp_path: Path) -> None:
    first = life()
    first.write(*(line("clock", NOW + 60 * n, float(n)) for n in range(3000)), *some_lines(NOW + 6000))
    first.checkpoint()
    path = next((tmp_path / "fritz" / "f0101").glob("*.bin"))
    _flip(path, path.stat().st_size - 20)
    second = life().load_rest()
    lost = set(first.values().items()) - set(second.values().items())
    assert 0 < len(lost) <= 1024
    assert len(second.findings) == 1 and path.with_name(path.name + ".damaged").exists()


def test_a_damaged_key_table_has_a_twin(life, tmp_path: Path) -> None:
    first = life()
    first.write(*some_lines(NOW))
    first.checkpoint()
    path = next((tmp_path / "fritz" / "f0101").glob("*.bin"))
    _flip(path, path.read_bytes().index(b"socket0"))
    second = life().load_rest()
    assert second.values() == first.values() and len(second.findings) == 1


def test_an_unreadable_snapshot_is_put_aside_and_the_log_still_counts(life, tmp_path: Path) -> None:
    first = life()
    first.write(*some_lines(NOW))
    first.checkpoint()
    first.write(*some_lines(NOW + 6000, 10))
    path = next((tmp_path / "fritz" / "f0101").glob("*.bin"))
    path.write_bytes(path.read_bytes()[:100])
    second = life().load_rest()
    assert {t for *_, t in second.values()} == {t for *_, t in first.values() if t >= NOW + 6000}
    assert path.with_name(path.name + ".damaged").exists() and not path.exists()
    second.write(*some_lines(NOW + 12_000, 3))
    second.checkpoint()
    assert life().load_rest().values() == second.values()


def test_of_two_snapshots_the_later_one_counts_whatever_its_name(life, tmp_path: Path) -> None:
    first = life()
    first.write(*some_lines(NOW))
    first.checkpoint()
    folder = tmp_path / "fritz" / "f0101"
    old = next(folder.glob("*.bin"))
    old_bytes = old.read_bytes()
    first.write(*some_lines(NOW + 6000))
    first.checkpoint()
    (folder / "9999999999.bin").write_bytes(old_bytes)
    second = life().load_rest()
    assert second.values() == first.values()
    second.checkpoint()
    assert [p.name for p in folder.iterdir()] == ["10000000000.bin"]


def test_every_single_byte_of_damage_is_survived(life, tmp_path: Path) -> None:
    """Truncations and flips anywhere: a start always goes on, and what it gives was written once."""
    first = life()
    first.write(*some_lines(NOW, 30))
    first.checkpoint()
    first.write(*some_lines(NOW + 1800, 30))
    first.kill()
    truth = set(first.values().items())
    files = {p: p.read_bytes() for p in (tmp_path / "fritz" / "f0101").iterdir()}
    for path, data in files.items():
        for at in range(0, len(data), max(1, len(data) // 60)):
            for damaged in (data[:at], data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]):
                for old in path.parent.iterdir():
                    old.unlink()
                for other, content in files.items():
                    other.write_bytes(damaged if other == path else content)
                engine = Engine(default=METRICS)
                image = read_host(tmp_path, HOST)
                for _ in first_pass(engine, image):
                    pass
                again = Life.__new__(Life)
                again.engine = engine
                assert set(again.values().items()) <= truth


@pytest.mark.parametrize("survivors", range(4))
def test_a_crash_while_a_host_is_erased_brings_nothing_back_that_was_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """Durability 8: a snapshot that outlives the part in which its data was freed would bring that data back."""
    life = Life(tmp_path)
    life.write(*(f"clock,hostname=f0101 value={n} {NOW + 60 * n}" for n in range(200)))
    life.checkpoint()
    life.write(*(f"clock,hostname=f0101 value={n} {NOW + 60 * n}" for n in range(200, 210)))
    life.wal.cut(HOST).result(10)
    assert life.free((), NOW + 100_000) > 0
    folder = tmp_path / HOST.cluster / HOST.host
    left = len(list(folder.iterdir()))
    assert left == 3 and sorted(p.suffix for p in folder.iterdir()) == [".bin", ".wal", ".wal"]
    unlink = Path.unlink

    def until_the_crash(self: Path, missing_ok: bool = False) -> None:
        if len(list(folder.iterdir())) <= survivors:
            raise OSError(5, "crash")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", until_the_crash)
    life.wal.forget(HOST).exception(10)
    monkeypatch.undo()
    life.wal.close(5)
    if folder.exists():
        assert len(list(folder.iterdir())) == min(survivors, left)
    again = Life(tmp_path).load_rest()
    assert again.engine.usage().bytes == 0
    again.wal.close(5)
