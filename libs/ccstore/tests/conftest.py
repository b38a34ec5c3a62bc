"""Engines for tests: by the slow path, by the kernel as plain Python, by the kernel compiled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ccschema.api import ApiQuery, QueryRequest
from ccstore import kernels
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
from ccstore.query import Row

TABLE = MetricTable(
    {
        "load": MetricSpec(60),
        "power": MetricSpec(60, "sum"),
        "clock": MetricSpec(60, "avg"),
        "fast": MetricSpec(10, "sum"),
        "slowly": MetricSpec(300, "avg"),
        "x": MetricSpec(1, "sum"),
    }
)


@pytest.fixture(scope="session")
def compiled() -> kernels.Kernel:
    loaded = kernels.load()
    assert loaded.kernel is not None, loaded.note
    return loaded.kernel


@pytest.fixture
def table() -> MetricTable:
    return TABLE


@pytest.fixture
def make_engine() -> Callable[..., Engine]:
    """An engine with the list above, on the slow path; keywords as `Engine`."""

    def make(**options: object) -> Engine:
        return Engine(**{"default": TABLE, "clock": lambda: 2000.0, **options})  # type: ignore[arg-type]

    return make


@pytest.fixture(params=["slow", "plain", "compiled"])
def path(request: pytest.FixtureRequest) -> kernels.Kernel | None:
    """Each way a line can take."""
    if request.param == "slow":
        return None
    return kernels.scatter if request.param == "plain" else request.getfixturevalue("compiled")


@pytest.fixture
def engine(path: kernels.Kernel | None, make_engine: Callable[..., Engine]) -> Engine:
    made = make_engine()
    made.use_kernel(path)
    return made


@pytest.fixture
def ask() -> Callable[..., list[Row]]:
    """Rows of one query on host h of cluster c, native, without padding unless asked."""

    def rows(engine: Engine, metric: str, from_: int, to: int, **options: object) -> list[Row]:
        whole = {name: options.pop(name) for name in ("with_padding", "with_stats", "with_data") if name in options}
        query = ApiQuery(**{"metric": metric, "host": "h", **options})  # type: ignore[arg-type]
        request = QueryRequest(cluster="c", from_=from_, to=to, queries=[query], **{"with_padding": False, **whole})  # type: ignore[arg-type]
        with engine.read() as reader:
            return reader.query(request)[0]

    return rows


@pytest.fixture
def send() -> Callable[..., object]:
    """Samples (time, value) of one series of host h in cluster c, one batch."""

    def batch(engine: Engine, metric: str, samples: list[tuple[int, float]], *, tags: str = "type=node", now: int = 2000):  # type: ignore[no-untyped-def]
        lines = "".join(f"{metric},cluster=c,hostname=h,{tags} value={value} {time}\n" for time, value in samples)
        return engine.ingest(lines.encode(), cluster="", now=now)

    return batch
