"""Whole HTTP bodies, bounded, and unpacked by ourselves.

aiohttp takes a gzip stream that ends early for a whole one: half a batch would pass for all of it. So Listener and HttpClient
switch its unpacking off, and this is the one place that unpacks.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

from aiohttp import StreamReader, web

from ..errors import InputError

_SLICE = 256 << 10  # unpacked in one go, about half a millisecond
_PLAIN = ("", "identity")
_GZIP = ("gzip", "x-gzip")


class BadBody(InputError):
    """`status` is what HTTP calls it: 400 damaged or cut off, 413 too large, 415 an encoding that we do not read."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text, "body")
        self.status = status


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body of a request behind a Listener, of at most `limit` bytes after unpacking. BadBody; nothing of a cut-off body is given."""
    try:
        return await whole_body(request.content, request.headers.get("Content-Encoding", ""), limit)
    except (web.RequestPayloadError, ConnectionError):
        raise BadBody(400, "ends too early") from None


async def whole_body(content: StreamReader, encoding: str, limit: int) -> bytes:
    """All of `content`; `encoding` is its Content-Encoding. BadBody, and what the stream itself raises."""
    encoding = encoding.strip().lower()
    if encoding not in _PLAIN + _GZIP:
        raise BadBody(415, f"Content-Encoding {encoding[:20]!r} is not read here, use gzip")
    inflate = _Inflater() if encoding in _GZIP else None
    parts: list[bytes] = []
    size = packed = 0
    async for chunk in content.iter_any():
        packed += len(chunk)
        for part in inflate.slices(chunk) if inflate else (chunk,):
            size += len(part)
            if max(size, packed) > limit:
                raise BadBody(413, f"larger than {limit} bytes")
            parts.append(part)
            await asyncio.sleep(0)  # a large body that is already there must not keep the loop
        if packed > limit:
            raise BadBody(413, f"larger than {limit} bytes")
    if inflate and packed and not inflate.complete:
        raise BadBody(400, "the gzip stream ends too early")
    return b"".join(parts)


class _Inflater:
    """Gzip in slices; several streams one after the other count as one (RFC 1952)."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self.complete = True

    def slices(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._inflate.eof:
                    self._inflate = zlib.decompressobj(wbits=31)
                yield self._inflate.decompress(data, _SLICE)
                data = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error:
            raise BadBody(400, "is no gzip stream, or a damaged one") from None
        self.complete = self._inflate.eof
