"""The HTML around every page: templates, the data block, security headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from .assets import Assets

CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "base-uri 'self'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


PACK_HERE: Final = 1 << 30
"""Bytes; more than any page has. A page of five clusters takes about 2 ms."""


class Message(msgspec.Struct, frozen=True):
    """kind: info, warning or danger."""

    kind: str
    title: str
    text: str
    status: int


class Shell:
    def __init__(self, assets: Assets, version: str) -> None:
        self.version = version
        self._templates = Environment(loader=PackageLoader("cc_backend", "web/templates"), autoescape=True)
        self._templates.globals["assets"] = assets
        self._templates.globals["version"] = version

    def page(self, block: Mapping[str, Any]) -> web.Response:
        """block: the data block, with `title`."""
        return self._html("page.html", 200, title=block["title"], data=Markup(script_json(block)))  # noqa: S704 - escaped by script_json

    def login(self, status: int, title: str, message: Message | None, redirect: str) -> web.Response:
        return self._html("login.html", status, title=title, message=message, redirect=redirect)

    def text(self, title: str, body: Markup) -> web.Response:
        """A page that the site wrote; body is HTML."""
        return self._html("text.html", 200, title=f"{title} - ClusterCockpit", heading=title, text=body)

    def message(self, message: Message) -> web.Response:
        return self._html("error.html", message.status, title=f"{message.title} - ClusterCockpit", message=message)

    def _html(self, template: str, status: int, **values: object) -> web.Response:
        body = self._templates.get_template(template).render(**values)
        # Compressed here: the library would take a thread of the loop's default executor, which anything can fill.
        response = web.Response(status=status, text=body, content_type="text/html", headers=HEADERS, zlib_executor_size=PACK_HERE)
        response.enable_compression()
        return response


def script_json(value: object) -> str:
    """JSON that no browser takes for markup, wherever it stands."""
    text = msgspec.json.encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
