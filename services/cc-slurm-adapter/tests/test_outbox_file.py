"""The outbox survives what a daemon may meet: restart, kill between two steps, answers out of order."""

from __future__ import annotations

from pathlib import Path

from cc_slurm_adapter.core import Assigned, ClusterState, Delivered, Detailed, Device, JobKey, JobView, Polled, Queued, step
from cc_slurm_adapter.outbox import NewDelivery, Outbox

KEY = JobKey(7, 100)
VIEW = JobView(7, 100, 0, "", "alice", "p", "work", ("n1",))


def advance(box: Outbox, state: ClusterState, *events: object, out: tuple[NewDelivery, ...] = ()) -> ClusterState:
    after = state
    for e in events:
        after, _ = step(after, e, 1000.0)  # type: ignore[arg-type]
    box.commit(state, after, list(out), 1000.0)
    return after


def test_state_is_the_same_after_a_restart(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db")
    given = Assigned((Device("n1", (0,)),), "none")
    events = (Queued(frozenset({7}), {7: given}), Polled((VIEW,), 900.0), Detailed(KEY, given, {}))
    state = advance(box, box.load("alpha"), *events, out=(NewDelivery(KEY, "start", b"{}", 100, "work"),))
    box.close()
    assert not (tmp_path / "o.db-wal").exists() or not (tmp_path / "o.db-wal").stat().st_size
    again = Outbox(tmp_path / "o.db")
    assert again.load("alpha") == state
    assert again.load("beta") == ClusterState("beta")
    assert [d.kind for d in again.due(1000.0)] == ["start"]


def test_a_poll_that_was_cut_off_is_as_if_it_had_not_been(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db")
    advance(box, box.load("alpha"), Polled((VIEW,)))  # killed before the details came
    assert box.load("alpha").jobs == {}


def test_stop_waits_for_its_start(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db")
    deliveries = (
        NewDelivery(KEY, "start", b"1", 100, ""),
        NewDelivery(KEY, "stop", b"2", 160, ""),
        NewDelivery(JobKey(8, 1), "start", b"3", 1, ""),
    )
    state = advance(box, box.load("alpha"), Polled((VIEW,)), Detailed(KEY, None, {}), out=deliveries)
    first = box.due(1000.0)
    assert [d.body for d in first] == [b"1", b"3"]
    box.retry(first[0], 2000.0)
    assert [d.body for d in box.due(1000.0)] == [b"3"]
    after, _ = step(state, Delivered(KEY, "start"), 1001.0)
    box.commit(state, after, [], 1001.0, done=first[0])
    assert [d.body for d in box.due(1000.0)] == [b"2", b"3"]
    assert box.load("alpha").jobs[KEY].start == "done"
    assert (box.waiting(), box.oldest()) == (2, 1000.0)


def test_not_before(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db")
    advance(box, box.load("a"), out=(NewDelivery(KEY, "stop", b"", 1, "", not_before=1002.0),))
    assert box.due(1001.0) == []
    assert len(box.due(1002.0)) == 1
