"""The kernel against the slow path, which is `ccmessage.decode`: same answer, same records, same bits in memory."""

from __future__ import annotations

import os
import random
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

pytestmark = pytest.mark.slow  # as a whole: many small servers or subprocesses

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


def compare(kernel: kernels.Kernel, bodies: list[bytes], *, retention: int = 0, clusters: str = "c") -> None:
    oracle, slow, fast = (Engine(default=TABLE, retention=retention) for _ in range(3))
    fast.use_kernel(kernel)
    for i, body in enumerate(bodies):
        cluster = clusters[i % len(clusters)]
        answers = [engine.ingest(body, cluster=cluster, now=NOW + 10 * i, first_line=5) for engine in (slow, fast)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingest, "plain_line", lambda *_: None)  # every line through ccmessage.decode
            answers.append(oracle.ingest(body, cluster=cluster, now=NOW + 10 * i, first_line=5))
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


KNOWN = [f"{metric},type=hwthread,type-id={i},hostname=h{i % 2}" for metric in ("load", "fast", "x") for i in range(2)]
PRELUDE = "\n".join(f"{k} value={i} {NOW - 3595 + i}" for i in range(5) for k in KNOWN).encode()
edge = st.builds(int.__add__, st.sampled_from([-3600, 3600, -700, 0, 600]), st.integers(-41, 61)).map(lambda t: str(NOW + t))
ended = st.sampled_from(["", "", "", "", "\r", " ", "x", " 1"])
usual = st.builds("{} value={} {}{}".format, st.sampled_from(KNOWN), number, edge | stamp, ended)
unusual = st.builds(
    "{}{} value={} {}".format,
    st.sampled_from(KNOWN),
    st.sampled_from(["\\ ", "\\", "é", ",", ",a", ",a=b", "0", "\x7f", '"']),
    number,
    edge,
)


def _run(key: str, start: int, step: int, count: int) -> str:
    """One series for a while: over bins, gaps, tile borders, or always late in its bin."""
    return "\n".join(f"{key} value={i} {NOW + start + i * step}" for i in range(count))


run = st.builds(
    _run, st.sampled_from(KNOWN), st.integers(-700, 700), st.sampled_from([1, 5, 9, 10, 11, 20, 23, 60, 640]), st.integers(1, 80)
)
known_body = st.lists(st.one_of(usual, usual, run, unusual), min_size=1, max_size=8).map(lambda lines: "\n".join(lines).encode())


@settings(max_examples=60, deadline=None)
@given(st.lists(known_body, min_size=1, max_size=4), st.sampled_from([0, 3600]))
def test_compiled_kernel_agrees_on_keys_it_knows(compiled: kernels.Kernel, bodies: list[bytes], retention: int) -> None:
    compare(compiled, [PRELUDE, PRELUDE, *bodies], retention=retention)


@settings(max_examples=40, deadline=None)
@given(st.lists(body, min_size=1, max_size=5), st.sampled_from([0, 3600]))
def test_plain_kernel_agrees(bodies: list[bytes], retention: int) -> None:
    compare(kernels.scatter, [*bodies, bodies[0]], retention=retention)


@settings(max_examples=80, deadline=None)
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


ODD = [
    "1e",
    "1e+",
    "5.",
    ".5",
    ".",
    "-",
    "-.5",
    "-1u",
    "5u",
    "-5i",
    "1.0i",
    "1e5",
    "1E-3",
    "1e1000",
    "1e0005",
    "007.5",
    "0x1p3",
    "1_0",
    "+1",
    "t",
    "",
    "9" * 18,
    "9" * 19,
]
ODD += [
    "16777217",
    "16777217.00000001",
    "0.1" + "0" * 30,
    "1e39",
    "1e-46",
    "3.4e38",
    "1e-45",
    "33554433e3",
    "33554435e-2",
    "12345678901234567e-30",
]


def _random_line(r: random.Random, now: int) -> str:
    """Mostly of the usual form with a known key; everything else a little off it."""
    key = r.choice(KNOWN) + r.choice([""] * 20 + ["0", ",", ",a=b", "\\ ", ",u=b\\", "\x7f", "é"])
    kind = r.random()
    if kind < 0.3:
        value = repr(r.choice([r.random(), r.gauss(0, 1e9), r.random() * 10 ** r.randint(-44, 37)]))
    elif kind < 0.5:
        value = str(r.randint(-(10 ** r.randint(1, 20)), 10 ** r.randint(1, 20))) + r.choice(["", "", "i", "u"])
    elif kind < 0.75:
        value = r.choice(ODD)
    else:
        value = f"{r.randint(0, 99)}.{r.randint(0, 9)}"
    base = r.choice([now, now, now - 3600, now + 3600, now - 700, now + 600, now + 640 * r.randint(-3, 3)])
    time = str(base + r.choice([-1, 0, 1, r.randint(-70, 70)])) + r.choice(
        [""] * 20 + ["000", "000000", "000000000", "123456", "5", " ", "x", "\r"]
    )
    return f"{key}{r.choice([' '] * 30 + ['  '])}value={value}{r.choice([' ' + time] * 20 + ['', '  ' + time, ' -1', ',value=1 ' + time])}"


def bulk(kernel: kernels.Kernel, seed: int) -> None:
    r = random.Random(seed)
    bodies = [PRELUDE] * 4
    for i in range(4, 16):
        now = NOW + 10 * i
        lines = [_random_line(r, now) for _ in range(60)]
        late, step, off = r.choice(KNOWN), r.choice([10, 60]), r.choice([9, 4, -4, 20, -20])
        lines += [f"{late} value={k} {now + 600 + k * step + off}" for k in range(r.choice([0, 9, 70]))]
        bodies.append("\n".join(lines).encode())
    compare(kernel, bodies, retention=r.choice([0, 3600]), clusters="cd")


