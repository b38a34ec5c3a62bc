"""Logs are events with keys: `log.warning("sink.refused", sink="fritzstore", lines=20)`.

One line per event on stderr, with the systemd priority prefix (`<4>` …) as the reference writes it, or with date and
time where asked for. Levels: debug, info, notice, warn, err, crit (spec messages-and-lib 18).
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TextIO

DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL = 7, 6, 5, 4, 3, 2  # systemd priorities
_PREFIX = {
    DEBUG: "<7>[DEBUG]    ",
    INFO: "<6>[INFO]     ",
    NOTICE: "<5>[NOTICE]   ",
    WARNING: "<4>[WARNING]  ",
    ERROR: "<3>[ERROR]    ",
    CRITICAL: "<2>[CRITICAL] ",
}
LEVELS = {"debug": DEBUG, "info": INFO, "notice": NOTICE, "warn": WARNING, "err": ERROR, "fatal": ERROR, "crit": CRITICAL}

# Control characters, line separators and lone surrogates: a host name from the network must not forge a line or clear a terminal.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BARE = re.compile(r"[^\s\"=]+")


class _Output:
    """Where the lines of one daemon go, its level, and what was throttled."""

    def __init__(self, stream: TextIO | None, level: int, dates: bool) -> None:
        self.stream = stream
        self.level = level
        self.dates = dates
        self.throttles: dict[str, tuple[float, int]] = {}

    def write(self, level: int, text: str) -> None:
        stamp = time.strftime("%Y/%m/%d %H:%M:%S ") if self.dates else ""
        stream = self.stream or sys.stderr
        try:
            stream.write(f"{_PREFIX[level]}{stamp}{_escape(text)}\n")
            stream.flush()
        except (OSError, ValueError):  # a log that cannot be written must not end what it reports on
            pass


class Log:
    """A named source of events; `bind` adds keys to every event. Never raises, never blocks on more than one write."""

    def __init__(self, output: _Output, component: str = "", keys: Mapping[str, object] | None = None) -> None:
        self._output = output
        self._component = component
        self._keys = dict(keys or {})

    def bind(self, **keys: object) -> Log:
        """A log that adds `keys` to every event; `component="X"` writes `[X] ` before the event instead."""
        component = str(keys.pop("component", self._component))
        return Log(self._output, component, self._keys | keys)

    def shows(self, level: int) -> bool:
        """Whether events of this level are written (to spare the work of making their keys)."""
        return level <= self._output.level

    def debug(self, event: str, /, **keys: object) -> None:
        self._event(DEBUG, event, keys)

    def info(self, event: str, /, **keys: object) -> None:
        self._event(INFO, event, keys)

    def notice(self, event: str, /, **keys: object) -> None:
        self._event(NOTICE, event, keys)

    def warning(self, event: str, /, **keys: object) -> None:
        self._event(WARNING, event, keys)

    def error(self, event: str, /, **keys: object) -> None:
        self._event(ERROR, event, keys)

    def critical(self, event: str, /, **keys: object) -> None:
        self._event(CRITICAL, event, keys)

    def bug(self, event: str, error: BaseException, /, **keys: object) -> None:
        """An exception nobody expected: one critical event, then its traceback, a line each."""
        self._event(CRITICAL, event, {"error": f"{type(error).__name__}: {error}", **keys})
        for block in traceback.format_exception(error):
            for line in block.rstrip().splitlines():
                self._output.write(CRITICAL, f"  {line}")

    def throttled(self, every: float, event: str, /, **keys: object) -> None:
        """A warning at most once in `every` seconds per event; the next one says how many were left out."""
        now = time.monotonic()
        name = f"{self._component} {event}"
        last, left_out = self._output.throttles.get(name, (-1e18, 0))
        if now - last < every:
            self._output.throttles[name] = (last, left_out + 1)
            return
        self._output.throttles[name] = (now, 0)
        self._event(WARNING, event, {**keys, "left_out": left_out} if left_out else keys)

    def _event(self, level: int, event: str, keys: Mapping[str, object]) -> None:
        if level > self._output.level:
            return
        component = f"[{self._component}] " if self._component else ""
        pairs = "".join(f" {key}={_show(value)}" for key, value in (self._keys | dict(keys)).items())
        self._output.write(level, f"{component}{event}{pairs}")


def _show(value: object) -> str:
    try:
        text = str(value)
    except Exception as error:
        text = f"<{type(error).__name__}>"
    if isinstance(value, float | int) or _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(text: str) -> str:
    return _UNSAFE.sub(lambda found: {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0], f"\\u{ord(found[0]):04x}"), text)


class _Bridge(logging.Handler):
    """What our dependencies log by the standard library, as events of ours."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1]:
                text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        except Exception:
            text = str(record.msg)
        level = CRITICAL if record.levelno >= 50 else ERROR if record.levelno >= 40 else WARNING if record.levelno >= 30 else DEBUG
        self.log.bind(component=record.name)._event(level, text, {})


def make_log(name: str, *, level: str = "warn", dates: bool = False, stream: TextIO | None = None) -> Log:
    """The root log of a daemon; also routes the standard library's logging of our dependencies into it.

    `name` is the daemon's; it is not written (systemd does), only libraries' messages carry theirs. `stream` None: standard error.
    """
    if level not in LEVELS:
        shown = _escape(str(level))
        (stream or sys.stderr).write(f"<3>[ERROR] {name}: Invalid loglevel \"{shown}\", using 'debug' (all levels enabled)\n")
    output = _Output(stream, LEVELS.get(level, DEBUG), dates)
    log = Log(output)
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(log))
    root.setLevel(logging.DEBUG if output.level >= DEBUG else logging.WARNING)
    return log
