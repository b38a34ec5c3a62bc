"""Section `metric-store` of cc-metric-store and cc-backend (metric-store 6.4; tutorial section 5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from ccdaemon.config.types import Duration
from msgspec import Meta

HALF_A_DAY = 12 * 3600.0


class Checkpoints(msgspec.Struct, rename="kebab", kw_only=True):
    """`checkpoints`: what keeps the data over a restart. A partial object keeps the other defaults."""

    file_format: Annotated[
        Literal["wal", "json"],
        Meta(
            description="Form of the snapshots: `wal` = binary `<timestamp>.bin`, `json` = `<timestamp>.json`. The log is kept with both."
        ),
    ] = "wal"
    directory: Annotated[str, Meta(description="Folder of logs and snapshots, `<cluster>/<host>/` below it.")] = "./var/checkpoints"
    max_wal_size: Annotated[
        int, Meta(ge=0, description="Bytes of one host's log at which it is snapshotted and rotated; 0 = no limit. Never drops a record.")
    ] = 0
    checkpoint_interval: Annotated[Duration | None, Meta(description="Same as `metric-store.checkpoint-interval`; give one of them.")] = (
        None
    )
    sync_interval: Annotated[
        Duration,
        Meta(description="How often the log is synced to disk: what a power cut may cost. 0 = each answer waits for its sync."),
    ] = Duration(1.0)

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.directory:
            yield "directory", "is empty", "name a folder, or leave the key out for ./var/checkpoints"
        if self.sync_interval < 0:
            yield "sync_interval", "must not be negative", 'for example "1s", or "0s" to wait for each sync'
        if self.checkpoint_interval is not None and self.checkpoint_interval <= 0:
            yield "checkpoint_interval", "must be longer than zero", 'for example "12h"'


class Cleanup(msgspec.Struct, rename="kebab", kw_only=True):
    """`cleanup`: what happens to data that leaves the retention window."""

    mode: Annotated[
        Literal["delete", "archive"], Meta(description="`delete` = discard, `archive` = write to Parquet before it is freed.")
    ] = "delete"
    directory: Annotated[str, Meta(description="Folder of the Parquet files `<cluster>/<cutoff>.parquet`; needed by `archive`.")] = ""

    def check(self) -> Iterator[tuple[str, str, str]]:
        if self.mode == "archive" and not self.directory:
            yield "directory", 'is missing though mode is "archive"', "name the folder of the Parquet files"


class Subscription(msgspec.Struct, rename="kebab", kw_only=True):
    """One entry of `nats-subscriptions`."""

    subscribe_to: Annotated[str, Meta(min_length=1, description="NATS subject; wildcards `*` and `>` work.")]
    cluster_tag: Annotated[str, Meta(description="Cluster of lines that carry no cluster tag.")] = ""
    durable: Annotated[
        bool,
        Meta(
            description="JetStream consumer, acknowledged when the data is in the log: nothing published while the store is away is lost."
        ),
    ] = False
    durable_name: Annotated[
        str, Meta(description="Name of that consumer; empty = from host name and port. Two stores with one name would share the messages.")
    ] = ""


class Debug(msgspec.Struct, rename="kebab", kw_only=True):
    """`debug`: accepted, without effect."""

    dump_to_file: Annotated[str, Meta(description="Accepted, without effect.")] = ""
    gops: Annotated[bool, Meta(description="Accepted, without effect.")] = False


class StoreConfig(msgspec.Struct, rename="kebab", kw_only=True):
    """`metric-store`: the same in both deployments."""

    retention_in_memory: Annotated[
        Duration, Meta(description="How far back data is kept in memory; 0 or less = for ever.", extra={"example": '"48h"'})
    ]
    memory_cap: Annotated[
        int, Meta(description="Upper limit of the metric buffers in GB (10^9 bytes); 0 or less = none.", extra={"example": "100"})
    ]
    num_workers: Annotated[int, Meta(description="Threads that read and write checkpoints; 0 = min(CPUs/2+1, 10).")] = 0
    checkpoint_interval: Annotated[
        Duration | None, Meta(description="How often each host is snapshotted; default min(12h, retention-in-memory).")
    ] = None
    max_series: Annotated[int, Meta(ge=0, description="Refuse new series beyond this number; 0 = no limit.")] = 0
    checkpoints: Annotated[Checkpoints, Meta(description="Logs and snapshots, which keep the data over a restart.")] = msgspec.field(
        default_factory=Checkpoints
    )
    cleanup: Annotated[Cleanup, Meta(description="What happens to data older than retention-in-memory.")] = msgspec.field(
        default_factory=Cleanup
    )
    nats_subscriptions: Annotated[
        list[Subscription], Meta(description="NATS subjects whose lines are stored; needs the section nats.")
    ] = []
    debug: Annotated[Debug, Meta(description="Accepted, without effect.")] = msgspec.field(default_factory=Debug)

    @property
    def interval(self) -> float:
        """Seconds between two snapshots of a host: one of the two keys, else min(12 h, retention) (metric-store 4.5)."""
        given = self.checkpoint_interval if self.checkpoint_interval is not None else self.checkpoints.checkpoint_interval
        if given is not None:
            return float(given)
        return min(HALF_A_DAY, self.retention_in_memory) if self.retention_in_memory > 0 else HALF_A_DAY

    @property
    def workers(self) -> int:
        """Number of threads for checkpoint and archive I/O (metric-store 5.3)."""
        return self.num_workers if self.num_workers > 0 else min((os.cpu_count() or 1) // 2 + 1, 10)

    @property
    def directory(self) -> Path:
        return Path(self.checkpoints.directory)

    def check(self) -> Iterator[tuple[str, str, str]]:
        beside, inside = self.checkpoint_interval, self.checkpoints.checkpoint_interval
        if beside is not None and inside is not None and beside != inside:
            yield "checkpoint_interval", "differs from checkpoints.checkpoint-interval", "keep one of the two keys"
        if beside is not None and beside <= 0:
            yield "checkpoint_interval", "must be longer than zero", 'for example "12h"'
