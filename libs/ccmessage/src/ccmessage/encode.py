"""Messages → line protocol: one encoder for all sinks, tags and fields sorted, every line ended by LF.

    <measurement>[,<tag>=<value>…] <field>=<value>[,…] <timestamp>\\n

What a head gives (measurement and tags, escaped) is made once per head and kept in its `notes`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from .message import FieldValue, Head, Message, Reason, refusal


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
        # All encoders with plain keys share a head's prefix.
        self._form: object = Encoder if keys is None else keys
        self._parts: list[str] = []
        self._first_ns = 0
        self._last_ns, self._last_text = 0, " 0\n"

    @property
    def lines(self) -> int:
        return len(self._parts)

    def add(self, m: Message) -> None:
        """Append a line, or count the reason why there is none in `refused`."""
        head, fields, time_ns = m
        prefix = head.notes.get(self._form)
        if prefix is None:
            prefix = head.notes[self._form] = self._prefix(head)
        value = fields.get("value")
        if value.__class__ is float and len(fields) == 1 and value - value == 0.0 and self._keys is None:
            text = f"value={value!r}"
        else:
            reason = refusal(m)
            text = self._fields(fields) if reason is None else ""
            if not text:
                self.refused[reason or Reason.EMPTY_KEY] += 1
                return
        if not prefix:
            self.refused[Reason.EMPTY_KEY] += 1
            return
        if time_ns != self._last_ns:
            self._last_ns, self._last_text = time_ns, f" {time_ns // self._divisor}\n"
        line = f"{prefix}{text}{self._last_text}"
        if not self._parts:
            self._first_ns = time_ns
        self._parts.append(line)
        self.size += len(line) if line.isascii() else len(line.encode())

    def take(self) -> Batch:
        """All lines since the last take."""
        batch = Batch("".join(self._parts).encode(), self.lines, self._first_ns, self.precision)
        self._parts, self.size, self._first_ns = [], 0, 0
        return batch

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
        return float.__repr__(value)
    return f"{int(value)}{'u' if value.__class__.__name__ == 'U64' else 'i'}"


def encode(m: Message, precision: str = "ns") -> bytes:
    """One message as one line; empty when it cannot be one."""
    encoder = Encoder(precision)
    encoder.add(m)
    return encoder.take().body