@pytest.mark.parametrize("seed", range(12))
def test_compiled_kernel_agrees_in_bulk(compiled: kernels.Kernel, seed: int) -> None:
    bulk(compiled, seed)


@pytest.mark.parametrize("seed", range(3))
def test_plain_kernel_agrees_in_bulk(seed: int) -> None:
    bulk(kernels.scatter, seed)


def test_equal_bodies_under_two_default_clusters_agree(compiled: kernels.Kernel) -> None:
    """Equal texts in equal order, so that each key has a follower, in turns: no sample goes to the other cluster."""
    body = "\n".join(f"{k} value={i} {NOW}" for i, k in enumerate(KNOWN)).encode()
    for kernel in (kernels.scatter, compiled):
        for clusters in ("cd", "ccdd", "cdd"):
            compare(kernel, [body] * 12, clusters=clusters)


@pytest.mark.parametrize("end", ["\r", "\r\r", "\r\n", "\n\r", "\r\n\r", "\r\r\n", " \r", "\rx"])
@pytest.mark.parametrize("time", [f" {NOW}", ""])
@pytest.mark.parametrize("before", ["", f"{KNOWN[1]} value=2 {NOW}\n"])
def test_carriage_returns_at_the_end_of_a_body_agree(compiled: kernels.Kernel, before: str, time: str, end: str) -> None:
    for kernel in (kernels.scatter, compiled):
        compare(kernel, [PRELUDE, PRELUDE, f"{before}{KNOWN[0]} value=1{time}{end}".encode(), PRELUDE])


@pytest.mark.parametrize("aside", [3, -3, 2])
@pytest.mark.parametrize("run", [7, 8, 300])
@pytest.mark.parametrize("lead", range(0, 64, 9))
def test_drift_agrees(compiled: kernels.Kernel, aside: int, run: int, lead: int) -> None:
    """S1: as many samples in a row off the middle of their bins, then tile borders at all distances."""
    for kernel in (kernels.scatter, compiled):
        compare(kernel, _drifting(aside, run, lead))


def _drifting(aside: int, run: int, lead: int) -> list[bytes]:
    times = [NOW + 10 * k for k in range(lead)]
    times += [NOW + 10 * (lead + k) + aside for k in range(run)]
    times += [NOW + 10 * (lead + run + k) for k in range(70)]
    lines = [f"fast,hostname=h,type=core,type-id={j} value={k} {t}" for k, t in enumerate(times) for j in range(2)]
    return ["\n".join(lines[i : i + 30]).encode() for i in range(0, len(lines), 30)]


def test_floats_are_bit_equal_in_bulk(compiled: kernels.Kernel) -> None:
    """Random doubles and floats in several spellings, 20,000 at a time through the compiled kernel."""
    rng = np.random.default_rng(7)
    doubles = np.abs(rng.integers(0, 2**63, 10000).view(np.float64))
    doubles = doubles[(doubles < 1e38) & (doubles > 1e-40)]
    singles = rng.integers(0, 2**31 - 2**24, 5000, dtype=np.int64).astype(np.uint32).view(np.float32)
    halves = rng.integers(2**24, 2**53, 5000)
    between = rng.integers(2**24, 2**30, 20000).astype(np.uint32)
    middles = (between.view(np.float32).astype(np.float64) + (between + 1).view(np.float32).astype(np.float64)) / 2
    texts = [repr(v) for v in doubles.tolist()]
    texts += [f"{v:.15g}" for v in rng.normal(0, 1e3, 5000).tolist()] + [f"{v:.17f}" for v in rng.random(5000).tolist()]
    texts += [repr(float(v)) for v in singles.tolist() if np.isfinite(v)] + [str(v) for v in halves.tolist()]
    texts += [f"{m}e{e}" for m, e in zip(rng.integers(1, 10**17, 3000).tolist(), rng.integers(-44, 22, 3000).tolist(), strict=True)]
    for toward in (0.0, 1.0):
        texts += [repr(v) for v in np.nextafter(middles, toward).tolist()]
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


def _python(code: list[str], **environment: str) -> str:
    done = subprocess.run([sys.executable, *code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_warmed_cache_serves_the_daemon(tmp_path: Path) -> None:
    """`python -m ccstore.kernels` leaves in NUMBA_CACHE_DIR what `load` takes from there."""
    cache = str(tmp_path / "cache")
    assert "ready" in _python(["-m", "ccstore.kernels"], NUMBA_CACHE_DIR=cache)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb*")}
    assert files
    assert "ready" in _python(["-c", "from ccstore import kernels; print(kernels.load().note)"], NUMBA_CACHE_DIR=cache)
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
    out = _python(["-W", "error", "-c", code], NUMBA_DISABLE_JIT="1")
    assert out.splitlines() == ["[[1000.5], [1010.5], [1020.5]]", "the ingest kernel is not compiled (NUMBA_DISABLE_JIT)"]


def test_changing_tags_do_not_fill_memory(compiled: kernels.Kernel) -> None:
    engine = Engine(default=TABLE)
    engine.use_kernel(compiled)
    for i in range(6000):
        engine.ingest(b"fast,hostname=n,run=%d value=1 %d\n" % (i, NOW), cluster="c", now=NOW)
    assert engine._intake.keys.count <= 1000
    assert engine.usage().series == 1
