"""The kernel against the slow path, which is `ccmessage.decode`: same answer, same records, same bits in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ccstore import ingest, kernels
from ccstore.engine import Engine
from ccstore.ingest import Ingested
from ccstore.metrics import MetricSpec, MetricTable
from hypothesis import given, settings
from hypothesis import strategies as st

TABLE = MetricTable({"load": MetricSpec(60), "fast": MetricSpec(10, "sum"), "x": MetricSpec(1, "sum")})
NOW = 1_700_000_000


def state(engine: Engine) -> object:
    """Everything that memory holds, as bytes."""
    out = []
    for host in engine.hosts():
        with engine.view(host) as view:
            out += [
                (host, g.frequency, list(g.keys), g.first.tolist(), g.last.tolist(), [(n, _held(t)) for n, t in g.tiles])
                for g in view.groups
            ]
    return out


def _held(tile: np.ndarray) -> bytes:
    """Rows without a value at the end do not count: a tile may be longer."""
    rows = np.flatnonzero(~np.isnan(tile).all(axis=1))
    return tile[: rows[-1] + 1].tobytes() if rows.size else b""


def plain(answer: Ingested) -> object:
    records = [(r.host, r.ids.tolist(), r.times.tolist(), r.values.tobytes()) for r in answer.records]
    return answer.stored, answer.refused, answer.errors, answer.notices, records, answer.closed, answer.rest


def compare(kernel: kernels.Kernel, bodies: list[bytes], *, retention: int = 0) -> None:
    oracle, slow, fast = (Engine(default=TABLE, retention=retention) for _ in range(3))
    fast.use_kernel(kernel)
    for i, body in enumerate(bodies):
        answers = [engine.ingest(body, cluster="c", now=NOW + 10 * i, first_line=5) for engine in (slow, fast)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingest, "plain_line", lambda *_: None)  # every line through ccmessage.decode
            answers.append(oracle.ingest(body, cluster="c", now=NOW + 10 * i, first_line=5))
        assert plain(answers[0]) == plain(answers[2]), body
        assert plain(answers[1]) == plain(answers[2]), body
    assert state(slow) == state(oracle)
    assert state(fast) == state(oracle)


number = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.integers(-(10**20), 10**20).map(lambda i: f"{i}i"),
    st.integers(0, 10**20).map(lambda i: f"{i}u"),
    st.from_regex(r"\A-?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(
        ["nan", "inf", "-", ".", "5.", ".5", "1e5", "1E+2", "0x1p3", "1_000", "+1", "t", '"s"', "1e", "007", "-0", "1ii", "1.0i", "-1u", ""]
    ),
)
stamp = st.one_of(
    st.integers(NOW - 5000, NOW + 3700).map(str),
    st.integers(NOW - 70, NOW + 70).map(str),
    st.sampled_from(
        ["", "x", "-5", f"{NOW}000", f"{NOW}000000", f"{NOW}000000000", "9" * 19, "9" * 20, f"{NOW} ", f"{NOW} x", f"00{NOW}", "1.5"]
    ),
)
key = st.one_of(
    st.builds(
        "{},hostname=h{},type=hwthread,type-id={}".format, st.sampled_from(["load", "fast", "x"]), st.integers(0, 1), st.integers(0, 3)
    ),
    st.builds("{},hostname=h{}".format, st.sampled_from(["load", "nope"]), st.integers(0, 1)),
    st.sampled_from(
        [
            "load",
            "load,hostname=",
            "load,hostname=h,",
            "load,cluster=d,hostname=h",
            r"load,hostname=a\ b",
            "load,hostname=..",
            "# load",
            "",
            " load,hostname=h1",
            "load,hostname=é",
            'load,hostname="h',
        ]
    ),
)
line = st.one_of(
    st.builds("{} value={} {}".format, key, number, stamp),
    st.builds("{} value={}".format, key, number),
    st.builds("{} value={} {}\r".format, key, number, stamp),
    st.builds("{}  value={}  {}".format, key, number, stamp),
    st.builds("{} value={},value=2 {}".format, key, number, stamp),
    st.sampled_from(
        [
            "",
            "\r",
            "load",
            "load,hostname=h1 event=1",
            'log m="a',
            'b" 5',
            "load,hostname=h1 value",
            "load,hostname=h1 value=1 5 6",
            "\x00",
            "load,hostname=h1\tvalue=1",
        ]
    ),
)
body = st.lists(line, max_size=12).map(lambda lines: "\n".join(lines).encode())


@settings(max_examples=80, deadline=None)
@given(st.lists(body, min_size=1, max_size=5), st.sampled_from([0, 3600]))
def test_plain_kernel_agrees(bodies: list[bytes], retention: int) -> None:
    compare(kernels.scatter, [*bodies, bodies[0]], retention=retention)


@settings(max_examples=150, deadline=None)
@given(st.lists(body, min_size=1, max_size=5), st.sampled_from([0, 3600]))
def test_compiled_kernel_agrees(compiled: kernels.Kernel, bodies: list[bytes], retention: int) -> None:
    compare(compiled, [*bodies, *bodies], retention=retention)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=4))
def test_any_bytes_raise_nothing(compiled: kernels.Kernel, bodies: list[bytes]) -> None:
    compare(compiled, [b"load,hostname=h1 value=1 1700000000\n" + body for body in bodies])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_damaged_batches_agree(compiled: kernels.Kernel, data: st.DataObject) -> None:
    """A usual batch in which a few bytes are replaced, after the keys were seen."""
    usual = b"".join(b"fast,hostname=h%d,type=hwthread,type-id=%d value=%d.%d %d\n" % (i % 2, i, i, i, NOW) for i in range(40))
    damaged = bytearray(usual)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(usual) - 1))] = data.draw(st.integers(0, 255))
    compare(compiled, [usual, usual, bytes(damaged), usual])


def test_floats_are_bit_equal_in_bulk(compiled: kernels.Kernel) -> None:
    """Random doubles and floats in several spellings, 20,000 at a time through the compiled kernel."""
    rng = np.random.default_rng(7)
    doubles = np.abs(rng.integers(0, 2**63, 10000).view(np.float64))
    doubles = doubles[(doubles < 1e38) & (doubles > 1e-40)]
    singles = rng.integers(0, 2**31 - 2**24, 5000, dtype=np.int64).astype(np.uint32).view(np.float32)
    halves = rng.integers(2**24, 2**53, 5000)
    texts = [repr(v) for v in doubles.tolist()]
    texts += [f"{v:.15g}" for v in rng.normal(0, 1e3, 5000).tolist()] + [f"{v:.17f}" for v in rng.random(5000).tolist()]
    texts += [repr(float(v)) for v in singles.tolist() if np.isfinite(v)] + [str(v) for v in halves.tolist()]
    texts += [f"{m}e{e}" for m, e in zip(rng.integers(1, 10**17, 3000).tolist(), rng.integers(-44, 22, 3000).tolist(), strict=True)]
    engine = Engine(default=TABLE)
    engine.use_kernel(compiled)
    for _ in range(3):
        engine.ingest(f"x,hostname=h value=1 {NOW}\n".encode(), cluster="c", now=NOW)
    lines = "".join(f"x,hostname=h value={text} {NOW}\n" for text in texts)
    got = np.concatenate([r.values for r in engine.ingest(lines.encode(), cluster="c", now=NOW).records])
    with np.errstate(over="ignore"):
        expected = np.array([float(text) for text in texts]).astype(np.float32)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


def test_the_usual_goes_through_the_kernel(compiled: kernels.Kernel) -> None:
    """After the first two batches no line of a usual one is left to the slow path, also in another order and over a tile border."""
    calls: list[int] = []

    def counted(*arguments: object) -> int:
        calls.append(0)
        return compiled(*arguments)

    engine = Engine(default=TABLE)
    engine.use_kernel(counted)
    keys = [b"fast,hostname=n,type=hwthread,type-id=%d" % i for i in range(100)]
    for i in range(20):
        calls.clear()
        order = keys if i < 10 else keys[::-1]
        lines = b"".join(b"%s value=%r %d\n" % (k, 0.1 * i, NOW + 10 * i) for k in order)
        assert engine.ingest(lines, cluster="c", now=NOW + 10 * i).stored == 100
        assert i < 2 or len(calls) <= 2


def test_load_says_so_where_numba_cannot_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    def refuse(*_: object, **__: object) -> Callable[..., object]:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(numba, "njit", refuse)
    loaded = kernels.load()
    assert loaded.kernel is None
    assert "no locator available" in loaded.note
    assert "slower path" in loaded.note


def _run(code: list[str], **environment: str) -> str:
    done = subprocess.run([sys.executable, *code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_warmed_cache_serves_the_daemon(tmp_path: Path) -> None:
    """`python -m ccstore.kernels` leaves in NUMBA_CACHE_DIR what `load` takes from there."""
    cache = str(tmp_path / "cache")
    assert "ready" in _run(["-m", "ccstore.kernels"], NUMBA_CACHE_DIR=cache)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb*")}
    assert files
    assert "ready" in _run(["-c", "from ccstore import kernels; print(kernels.load().note)"], NUMBA_CACHE_DIR=cache)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb*")} == files, "nothing was compiled again"


@pytest.mark.slow
def test_without_jit() -> None:
    code = """
from ccstore import kernels
from ccstore.engine import Engine
from ccstore.metrics import MetricSpec, MetricTable
loaded = kernels.load()
engine = Engine(default=MetricTable({"m": MetricSpec(10)}))
engine.use_kernel(loaded.kernel)
print([engine.ingest(b"m,hostname=h value=%d.5 %d\\n" % (t, t), cluster="c", now=2000).records[0].values.tolist() for t in (1000, 1010, 1020)])
print(loaded.note)
"""
    out = _run(["-W", "error", "-c", code], NUMBA_DISABLE_JIT="1")
    assert out.splitlines() == ["[[1000.5], [1010.5], [1020.5]]", "the ingest kernel is not compiled (NUMBA_DISABLE_JIT)"]


def test_changing_tags_do_not_fill_memory(compiled: kernels.Kernel) -> None:
    engine = Engine(default=TABLE)
    engine.use_kernel(compiled)
    for i in range(6000):
        engine.ingest(b"fast,hostname=n,run=%d value=1 %d\n" % (i, NOW), cluster="c", now=NOW)
    assert engine._intake.keys.count <= 1000
    assert engine.usage().series == 1
