"""What the store shows of itself on /metrics."""

from __future__ import annotations

from ccdaemon.ledger import Registry

from ..engine import Engine
from ..persist.wal import Wal
from .checkpoints import Checkpointer
from .loading import Loader


def show(registry: Registry, engine: Engine, wal: Wal, checkpoints: Checkpointer, loader: Loader) -> None:
    gauge = registry.gauge
    gauge("store_tile_bytes", "Bytes of unsealed metric buffers.", lambda: engine.usage().tiles)
    gauge("store_limbo_bytes", "Bytes freed that a reader may still look at.", lambda: engine.usage().limbo)
    gauge("store_sealed_bytes", "Bytes of sealed metric buffers.", lambda: engine.usage().sealed)
    gauge("store_series", "Series in memory.", lambda: engine.usage().series)
    gauge("store_hosts", "Hosts in memory.", lambda: engine.usage().hosts)
    gauge("store_epochs_held", "Readers and snapshots that hold an epoch.", lambda: engine.usage().epochs)
    gauge("store_loading", "1 while a start is still reading files.", lambda: 0 if loader.finished.is_set() else 1)
    gauge("store_damaged_files", "Findings in files of this start.", lambda: len(loader.findings))
    gauge("wal_queued_bytes", "Bytes that wait for the log's thread.", lambda: wal.queued_bytes)
    gauge("wal_bytes", "Bytes of all log parts of hosts written since the start.", lambda: sum(wal.sizes().values()))
    gauge("wal_records", "Records written since the start.", lambda: wal.records)
    gauge("wal_failed_records", "Records whose write failed since the start.", lambda: wal.failures)
    gauge("wal_sync_failed", "1 while the last sync failed.", lambda: 1 if wal.sync_failed else 0)
    gauge("store_snapshots", "Snapshots taken since the start.", lambda: checkpoints.taken)
    gauge("store_snapshots_failed", "Snapshots failed since the start.", lambda: checkpoints.failed)
    gauge("store_hosts_unsaved", "Hosts with records that no snapshot contains yet.", lambda: checkpoints.waiting)
