"""The built frontend, read into memory at start: hashed, immutable, compressed beforehand."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from ccdaemon.errors import OperatorError

IMMUTABLE: Final = "public, max-age=31536000, immutable"
CHECKED: Final = "public, max-age=3600"
MAX_FILE: Final = 16 << 20
ENTRY: Final = "src/main.ts"
THEME: Final = "src/theme.ts"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml", ".json": "application/json"}


class File(NamedTuple):
    type: str
    body: bytes
    packed: bytes | None
    etag: str


class Assets(NamedTuple):
    """Addresses that a page links, and the files below /static/ and /img/ by their path there."""

    script: str
    styles: tuple[str, ...]
    modules: tuple[str, ...]
    theme: str | None
    logo: str | None
    static: Mapping[str, File]
    images: Mapping[str, File]


def load_assets(directory: Path, images: Path | None = None) -> Assets:
    """directory: output of the build; images: a site's own folder for /img/, in place of the built one.

    OperatorError where the build is missing or has no entry."""
    path = directory / "manifest.json"
    try:
        manifest: dict[str, dict[str, Any]] = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except FileNotFoundError:
        raise OperatorError(f"the web interface is not built: there is no {path}", "run `make install`") from None
    except (OSError, msgspec.DecodeError) as e:
        raise OperatorError(f"the web interface cannot be read: {path}: {e}", "run `make install`") from e
    if ENTRY not in manifest:
        raise OperatorError(f"the web interface is incomplete: {path} has no entry {ENTRY}", "run `make install`")
    parts = list(dict.fromkeys(_with_imports(manifest, ENTRY)))
    styles = dict.fromkeys(sheet for name in parts for sheet in manifest[name].get("css", ()))
    own = _read(images) if images is not None and images.is_dir() else _read(directory / "img")
    return Assets(
        script=_address(manifest[ENTRY]["file"]),
        styles=tuple(_address(sheet) for sheet in styles),
        modules=tuple(_address(manifest[name]["file"]) for name in parts if name != ENTRY),
        theme=_address(manifest[THEME]["file"]) if THEME in manifest else None,
        logo="/img/logo.png" if "logo.png" in own else None,
        static=_read(directory),
        images=own,
    )


def _with_imports(manifest: Mapping[str, Mapping[str, Any]], name: str) -> Iterator[str]:
    yield name
    for imported in manifest[name].get("imports", ()):
        if imported in manifest and imported != name:
            yield from _with_imports(manifest, imported)


def _address(file: str) -> str:
    return f"/static/{file}"


def _read(directory: Path) -> dict[str, File]:
    """Regular files by their path inside the directory; links, hidden files and what is over MAX_FILE are left out."""
    found: dict[str, File] = {}
    for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or path.is_symlink() or path.suffix == ".gz" or name.startswith(".") or path.stat().st_size > MAX_FILE:
            continue
        body = path.read_bytes()
        packed = path.with_name(path.name + ".gz")
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        found[name] = File(kind, body, packed.read_bytes() if packed.is_file() else None, hashlib.sha256(body).hexdigest()[:32])
    return found


def answer(request: web.Request, file: File | None, cache: str) -> web.Response:
    """The file, or that the browser has it; 404 where there is none. Always from memory."""
    if file is None:
        raise web.HTTPNotFound
    headers = {"Cache-Control": cache, "ETag": f'"{file.etag}"', "Vary": "Accept-Encoding"}
    if file.etag in {tag.value for tag in request.if_none_match or ()}:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = f"{file.type}; charset=utf-8" if file.type.startswith("text/") else file.type
    if file.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=file.packed, headers=headers | {"Content-Encoding": "gzip"})
    return web.Response(body=file.body, headers=headers)
