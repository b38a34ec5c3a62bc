"""Line protocol → messages: the general decoder, exact about every byte of the grammar, and the oracle of the store's kernel.

Errors name line and byte column; behind a bad line decoding goes on after its next LF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from .encode import Precision
from .message import I64_MAX, I64_MIN, U64, U64_MAX, FieldValue, Head, Message, MessageError, head

__all__ = ["LineError", "Precision", "decode"]


class LineError(msgspec.Struct, frozen=True):
    """line, column from 1, the column counted in bytes."""

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"at line {self.line}:{self.column}: {self.text}"


class _Bad(Exception):
    def __init__(self, at: int, text: str) -> None:
        self.at, self.text = at, text


# An escape is a backslash before one of the token's own separators; any other backslash is literal.
_MEASUREMENT = re.compile(rb"(?:\\[, ]|[^, \x00-\x1f\x7f])++")
_KEY = re.compile(rb"(?:\\[,= ]|[^,= \x00-\x1f\x7f])++")
_STRING = re.compile(rb'"((?:\\.|[^"\\])*+)"', re.DOTALL)
# The usual line: name and tags in plain ASCII without escapes, then this. All others go through `_message`.
_USUAL_HEAD = re.compile(rb"(?!#)[^\x00-\x20,\\\x7f-\xff]++(?:,[^\x00-\x20,=\\\x7f-\xff]++=[^\x00-\x20,=\\\x7f-\xff]++)*+")
_USUAL_REST = re.compile(rb" value=(-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?) ([0-9]{1,18})\n")
_USUAL_LENGTH, _USUAL_HEADS = 400, 4096  # bytes, and how many are remembered: at most some 8 MB
_TOKEN = re.compile(rb"[^, \r\n]*+")
_TIME = re.compile(rb"(-?[0-9]+) *+(?=\r\n|\n|\r\Z|\Z)")
_LINE_END = re.compile(rb"\r\n|\n|\r\Z|\Z")
_COMMENT = re.compile(rb"#[^\x00-\x1f\x7f]*+")
_INTEGER = re.compile(rb"-?[0-9]+\Z")
_FLOAT = re.compile(rb"-?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?\Z")
_HEX_FLOAT = re.compile(rb"-?0[xX]_?[0-9a-fA-F_]*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+\Z")
_NAME_ESCAPE = re.compile(rb"\\([, ])")
_KEY_ESCAPE = re.compile(rb"\\([,= ])")
_STRING_ESCAPE = re.compile(rb'\\([\\"nrt])')
_UNESCAPED = {b"\\": b"\\", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_BOOLS = {word: word[:1] in b"tT" for word in (b"t", b"T", b"true", b"True", b"TRUE", b"f", b"F", b"false", b"False", b"FALSE")}
# Largest value of each unit that is still read as that unit: what fits 64-bit nanoseconds (metric-store 2.4).
_MAGNITUDES = ((9_223_372_036, 10**9), (9_223_372_036_854, 10**6), (9_223_372_036_854_775, 10**3), (I64_MAX, 1))


def decode(body: bytes, *, precision: Precision | str, default_ns: int | None) -> Iterator[Message | LineError]:
    """Messages and errors in the order of the lines; heads have no meta.

    default_ns: time of lines without one, truncated to the precision; None: such a line is an error.
    """
    return _Decoder(body, Precision(precision), default_ns).lines()


@lru_cache(maxsize=_USUAL_HEADS)
def _usual_head(text: bytes) -> Head | None:
    """The head that a usual line begins with, None for any other text. Senders repeat their heads in every batch."""
    if _USUAL_HEAD.fullmatch(text) is None:
        return None
    name, *pairs = text.decode().split(",")
    return head(name, dict(pair.split("=") for pair in pairs))


class _Decoder:
    def __init__(self, body: bytes, precision: Precision, default_ns: int | None) -> None:
        self.body = body
        self.unit = 0 if precision is Precision.AUTO else precision.ns  # 0: by magnitude
        self.default_ns = default_ns if default_ns is None else default_ns - default_ns % precision.ns
        self.line, self.line_start = 1, 0  # of the last position that was asked for

    def lines(self) -> Iterator[Message | LineError]:
        body, at, size = self.body, 0, len(self.body)
        last_time, time_ns = b"", None
        while at < size:
            byte = body[at]
            if byte == 32 or byte == 10 or (byte == 13 and (at + 1 == size or body[at + 1] == 10)):
                at += 1
                continue
            start = at
            blank = body.find(b" ", at, at + _USUAL_LENGTH)
            rest = _USUAL_REST.match(body, blank) if blank > 0 else None
            if rest is not None and (usual := _usual_head(body[at:blank])) is not None:
                number, time = rest.groups()
                if time != last_time:
                    last_time, time_ns = time, self._scaled(int(time))
                if time_ns is not None:
                    yield Message(usual, {"value": float(number)}, time_ns)
                    at = rest.end()
                    continue
            try:
                if byte == 35:
                    at = self._comment(at)
                    continue
                message, at = self._message(at)
            except _Bad as bad:
                yield self._error(bad)
                at = body.find(b"\n", bad.at) + 1 or size
            except MessageError as e:
                yield self._error(_Bad(start, str(e)))
                at = body.find(b"\n", start) + 1 or size
            else:
                yield message

    def _error(self, bad: _Bad) -> LineError:
        at = min(bad.at, len(self.body))
        passed = self.body.count(b"\n", self.line_start, at)
        if passed:
            self.line += passed
            self.line_start = self.body.rfind(b"\n", 0, at) + 1
        return LineError(self.line, at - self.line_start + 1, bad.text)

    def _comment(self, at: int) -> int:
        found = _COMMENT.match(self.body, at)
        end = found.end() if found else at
        return self._line_end(end, "control byte in a comment")

    def _line_end(self, at: int, text: str) -> int:
        found = _LINE_END.match(self.body, at)
        if found is None:
            raise _Bad(at, text)
        return found.end()

    def _message(self, at: int) -> tuple[Message, int]:
        body = self.body
        found = _MEASUREMENT.match(body, at)
        if found is None:
            raise _Bad(
                at, "expected measurement name" if body[at] == 44 else f"invalid character {_quoted(body[at : at + 1])} before measurement"
            )
        name = self._text(found.group(), at, _NAME_ESCAPE)
        at = found.end()
        tags: dict[str, str] = {}
        while body[at : at + 1] == b",":
            key, at = self._tag_key(at + 1)
            tags[key], at = self._tag_value(at)
        if body[at : at + 1] not in (b" ", b"\n", b"\r", b""):
            raise _Bad(at, f"unexpected character {_quoted(body[at : at + 1])} after measurement or tags")
        at = self._spaces(at)
        fields, at = self._fields(at)
        time_ns, at = self._time(at)
        return Message(head(name, tags), fields, time_ns), at

    def _spaces(self, at: int) -> int:
        body = self.body
        while body[at : at + 1] == b" ":
            at += 1
        return at

    def _text(self, token: bytes, at: int, escape: re.Pattern[bytes]) -> str:
        if b"\\" in token:
            token = escape.sub(rb"\1", token)
        try:
            return token.decode()
        except UnicodeDecodeError:
            raise _Bad(at, f"invalid utf-8 sequence in token {_quoted(token)}") from None

    def _tag_key(self, at: int) -> tuple[str, int]:
        body = self.body
        if body[at : at + 1] in (b" ", b"\r", b"\n", b""):
            raise _Bad(at, "expected tag key after comma; got white space instead")
        found = _KEY.match(body, at)
        if found is None:
            raise _Bad(at, f"expected tag key after comma; got {_quoted(body[at : at + 1])} instead")
        end = found.end()
        if body[end : end + 1] != b"=":
            raise _Bad(end, f"expected '=' after tag key {_quoted(found.group())}")
        return self._text(found.group(), at, _KEY_ESCAPE), end + 1

    def _tag_value(self, at: int) -> tuple[str, int]:
        body = self.body
        found = _KEY.match(body, at)
        if found is None:
            raise _Bad(at, "expected tag value after tag key")
        end = found.end()
        if body[end : end + 1] == b"=":
            raise _Bad(end, "unexpected '=' in a tag value")
        return self._text(found.group(), at, _KEY_ESCAPE), end

    def _fields(self, at: int) -> tuple[dict[str, FieldValue], int]:
        body = self.body
        fields: dict[str, FieldValue] = {}
        while True:
            found = _KEY.match(body, at)
            if found is None:
                raise _Bad(at, "expected field key but none found")
            key = self._text(found.group(), at, _KEY_ESCAPE)
            at = found.end()
            if body[at : at + 1] != b"=":
                raise _Bad(at, f"expected '=' after field key {_quoted(found.group())}")
            if key.isspace():
                raise _Bad(at, "field keys cannot be empty")
            fields[key], at = self._value(key, at + 1)
            after = body[at : at + 1]
            if after == b",":
                at += 1
            elif after in (b" ", b"\n", b"\r", b""):
                return fields, at
            else:
                raise _Bad(at, f"unexpected character {_quoted(after)} after the value of field {key!r}")

    def _value(self, key: str, at: int) -> tuple[FieldValue, int]:
        body = self.body
        first = body[at : at + 1]
        if first == b'"':
            found = _STRING.match(body, at)
            if found is None:
                raise _Bad(at, f"expected a closing quote of field {key!r}, found the end of the input")
            return self._string(found.group(1), at), found.end()
        token = _TOKEN.match(body, at).group()  # type: ignore[union-attr]  # the pattern matches the empty string
        if not token:
            raise _Bad(at, f"missing value for field {key!r}")
        if first in b"tTfF":
            if token not in _BOOLS:
                raise _Bad(at, f"invalid truth value for field {key!r}: {_quoted(token)}")
            return _BOOLS[token], at + len(token)
        if first in b"-.0123456789":
            return _number(token, key, at), at + len(token)
        raise _Bad(at, f"value for field {key!r} has unrecognized type: {_quoted(token)}")

    def _string(self, raw: bytes, at: int) -> str:
        if b"\\" in raw:
            raw = _STRING_ESCAPE.sub(lambda found: _UNESCAPED[found.group(1)], raw)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise _Bad(at, "invalid utf-8 sequence in a string value") from None

    def _time(self, at: int) -> tuple[int, int]:
        body, start = self.body, at
        at = self._spaces(at)
        found = _TIME.match(body, at) if at > start else None
        if found is None:
            return self._no_time(at, start)
        at_end = self._line_end(found.end(), "")
        digits = found.group(1)
        value = int(digits) if len(digits) <= 20 else U64_MAX
        time_ns = self._scaled(value)
        if time_ns is None:
            raise _Bad(at, "line-protocol timestamp value out of range")
        return time_ns, at_end

    def _scaled(self, value: int) -> int | None:
        """Nanoseconds; None: beyond 64 bits."""
        unit = self.unit or next((unit for limit, unit in _MAGNITUDES if abs(value) <= limit), I64_MAX)
        time_ns = value * unit
        return time_ns if I64_MIN <= time_ns <= I64_MAX else None

    def _no_time(self, at: int, start: int) -> tuple[int, int]:
        """The line ends here, or what stands here is no timestamp."""
        end = _LINE_END.match(self.body, at)
        if end is None:
            token = _TOKEN.match(self.body, at).group()  # type: ignore[union-attr]
            if _INTEGER.match(token):
                rest = self.body[at + len(token) :].split(b"\n", 1)[0]
                raise _Bad(at + len(token), f"unexpected text after timestamp ({_quoted(rest.strip())})")
            raise _Bad(at, f"invalid timestamp ({_quoted(token)})")
        if self.default_ns is None:
            raise _Bad(at, "the line has no timestamp")
        return self.default_ns, end.end()


def _number(token: bytes, key: str, at: int) -> FieldValue:
    last = token[-1:]
    if last == b"i" or last == b"u":
        if not _INTEGER.match(token[:-1]) or (last == b"u" and token[:1] == b"-"):
            raise _Bad(at, f"invalid integer for field {key!r}: {_quoted(token)}")
        digits = token[:-1].lstrip(b"-").lstrip(b"0")
        value = int(token[:-1]) if len(digits) <= 20 else U64_MAX + 1
        if last == b"u":
            if value > U64_MAX:
                raise _Bad(at, f"line-protocol value out of range for field {key!r}: {_quoted(token)}")
            return U64(value)
        if not I64_MIN <= value <= I64_MAX:
            raise _Bad(at, f"line-protocol value out of range for field {key!r}: {_quoted(token)}")
        return value
    try:
        number = _float(token)
    except ValueError:
        raise _Bad(at, f"invalid number for field {key!r}: {_quoted(token)}") from None
    if number - number != 0.0:
        raise _Bad(at, f"line-protocol value out of range for field {key!r}: {_quoted(token)}")
    return number


def _float(token: bytes) -> float:
    """ValueError: no number. What is too large gives infinity."""
    if _FLOAT.match(token):
        return float(token)
    if _HEX_FLOAT.match(token):
        digits = token.decode().replace("_", "")
        if "_" in token.decode() and not re.fullmatch(rb"-?0[xX](?:_?[0-9a-fA-F])+(?:\.(?:[0-9a-fA-F]_?)*)?[pP][+-]?[0-9]+", token):
            raise ValueError(token)
        try:
            return float.fromhex(digits)
        except OverflowError:
            return float("inf")
    raise ValueError(token)


def _quoted(token: bytes) -> str:
    """For a message: bounded, printable."""
    text = token[:60].decode("utf-8", "backslashreplace")
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + ('…"' if len(token) > 60 else '"')
