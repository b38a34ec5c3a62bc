"""The adapter's one truth on disk: known jobs, remembered allocations, undelivered starts and stops, time of the last polls.

An SQLite file beside `lastRunPath`. `commit` is one transaction; a delivery stays until cc-backend's answer is final.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .core import Assigned, ClusterState, JobKey, Known

SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists job (cluster text, id integer, start integer, known blob not null, primary key (cluster, id, start)) without rowid;
create table if not exists remembered (cluster text, id integer, seen real, assigned blob not null, primary key (cluster, id)) without rowid;
create table if not exists polled (cluster text primary key, time real not null) without rowid;
create table if not exists delivery (
    seq integer primary key, cluster text not null, id integer not null, start integer not null, kind text not null,
    body blob not null, time integer not null, partition text not null, created real not null, due real not null, tries integer not null default 0
);
create index if not exists delivery_job on delivery (cluster, id, start, seq);
pragma user_version = 1;
"""


class Delivery(msgspec.Struct, frozen=True):
    """A start or stop that cc-backend has not taken yet; `time` = its start or stop time."""

    seq: int
    cluster: str
    key: JobKey
    kind: str
    body: bytes
    time: int
    partition: str
    tries: int


class NewDelivery(msgspec.Struct, frozen=True):
    key: JobKey
    kind: str
    body: bytes
    time: int
    partition: str
    not_before: float = 0.0


class Outbox:
    """Used by one thread at a time (the loop's; each call takes well under a millisecond). sqlite3.Error for a full or broken disk."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def load(self, cluster: str) -> ClusterState:
        """Jobs whose details had not come yet are not kept: the poll that found them did not complete."""
        decode = msgspec.msgpack.Decoder(Known).decode
        jobs = {JobKey(i, s): decode(k) for i, s, k in self._db.execute("select id, start, known from job where cluster = ?", (cluster,))}
        assigned = msgspec.msgpack.Decoder(Assigned).decode
        remembered = {
            i: (assigned(a), t) for i, t, a in self._db.execute("select id, seen, assigned from remembered where cluster = ?", (cluster,))
        }
        row = self._db.execute("select time from polled where cluster = ?", (cluster,)).fetchone()
        return ClusterState(cluster, jobs, remembered, {}, row[0] if row else 0.0)

    def commit(
        self,
        before: ClusterState,
        after: ClusterState,
        out: list[NewDelivery],
        now: float,
        done: Delivery | None = None,
        *,
        rest: bool = False,
    ) -> int:
        """One transaction: the difference of the states, new deliveries, and the delivery that this is the answer to.

        With `rest`, what waits behind it for the same job goes too (the stop of a rejected start). Returns how many deliveries left.
        """
        encode, name = msgspec.msgpack.encode, after.name
        with self._db:
            self._db.execute("begin immediate")
            for key in before.jobs.keys() - after.jobs.keys():
                self._db.execute("delete from job where (cluster, id, start) = (?, ?, ?)", (name, *key))
            for key, known in _changed(before.jobs, after.jobs).items():
                if known.start != "asked":
                    self._db.execute("replace into job values (?, ?, ?, ?)", (name, *key, encode(known)))
            for job_id in before.remembered.keys() - after.remembered.keys():
                self._db.execute("delete from remembered where (cluster, id) = (?, ?)", (name, job_id))
            for job_id, (assigned, seen) in _changed(before.remembered, after.remembered).items():
                self._db.execute("replace into remembered values (?, ?, ?, ?)", (name, job_id, seen, encode(assigned)))
            for d in out:
                values = (name, *d.key, d.kind, d.body, d.time, d.partition, now, max(now, d.not_before))
                self._db.execute(
                    "insert into delivery (cluster, id, start, kind, body, time, partition, created, due) values (?,?,?,?,?,?,?,?,?)",
                    values,
                )
            if after.polled != before.polled:
                self._db.execute("replace into polled values (?, ?)", (name, after.polled))
            if done is None:
                return 0
            job = (done.cluster, *done.key, done.seq, rest)
            return self._db.execute("delete from delivery where (cluster, id, start) = (?, ?, ?) and (seq = ? or ?)", job).rowcount

    def due(self, now: float, limit: int = 100) -> list[Delivery]:
        """Heads of the jobs' queues whose time has come, oldest first."""
        rows = self._db.execute(
            "select seq, cluster, id, start, kind, body, time, partition, tries from delivery d where due <= ? and not exists "
            "(select 1 from delivery e where e.cluster = d.cluster and e.id = d.id and e.start = d.start and e.seq < d.seq) order by seq limit ?",
            (now, limit),
        )
        return [Delivery(seq, c, JobKey(i, s), kind, body, t, p, tries) for seq, c, i, s, kind, body, t, p, tries in rows]

    def retry(self, delivery: Delivery, at: float) -> None:
        self._db.execute("update delivery set due = ?, tries = tries + 1 where seq = ?", (at, delivery.seq))

    def waiting(self) -> int:
        return int(self._db.execute("select count(*) from delivery").fetchone()[0])

    def oldest(self) -> float | None:
        """When the oldest undelivered start or stop was put in."""
        found = self._db.execute("select min(created) from delivery").fetchone()[0]
        return float(found) if found is not None else None

    def close(self) -> None:
        """Leaves one complete file."""
        self._db.execute("pragma wal_checkpoint(truncate)")
        self._db.close()


def _changed(before: Mapping, after: Mapping) -> dict:  # type: ignore[type-arg]  # same keys and values as given
    return {k: v for k, v in after.items() if before.get(k) is not v}
