"""The spool: order, size, crashes, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cc_metric_collector.sinks.spool import Spool
from ccdaemon.errors import OperatorError
from ccmessage.encode import Batch, Precision
from hypothesis import given, settings
from hypothesis import strategies as st

BIG = 1_000_000_000


def batch(n: int, size: int = 0) -> Batch:
    return Batch(f"m value={n} {n}\n".encode() + b" " * size, 1, n * 10**9, Precision.MS)


def drain(spool: Spool) -> list[Batch]:
    out = []
    while (found := spool.head()) is not None:
        out.append(found[1])
        assert spool.pop(found[0])
    return out


def test_first_in_first_out_with_everything_kept(tmp_path):
    spool = Spool(tmp_path / "s", BIG)
    assert spool.head() is None
    numbers = [spool.append(batch(n))[0] for n in range(5)]
    assert numbers == [0, 1, 2, 3, 4]
    assert drain(spool) == [batch(n) for n in range(5)]
    assert spool.head() is None and spool.size() == 0
    assert list((tmp_path / "s").glob("*.spool")) == []


def test_goes_on_after_a_restart_where_it_was(tmp_path):
    spool = Spool(tmp_path, BIG)
    for n in range(6):
        spool.append(batch(n))
    for _ in range(2):
        spool.pop(spool.head()[0])
    spool.close()
    again = Spool(tmp_path, BIG)
    assert again.lines == 4
    again.append(batch(6))
    assert drain(again) == [batch(n) for n in range(2, 7)]


def test_several_segments(tmp_path):
    spool = Spool(tmp_path, 40_000)
    for n in range(6):
        spool.append(batch(n, 4000))
    assert len(list(tmp_path.glob("*.spool"))) > 1
    spool.close()
    assert [b.first_ns for b in drain(Spool(tmp_path, 40_000))] == [n * 10**9 for n in range(6)]


def test_over_its_size_the_oldest_goes_and_is_counted(tmp_path):
    spool = Spool(tmp_path, 20_000)
    dropped = sum(spool.append(batch(n, 4000))[1] for n in range(20))
    left = drain(spool)
    assert dropped + len(left) == 20 and dropped > 0
    assert left == [batch(n, 4000) for n in range(20 - len(left), 20)]


def test_never_larger_than_its_size(tmp_path):
    spool = Spool(tmp_path, 20_000)
    for n in range(20):
        spool.append(batch(n, 4000))
        assert sum(f.stat().st_size for f in tmp_path.glob("*.spool")) <= 20_000
    with pytest.raises(OSError, match="larger than the spool"):
        spool.append(batch(0, 30_000))


def test_a_batch_that_was_dropped_while_it_was_sent_is_not_popped(tmp_path):
    spool = Spool(tmp_path, 20_000)
    spool.append(batch(0, 4000))
    number, _ = spool.head()
    for n in range(1, 10):
        spool.append(batch(n, 4000))
    before = spool.batches()
    assert spool.pop(number) is False and spool.batches() == before


def test_a_torn_last_write_costs_only_itself(tmp_path):
    spool = Spool(tmp_path, BIG)
    for n in range(3):
        spool.append(batch(n))
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    file.write_bytes(file.read_bytes()[:-3])
    assert drain(Spool(tmp_path, BIG)) == [batch(0), batch(1)]


def damage(file: Path, what: bytes) -> None:
    data = file.read_bytes()
    assert data.count(what) == 1
    file.write_bytes(data.replace(what, b"X" * len(what)))


def test_a_damaged_record_costs_itself_and_is_counted(tmp_path):
    spool = Spool(tmp_path, BIG)
    for n in range(4):
        spool.append(batch(n))
    (file,) = tmp_path.glob("*.spool")
    spool.close()
    damage(file, b"m value=1 1")
    spool = Spool(tmp_path, BIG)
    assert spool.lines == 4 and spool.lost() == 1 and spool.lost() == 0
    assert drain(spool) == [batch(0), batch(2), batch(3)]


def test_what_is_damaged_meanwhile_is_counted_and_numbers_stay_right(tmp_path):
    spool = Spool(tmp_path, 40_000)
    for n in range(6):
        spool.append(batch(n, 4000))
    first, second, *_ = sorted(tmp_path.glob("*.spool"))
    damage(first, b"m value=1 1")
    damage(second, b"m value=4 4")
    found = []
    while (head := spool.head()) is not None:
        found.append(head[1].first_ns // 10**9)
        assert spool.pop(head[0])
    assert found == [0, 2, 3, 5] and spool.lost() == 2
    number, _ = spool.append(batch(7))
    assert spool.head() == (number, batch(7))


def test_a_foreign_file_is_put_aside(tmp_path):
    (tmp_path / "0000000001.spool").write_bytes(b"something else" * 100)
    spool = Spool(tmp_path, BIG)
    assert [p.name for p in spool.damaged] == ["0000000001.spool.damaged"]
    spool.append(batch(1))
    assert drain(spool) == [batch(1)]


def test_a_damaged_cursor_sends_twice_rather_than_never(tmp_path):
    spool = Spool(tmp_path, BIG)
    for n in range(3):
        spool.append(batch(n))
    spool.pop(spool.head()[0])
    spool.close()
    (tmp_path / "cursor").write_bytes(b"x" * 28)
    assert drain(Spool(tmp_path, BIG)) == [batch(0), batch(1), batch(2)]


def test_two_processes_cannot_have_it(tmp_path):
    spool = Spool(tmp_path, BIG)
    with pytest.raises(OperatorError, match="in use"):
        Spool(tmp_path, BIG)
    spool.close()
    Spool(tmp_path, BIG).close()


WRITER = """
import sys
from pathlib import Path
from cc_metric_collector.sinks.spool import Spool
from ccmessage.encode import Batch, Precision
spool = Spool(Path(sys.argv[1]), 10**9)
n = 0
while True:
    spool.append(Batch(f"m value={n} {n}\\n".encode(), 1, n, Precision.S))
    if n % 3 == 2:
        spool.pop(spool.head()[0])
        print(f"popped", flush=True)
    print(f"appended {n}", flush=True)
    n += 1
"""


def test_kill_9_loses_nothing_and_repeats_at_most_one(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    said = [process.stdout.readline().strip() for _ in range(60)]
    os.kill(process.pid, signal.SIGKILL)
    said += [line.strip() for line in process.stdout]
    process.wait()
    process.stdout.close()
    appended = max(int(line.split()[1]) for line in said if line.startswith("appended"))
    popped = said.count("popped")
    found = [int(b.body.split(b"=")[1].split()[0]) for b in drain(Spool(tmp_path, BIG))]
    assert found == list(range(found[0], found[-1] + 1))  # a gap would be a loss
    assert found[-1] >= appended  # all that was said to be on disk
    assert found[0] in (popped, popped + 1)  # one more may have been popped than it could say


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["append", "pop", "reopen"]), max_size=40))
def test_like_a_queue(tmp_path_factory, steps):
    directory = Path(tmp_path_factory.mktemp("spool"))
    spool, model, n = Spool(directory, BIG), [], 0
    for step in steps:
        if step == "append":
            spool.append(batch(n))
            model.append(n)
            n += 1
        elif step == "pop" and model:
            number, found = spool.head()
            assert found == batch(model.pop(0)) and spool.pop(number)
        elif step == "reopen":
            spool.close()
            spool = Spool(directory, BIG)
            assert spool.lines == len(model)
    assert drain(spool) == [batch(i) for i in model]
    spool.close()
