"""The store's engine in this process: ingest by the kernel and by the slow path, and queries."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
from ccschema.api import ApiQuery, QueryRequest
from ccstore import kernels
from ccstore.engine import Engine, HostKey, SeriesKey
from ccstore.metrics import MetricSpec, MetricTable

from tests.bench.lines import LINES, METRICS, STEP, THREADS, Ticks, host_name
from tests.bench.table import Row, alternate, seconds_of

BEGIN = 1_700_000_040 // STEP * STEP
TABLE = MetricTable({name: MetricSpec(STEP, "sum") for name in METRICS})


def rows(quick: bool) -> Iterator[Row]:
    kernel = kernels.load().kernel
    for shuffled in (False, True):
        yield from _ingest(kernel, shuffled, quick)
    yield _new_series(kernel, 4 if quick else 12)
    yield from _queries(8 if quick else 64, 3 if quick else 7)


def _engine(kernel: kernels.Kernel | None) -> Engine:
    engine = Engine(default=TABLE, clock=lambda: BEGIN)
    engine.use_kernel(kernel)
    return engine


def _take(engine: Engine, bodies: list[bytes], now: int) -> None:
    """`now` follows the lines: those of the future would be refused."""
    for body in bodies:
        engine.ingest(body, cluster="fritz", now=now)


def _ingest(kernel: kernels.Kernel | None, shuffled: bool, quick: bool) -> Iterator[Row]:
    """Both engines get the same lines; the slow path one host of the fast one's eight, as it takes that much longer."""
    ticks, few = Ticks(8), Ticks(1)
    if shuffled:
        ticks.shuffle()
        few.shuffle()
    fast, slow = _engine(kernel), _engine(None)
    _take(fast, ticks.bodies(BEGIN), BEGIN)
    _take(slow, few.bodies(BEGIN), BEGIN)
    when = BEGIN
    for lines in (LINES, 20):
        taken: list[tuple[float, float]] = []
        for _ in range(5 if quick else 12):
            spans = range(when + STEP, when + 9 * STEP, STEP)
            when += 8 * STEP
            many = [body for t in spans for body in ticks.bodies(t, lines)]
            one = few.bodies(spans[0], lines)
            taken.append((seconds_of(partial(_take, fast, many, when)) / 64, seconds_of(partial(_take, slow, one, when))))
        a, b = (LINES / statistics.median(side) / 1e6 for side in zip(*taken, strict=True))
        order = "shuffled order" if shuffled else "known order"
        yield Row(f"engine: ingest, {lines:,} lines a batch, {order}", "M lines/s", a, b, "the slow path")


def _new_series(kernel: kernels.Kernel | None, hosts: int) -> Row:
    bodies = Ticks(hosts).bodies(BEGIN)
    engines = iter([_engine(kernel) for _ in range(3)])
    (seconds,) = alternate(lambda: _take(next(engines), bodies, BEGIN), rounds=3)
    return Row("engine: new series", "k series/s", LINES * hosts / seconds / 1e3)


def _queries(hosts: int, rounds: int) -> Iterator[Row]:
    metrics, bins = METRICS[:12], 24 * 3600 // STEP
    engine = _engine(None)
    plain = np.random.default_rng(1).random((hosts, len(metrics), THREADS, bins), np.float32)
    for h in range(hosts):
        keys = [SeriesKey((f"hwthread{t}",), name, STEP, 0) for name in metrics for t in range(THREADS)]
        host = HostKey("fritz", host_name(h))
        engine.restore_block(host, engine.restore_series(host, keys), BEGIN // STEP, plain[h].reshape(-1, bins))
    asked = [ApiQuery(metric=name, host=host_name(h)) for h in range(hosts) for name in metrics]
    job = QueryRequest(cluster="fritz", from_=BEGIN, to=BEGIN + bins * STEP, queries=asked)

    def query(request: QueryRequest) -> int:
        with engine.read() as reader:
            return sum(len(row) for row in reader.query(request))

    def by_numpy() -> None:
        for one in plain:
            for metric in one:
                total = np.nansum(metric, axis=0)
                total.mean(), total.min(), total.max()

    assert query(job) == len(asked)
    ours, other = alternate(partial(query, job), by_numpy, rounds=rounds)
    what = f"engine: job query, {hosts} nodes x 72 threads x 12 metrics x 24 h"
    yield Row(what, "ms", ours * 1e3, other * 1e3, "nansum over a plain array", lower=True)
    yield Row("engine: job query, samples read", "M samples/s", plain.size / ours / 1e6)
    rng = random.Random(3)
    small = [
        QueryRequest(
            cluster="fritz",
            from_=BEGIN + 3600,
            to=BEGIN + 7200,
            queries=[ApiQuery(metric=rng.choice(metrics), host=host_name(rng.randrange(hosts)), type="hwthread", type_ids=["5"])],
        )
        for _ in range(1000)
    ]
    times = sorted(seconds_of(partial(query, one)) for one in small)
    yield Row("engine: small query (one thread, 1 h), p50", "µs", times[500] * 1e6, lower=True)
    yield Row("engine: small query (one thread, 1 h), p99", "µs", times[990] * 1e6, lower=True)
