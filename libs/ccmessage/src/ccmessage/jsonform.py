"""JSON form of messages: `{"name", "tags", "fields", "timestamp"}`, maps sorted by key, timestamps in RFC 3339 with nanoseconds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from ccschema.jsonin import BodyError, decode

from .message import FieldValue, Message, MessageError, head, message

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_json(m: Message, meta_as_tags: Collection[str] = ()) -> bytes:
    """The message; the asked meta keys go among the tags."""
    tags = dict(m.head.tags) | {key: m.head.meta[key] for key in meta_as_tags if key in m.head.meta}
    document = {
        "name": m.head.name,
        "tags": dict(sorted(tags.items())),
        "fields": {key: _plain(value) for key, value in sorted(m.fields.items())},
        "timestamp": timestamp(m.time_ns),
    }
    return msgspec.json.encode(document)


def _plain(value: FieldValue) -> Any:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC, up to nine fractional digits without trailing zeros. MessageError: outside of the years 1 to 9999."""
    seconds, fraction = divmod(time_ns, 10**9)
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError:
        raise MessageError("the timestamp is outside of the years 1 to 9999") from None
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"


def parse_timestamp(text: str) -> int:
    """Nanoseconds since the epoch. MessageError names the text."""
    found = _RFC3339.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        day, clock, fraction, sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
        when = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=timezone(offset))
    except ValueError:
        raise MessageError(f"invalid timestamp {text[:60]!r}, expected a form like 2025-01-02T03:04:05.25Z") from None
    whole = (when - _EPOCH) // timedelta(seconds=1)
    return whole * 10**9 + int(((fraction or "") + "0" * 9)[:9])


class _Form(msgspec.Struct):
    name: str = ""
    tags: dict[str, str] = {}
    fields: dict[str, Any] = {}
    timestamp: str = ""


def decode_json(body: bytes) -> list[Message]:
    """One message or an array of them; every one is checked. Numbers become floats, nested values are left out. MessageError."""
    try:
        forms = decode(body, list[_Form]) if body.lstrip()[:1] == b"[" else [decode(body, _Form)]
    except BodyError as e:
        raise MessageError(f"invalid JSON message: {e}") from None
    return list(_checked(forms))


def _checked(forms: list[_Form]) -> Iterator[Message]:
    for form in forms:
        fields = dict(_usable(form.fields))
        if form.fields and not fields:
            raise MessageError("all field values were nil or invalid")
        if not form.timestamp:
            raise MessageError("timestamp cannot be zero")
        yield message(head(form.name, form.tags), fields, parse_timestamp(form.timestamp))


def _usable(fields: Mapping[str, Any]) -> Iterator[tuple[str, FieldValue]]:
    for key, value in fields.items():
        if isinstance(value, bool | str):
            yield key, value
        elif isinstance(value, int | float):
            try:
                yield key, float(value)
            except OverflowError:
                raise MessageError(f"field '{key}' has invalid float value (NaN or Inf)") from None
