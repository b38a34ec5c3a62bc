"""Messages: an interned head (name, tags, meta) and values. Whoever measures makes its heads once and emits values.

Kinds of a message and the texts of `MessageError` are those of the suite (messages-and-lib 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec

I64_MIN, I64_MAX, U64_MAX = -(2**63), 2**63 - 1, 2**64 - 1
HEADS_INTERNED_AT_MOST = 200_000


class MessageError(ValueError):
    """A message or head cannot be; the text says why."""


class U64(int):
    """An unsigned 64-bit field (`1u` on the wire); a plain int is `1i`. Arithmetic gives int."""


FieldValue = float | int | U64 | str | bool


class Head:
    """Name, tags and meta of messages: immutable, equal by content. Make it with `head()`.

    `notes` is where encoders and processors keep what they derived from this head (line prefix, plan); it lives as long as the head.
    """

    __slots__ = ("__weakref__", "_hash", "meta", "name", "notes", "tags")

    name: str
    tags: Mapping[str, str]
    meta: Mapping[str, str]
    notes: dict[object, Any]

    def __init__(self, name: str, tags: Mapping[str, str], meta: Mapping[str, str], hash_: int) -> None:
        self.name, self.tags, self.meta, self._hash = name, tags, meta, hash_
        self.notes = {}

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Head):
            return NotImplemented
        return self._hash == other._hash and self.name == other.name and self.tags == other.tags and self.meta == other.meta

    def __repr__(self) -> str:
        return f"Head({self.name!r}, {dict(self.tags)!r}, {dict(self.meta)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return head, (self.name, dict(self.tags), dict(self.meta))


class Message(msgspec.Struct, frozen=True, gc=False):
    """time_ns: nanoseconds since the epoch, UTC. The fields are never changed after the message was made.

    gc=False: nothing that a message holds leads back to messages, so counting references is enough.
    """

    head: Head
    fields: Mapping[str, FieldValue]
    time_ns: int


class _Table:
    """Interned heads, weakly held."""

    def __init__(self) -> None:
        self.heads: WeakValueDictionary[object, Head] = WeakValueDictionary()
        self.refused = 0


_TABLE = _Table()


class Interning(NamedTuple):
    """heads in the table; refused = heads made while it was full."""

    heads: int
    refused: int


def interning() -> Interning:
    """For the daemon's self-metrics."""
    return Interning(len(_TABLE.heads), _TABLE.refused)


_NOTHING: Mapping[str, str] = MappingProxyType({})


def head(name: str, tags: Mapping[str, str], meta: Mapping[str, str] = _NOTHING) -> Head:
    """The head of this content, the same object while one is alive. MessageError: empty name, or an empty tag or meta key."""
    key = (name, frozenset(tags.items()), frozenset(meta.items()))
    known = _TABLE.heads.get(key)
    if known is not None:
        return known
    if not name.strip():
        raise MessageError("message name cannot be empty")
    if not all(map(str.strip, tags)):
        raise MessageError("tag keys cannot be empty")
    if not all(map(str.strip, meta)):
        raise MessageError("meta keys cannot be empty")
    made = Head(name, MappingProxyType(dict(tags)), MappingProxyType(dict(meta)), hash(key))
    if len(_TABLE.heads) >= HEADS_INTERNED_AT_MOST:
        _TABLE.refused += 1
        return made
    return _TABLE.heads.setdefault(key, made)


class Reason(StrEnum):
    """Why a message is refused where it enters."""

    NO_FIELD = "no_field"
    EMPTY_KEY = "empty_field_key"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    BAD_TYPE = "bad_type"

    def text(self, key: str = "") -> str:
        """The sentence of the suite for it."""
        return _TEXTS[self].format(key=key)


_TEXTS = {
    Reason.NO_FIELD: "at least one field is required",
    Reason.EMPTY_KEY: "field keys cannot be empty",
    Reason.NOT_FINITE: "field '{key}' has invalid float value (NaN or Inf)",
    Reason.OUT_OF_RANGE: "field '{key}' does not fit 64 bits",
    Reason.BAD_TYPE: "field '{key}' is no number, text or truth value",
}


def refusal(m: Message) -> Reason | None:
    """Why this message may not go on; None: it is fine. Asked once where a message enters."""
    # NaN and ±Inf less themselves are NaN, which is unequal to everything. Nearly all messages have one field, a float `value`.
    fields = m.fields
    value: Any = fields.get("value")
    if value.__class__ is not float or len(fields) != 1 or value - value != 0.0:
        if not fields:
            return Reason.NO_FIELD
        for key, entry in fields.items():
            if (reason := _refused_value(entry)) is not None:
                return reason
            if not key or key.isspace():
                return Reason.EMPTY_KEY
    return Reason.OUT_OF_RANGE if not I64_MIN <= m.time_ns <= I64_MAX else None


def _refused_value(value: object) -> Reason | None:
    if isinstance(value, bool | str):
        return None
    if isinstance(value, U64):
        return None if 0 <= value <= U64_MAX else Reason.OUT_OF_RANGE
    if isinstance(value, int):
        return None if I64_MIN <= value <= I64_MAX else Reason.OUT_OF_RANGE
    if isinstance(value, float):
        return None if value - value == 0.0 else Reason.NOT_FINITE
    return Reason.BAD_TYPE


def message(head_: Head, fields: Mapping[str, FieldValue], time_ns: int) -> Message:
    """A checked message. MessageError with the text of the suite."""
    made = Message(head_, dict(fields), time_ns)
    reason = refusal(made)
    if reason is not None:
        raise MessageError(reason.text(_culprit(made, reason)))
    return made


def _culprit(m: Message, reason: Reason) -> str:
    return next((key for key, value in m.fields.items() if refusal(Message(m.head, {key: value}, 0)) == reason), "")


class Kind(StrEnum):
    """What a message is, by the presence of its characteristic field."""

    METRIC = "metric"
    EVENT = "event"
    LOG = "log"
    CONTROL = "control"
    QUERY = "query"
    INVALID = "invalid"


_FIELD_OF_KIND = (
    ("value", Kind.METRIC),
    ("event", Kind.EVENT),
    ("log", Kind.LOG),
    ("control", Kind.CONTROL),
    ("query", Kind.QUERY),
)


def message_type(m: Message) -> Kind:
    """By field key alone, first hit in the order value, event, log, control, query."""
    return next((kind for key, kind in _FIELD_OF_KIND if key in m.fields), Kind.INVALID)


def is_metric(m: Message) -> bool:
    """A field `value` that is no text."""
    value = m.fields.get("value")
    return value is not None and not isinstance(value, str)


def is_event(m: Message) -> bool:
    return isinstance(m.fields.get("event"), str)


def is_log(m: Message) -> bool:
    return isinstance(m.fields.get("log"), str)


def is_query(m: Message) -> bool:
    return isinstance(m.fields.get("query"), str)


def is_control(m: Message) -> bool:
    """A text field `control` and a tag `method` of exactly GET or PUT."""
    return isinstance(m.fields.get("control"), str) and m.head.tags.get("method") in ("GET", "PUT")


def text_form(m: Message) -> str:
    """One line for logs, maps sorted by key."""
    tags, meta, fields = (" ".join(f"{k}:{v}" for k, v in sorted(part.items())) for part in (m.head.tags, m.head.meta, m.fields))
    return f"Name: {m.head.name}, Tags: map[{tags}], Meta: map[{meta}], fields: map[{fields}], Timestamp: {m.time_ns}"
