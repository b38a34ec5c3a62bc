"""Messages → line protocol: one encoder for all sinks, tags and fields sorted, every line ended by LF.

    <measurement>[,<tag>=<value>…] <field>=<value>[,…] <timestamp>\\n

What a head gives (measurement and tags, escaped) is made once per head and kept in its `notes`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from .message import U64, FieldValue, Head, Message, Reason, refusal


class Precision(StrEnum):
    """Unit of timestamps on the wire. AUTO is for decoding only: by magnitude (metric-store 2.4)."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    AUTO = "auto"

    @property
    def ns(self) -> int:
        """Nanoseconds of one unit (AUTO: 1)."""
        return _NANOSECONDS[self]


_NANOSECONDS = {Precision.S: 10**9, Precision.MS: 10**6, Precision.US: 10**3, Precision.NS: 1, Precision.AUTO: 1}


class Batch(NamedTuple):
    """Encoded lines. first_ns: time of the first line; 0 in an empty batch."""

    body: bytes
    lines: int
    first_ns: int
    precision: Precision

    def split(self, max_bytes: int) -> Iterator[Batch]:
        """Parts of at most `max_bytes`, cut at line ends (a longer line is a part of its own). All parts have this batch's first_ns."""
        if len(self.body) <= max_bytes:
            yield self
            return
        start = 0
        while start < len(self.body):
            end = self.body.rfind(b"\n", start, start + max_bytes) + 1 or self.body.find(b"\n", start) + 1 or len(self.body)
            part = self.body[start:end]
            yield Batch(part, part.count(b"\n"), self.first_ns, self.precision)
            start = end


_START = object()  # the line up to the number of a field `value`, noted at heads
# Shortest decimals that round-trip, eight times as fast as `repr`. Every decoder of the suite takes its `1e16`.
_number = msgspec.json.Encoder().encode
# No text that the encoder writes holds a raw LF inside a line: in strings it is written as \n, elsewhere it becomes a blank.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IN_NAME = re.compile(r"([, ])")
_IN_KEY = re.compile(r"([,= ])")
_IN_STRING = re.compile(r'[\\"\n\r\t]')
_STRING = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Encoder:
    """One per sink. `keys` changes the keys of tags and fields (QuestDB). A message that cannot be a line is counted and left out."""

    def __init__(self, precision: str, *, keys: Callable[[str], str] | None = None) -> None:
        """ValueError: no precision of s, ms, us, ns."""
        self.precision = Precision(precision)
        if self.precision is Precision.AUTO:
            raise ValueError("an encoder needs one of the precisions s, ms, us, ns")
        self.refused: Counter[Reason] = Counter()
        self.size = 0
        self._divisor = self.precision.ns
        self._keys = keys
        # Keys of what encoders note at a head; those with plain keys share it.
        self._form: object = Encoder if keys is None else keys
        self._start = _START if keys is None else None
        self._parts: list[bytes] = []
        self._first_ns = 0
        self._last_ns: int | None = None
        self._last_text = b""

    @property
    def lines(self) -> int:
        return len(self._parts)

    def add(self, m: Message) -> None:
        """Append a line, or count the reason why there is none in `refused`."""
        # The usual message, one number `value`, is the head's start of the line, the number, the time.
        fields = m.fields
        value: Any = fields.get("value")
        start = m.head.notes.get(self._start)
        if start is not None and value.__class__ is float and value - value == 0.0 and len(fields) == 1:
            text = start + _number(value)
        elif not (text := self._text(m)):
            return
        time_ns = m.time_ns
        if time_ns != self._last_ns:
            self._stamp(time_ns)
        line = text + self._last_text
        self._parts.append(line)
        self.size += len(line)

    def take(self) -> Batch:
        """All lines since the last take."""
        batch = Batch(b"".join(self._parts), self.lines, self._first_ns, self.precision)
        self._parts, self.size, self._first_ns, self._last_ns = [], 0, 0, None
        return batch

    def _stamp(self, time_ns: int) -> None:
        if not self._parts:
            self._first_ns = time_ns
        self._last_ns, self._last_text = time_ns, b" %d\n" % (time_ns // self._divisor)

    def _text(self, m: Message) -> bytes:
        """The line up to the time; empty, and counted, when there is none."""
        notes = m.head.notes
        prefix = notes.get(self._form)
        if prefix is None:
            prefix = notes[self._form] = self._prefix(m.head).encode()
            if prefix and self._start is not None:
                notes[self._start] = prefix + b"value="
        reason = refusal(m)
        fields = self._fields(m.fields) if reason is None and prefix else ""
        if not fields:
            self.refused[reason or Reason.EMPTY_KEY] += 1
            return b""
        return bytes(prefix + fields.encode())

    def _prefix(self, head: Head) -> str:
        """Measurement and tags with the blank behind them; "" when the name cannot be written."""
        name = _escaped(head.name, _IN_NAME)
        if _blank(name) or name.startswith("#"):  # a line that begins with # is a comment
            return ""
        tags = {key: _escaped(value, _IN_KEY) for name, value in head.tags.items() if (key := self._key(name))}
        return "".join([name, *(f",{key}={value}" for key, value in sorted(tags.items()) if value), " "])

    def _key(self, key: str) -> str:
        text = _escaped(key if self._keys is None else self._keys(key), _IN_KEY)
        return "" if _blank(text) else text

    def _fields(self, fields: Mapping[str, FieldValue]) -> str:
        texts = {key: _value(value) for name, value in fields.items() if (key := self._key(name))}
        return ",".join(f"{key}={value}" for key, value in sorted(texts.items()))


def _blank(escaped: str) -> bool:
    """Names and keys that the decoder takes for empty."""
    return not escaped.replace("\\ ", "").strip()


def _escaped(text: str, special: re.Pattern[str]) -> str:
    """Control bytes become blanks, trailing backslashes go: both would break the line."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    text = _CONTROL.sub(" ", text).rstrip("\\")
    return special.sub(r"\\\1", text)


def _value(value: FieldValue) -> str:
    if isinstance(value, str):
        if not value.isascii():
            value = value.encode("utf-8", "replace").decode()
        return f'"{_IN_STRING.sub(lambda found: _STRING[found.group()], value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(float(value)).decode()
    return f"{int(value)}{'u' if isinstance(value, U64) else 'i'}"


def encode(m: Message, precision: str = "ns") -> bytes:
    """One message as one line; empty when it cannot be one."""
    encoder = Encoder(precision)
    encoder.add(m)
    return encoder.take().body
