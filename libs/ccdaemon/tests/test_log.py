import io
import logging

import pytest
from ccdaemon.config.types import Secret
from ccdaemon.log import make_log


def lines(level="debug", **options):
    stream = io.StringIO()
    return make_log("cc-x", level=level, stream=stream, **options), stream


@pytest.mark.parametrize(
    ("method", "prefix"),
    [
        ("debug", "<7>[DEBUG]    "),
        ("info", "<6>[INFO]     "),
        ("notice", "<5>[NOTICE]   "),
        ("warning", "<4>[WARNING]  "),
        ("error", "<3>[ERROR]    "),
        ("critical", "<2>[CRITICAL] "),
    ],
)
def test_prefix_of_each_level(method, prefix):
    log, stream = lines()
    getattr(log, method)("event", n=1)
    assert stream.getvalue() == f"{prefix}event n=1\n"


@pytest.mark.parametrize(("level", "shown"), [("debug", 5), ("info", 4), ("warn", 3), ("err", 2), ("fatal", 2), ("crit", 1)])
def test_levels(level, shown):
    log, stream = lines(level)
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("e")
    assert len(stream.getvalue().splitlines()) == shown


def test_unknown_level_is_said_and_shows_everything():
    log, stream = lines("loud")
    log.debug("e")
    first, second = stream.getvalue().splitlines()
    assert "Invalid loglevel \"loud\", using 'debug' (all levels enabled)" in first and first.startswith("<3>[ERROR] ")
    assert second == "<7>[DEBUG]    e"


def test_pitfall_text_from_the_network_cannot_forge_lines():
    log, stream = lines()
    log.warning("bad\nhost", host="a\n<2>[CRITICAL] x\x1b[2J", name='say "x"')
    assert stream.getvalue() == '<4>[WARNING]  bad\\nhost host="a\\n<2>[CRITICAL] x\\u001b[2J" name="say \\"x\\""\n'


def test_component_bound_keys_and_secrets():
    log, stream = lines()
    log.bind(component="Nats", server="a b").error("lost", password=Secret("hunter2"))
    assert stream.getvalue() == '<3>[ERROR]    [Nats] lost server="a b" password=***\n'


def test_dates():
    log, stream = lines(dates=True)
    log.info("e")
    assert __import__("re").fullmatch(r"<6>\[INFO\]     \d{4}/\d\d/\d\d \d\d:\d\d:\d\d e\n", stream.getvalue())


def test_throttled_counts_what_it_leaves_out(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log, stream = lines()
    for _ in range(4):
        log.throttled(10, "slow", n=1)
    now[0] += 11
    log.throttled(10, "slow", n=1)
    assert stream.getvalue() == "<4>[WARNING]  slow n=1\n<4>[WARNING]  slow n=1 left_out=3\n"


def test_libraries_log_through_ours():
    _, stream = lines("warn")
    logging.getLogger("aiohttp.server").error("broken %s", "x\n")
    logging.getLogger("aiohttp.server").info("unseen")
    assert stream.getvalue() == "<3>[ERROR]    [aiohttp.server] broken x\\n\n"


def test_never_raises():
    class Bad:
        def __str__(self):
            raise RuntimeError

    log, stream = lines()
    log.info("e", x=Bad())
    stream.close()
    log.info("e")


def test_bug_writes_its_traceback_with_prefix():
    log, stream = lines()
    try:
        raise KeyError("k")
    except KeyError as error:
        log.bug("worker.failed", error)
    assert all(line.startswith("<2>[CRITICAL] ") for line in stream.getvalue().splitlines())
    assert "test_log.py" in stream.getvalue()
