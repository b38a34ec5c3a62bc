"""Reference pages of the collectors, made from their modules: docstring, then a table of the keys.

python -m cc_metric_collector.reference docs/reference/collector      (a test holds the pages to the code)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from .registry import TABLES, plugin

HEADINGS = {"collectors": "Collector", "sinks": "Sink", "receivers": "Receiver"}


def pages() -> Iterator[tuple[str, str]]:
    """(file name, text) of every plug-in and of the index."""
    index = ["# Plug-ins of cc-metric-collector", ""]
    for kind, table in TABLES.items():
        index += [f"## {kind.capitalize()}", ""]
        for name in sorted(table):
            file = f"{kind[:-1]}-{name}.md"
            index.append(f"- [`{name}`]({file}): {summary(kind, name)}")
            yield file, page(kind, name)
        index.append("")
    yield "index.md", "\n".join(index).rstrip() + "\n"


def docstring(kind: str, name: str) -> str:
    cls = plugin(kind, name)
    return (import_module(cls.__module__).__doc__ or "").strip()


def summary(kind: str, name: str) -> str:
    """First paragraph, in one line."""
    return " ".join(docstring(kind, name).split("\n\n", 1)[0].split())


def page(kind: str, name: str) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(plugin(kind, name).Config):
        type_, text = described(field.type)
        rows.append(f"| `{field.encode_name}` | {type_} | {default(field)} | {text} |")
    return f"# {HEADINGS[kind]} `{name}`\n\n{docstring(kind, name)}\n\n## Keys\n\n" + "\n".join(rows) + "\n"


def described(type_: Any) -> tuple[str, str]:
    """(type in words, description) of a field."""
    text = ""
    if get_origin(type_) is Annotated:
        type_, *metas = get_args(type_)
        text = " ".join(meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description)
    shown = type_.__name__ if isinstance(type_, type) and not get_args(type_) else str(type_)
    for module in ("typing.", "ccmessage.processor.options.", "ccdaemon.config.types."):
        shown = shown.replace(module, "")
    shown = re.sub(r"cc_metric_collector\.(\w+\.)+", "", shown)
    return shown.replace("|", "or"), text


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()}`"
    return "–" if field.default in ("", None) else f"`{field.default}`"


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in pages():
        (directory / file).write_text(text)


if __name__ == "__main__":
    main()
