"""Lines of the line protocol as the store takes them: where one ends, whose it is, and the short way for those of the usual form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ccmessage.decode import LineError, Precision, decode
from ccmessage.message import FieldValue, Message

_PLAIN = re.compile(
    rb"([^\x00-\x20\\\x7f#][^\x00-\x20\\\x7f]*+) value=(-?[0-9]{1,17}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?)(?: ([0-9]{1,9}|[1-8][0-9]{9}))?\n?\Z"
)
_HOST = re.compile(rb",host(?:name)?=([^, \r\n]+)")
_HOSTS = re.compile(rb",(host|hostname)=")
_NAME = re.compile(rb"(?:\\[, ]|[^, \r\n])*")
_LOGICAL = re.compile(rb'(?:\\ |[^ \n])*(?: +(?:="(?:\\[\s\S]|[^"\\]){0,65536}"|[^\n])*)?(?:\n|\Z)')


def logical_end(body: bytes, pos: int) -> int:
    """Position behind the line that begins at `pos`, its line end included; line ends inside quoted strings do not count."""
    end = body.find(b"\n", pos) + 1 or len(body)
    if body.find(b'"', pos, end) < 0:
        return end
    spaces = pos
    while spaces < end and body[spaces] == 32:
        spaces += 1
    if body[spaces : spaces + 1] == b"#":
        return end
    found = _LOGICAL.match(body, spaces)
    return found.end() if found else end


def measurement(line: bytes) -> bytes:
    """The name a line begins with, unescaped."""
    found = _NAME.match(line)
    name = found[0] if found else b""
    return re.sub(rb"\\([, ])", rb"\1", name) if b"\\" in name else name


def host_of(line: bytes) -> str:
    """The host a line names, as far as can be told without reading it; ""."""
    found = _HOST.search(line)
    return found[1].decode(errors="replace") if found else ""


def plain_key(key: bytes) -> tuple[str, dict[str, str]] | None:
    """Name and tags of a key without escapes and control bytes (the kernel knows no other); None: it is malformed."""
    try:
        name, *tags = key.decode().split(",")
        pairs = dict(tag.split("=") for tag in tags)
    except ValueError:
        return None
    return (name, pairs) if name and all(pairs) and all(pairs.values()) else None


def plain_line(raw: bytes, now: int) -> tuple[str, dict[str, str], dict[str, FieldValue], int] | None:
    """Name, tags, fields and seconds of a line of the usual form; None: one for `ccmessage.decode`, malformed or not."""
    found = _PLAIN.match(raw)
    parsed = plain_key(found[1]) if found else None
    if found is None or parsed is None:
        return None
    return *parsed, {"value": float(found[2])}, now if found[3] is None else int(found[3])


def decoded(raw: bytes, now: int) -> Iterable[Message | LineError]:
    return decode(raw, precision=Precision.AUTO, default_ns=now * 1_000_000_000)


def host_name(tags: Mapping[str, str], raw: bytes) -> str:
    """`hostname` or `host`; of both, the later one on the line."""
    if "host" in tags and "hostname" in tags:
        return tags[_HOSTS.findall(raw)[-1].decode()]
    return tags.get("hostname") or tags.get("host", "")


def levels_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Level 3 and 4 (metric-store 2.2): `type` + `type-id`, then `stype` + `stype-id`; type=node is the host level, whatever its id."""
    if tags.get("type") == "node":
        return ()
    level3 = tags.get("type", "") + tags.get("type-id", "")
    level4 = tags.get("stype", "") + tags.get("stype-id", "")
    if not level3:
        return ()
    return (level3, level4) if level4 else (level3,)
