"""JSON with `//` and `/* */` comments and trailing commas, keeping the position of every value."""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path

import msgspec

from .types import Position, Problem

_DEPTH = 100
_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*)"')
_CHUNK = re.compile(r'[^"\\\x00-\x1f]+')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[^\s,:\[\]{}\"/]+")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")


class Node(msgspec.Struct):
    """A JSON value with its place. `value`: dict[str, Node] | list[Node] | str | int | float | bool | None.

    `keys`: position of each key of an object; of a repeated key the last one counts (as in Go), the others stand in `repeated`.
    """

    value: object
    at: Position
    keys: dict[str, Position] = {}
    repeated: list[tuple[str, Position]] = []

    def plain(self) -> object:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(text: str, file: Path) -> Node | Problem:
    """Parse; a syntax error is one Problem with line and column and what was expected."""
    parser = _Parser(text, file)
    try:
        return parser.document()
    except _Syntax as error:
        return Problem("", parser.position(error.offset), error.text, error.remedy)


class _Syntax(Exception):
    def __init__(self, offset: int, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.offset = offset
        self.text = text
        self.remedy = remedy


class _Parser:
    def __init__(self, text: str, file: Path) -> None:
        self.text = text
        self.file = file
        self.pos = 1 if text.startswith("\ufeff") else 0
        self.lines = [0] + [found.end() for found in re.finditer(r"\n", text)]

    def position(self, offset: int) -> Position:
        line = bisect_right(self.lines, offset)
        return Position(self.file, line, offset - self.lines[line - 1] + 1)

    def document(self) -> Node:
        self.space()
        if self.pos >= len(self.text):
            raise _Syntax(self.pos, "the file is empty", "write at least {}")
        node = self.value(0)
        self.space()
        if self.pos < len(self.text):
            raise _Syntax(self.pos, f"{self.seen()} after the end of the document", "is there one closing bracket too many?")
        return node

    def space(self) -> None:
        found = _SPACE.match(self.text, self.pos)
        assert found is not None
        self.pos = found.end()
        if self.text.startswith("/*", self.pos):
            raise _Syntax(self.pos, "this comment does not end", "close it with */")

    def seen(self) -> str:
        """What stands at the current place, for messages."""
        if self.pos >= len(self.text):
            return "the file ends"
        word = _WORD.match(self.text, self.pos)
        return f"{(word[0][:20] if word else self.text[self.pos])!r} stands"

    def value(self, depth: int) -> Node:
        at, first = self.position(self.pos), self.text[self.pos : self.pos + 1]
        if depth > _DEPTH:
            raise _Syntax(self.pos, f"more than {_DEPTH} levels of nesting")
        if first == "{":
            return self.object(at, depth)
        if first == "[":
            return self.array(at, depth)
        if first == '"':
            return Node(self.string(), at)
        if first and first in "-0123456789":
            return Node(self.number(), at)
        return Node(self.literal(), at)

    def literal(self) -> bool | None:
        word = _WORD.match(self.text, self.pos)
        values = {"true": True, "false": False, "null": None}
        if word and word[0] in values:
            self.pos = word.end()
            return values[word[0]]
        remedy = f"write {word[0].lower()}" if word and word[0].lower() in values else "put texts into double quotes" if word else ""
        raise _Syntax(self.pos, f"{self.seen()} where a value is expected", remedy)

    def number(self) -> int | float:
        start = self.pos
        found = _NUMBER.match(self.text, start)
        if not found or _WORD.match(self.text, found.end()):
            word = _WORD.match(self.text, start)
            raise _Syntax(start, f"{(word[0] if word else '-')[:40]!r} is no number", "put texts into double quotes")
        self.pos = found.end()
        if len(found[0]) > 400:
            raise _Syntax(start, "this number is too long")
        if not found[1] and not found[2]:
            return int(found[0])
        number = float(found[0])
        if number in (float("inf"), float("-inf")):
            raise _Syntax(start, f"{found[0][:40]} is out of range")
        return number

    def string(self) -> str:
        plain = _PLAIN.match(self.text, self.pos)
        if plain:
            self.pos = plain.end()
            return plain[1]
        start, parts = self.pos, []
        self.pos += 1
        while True:
            chunk = _CHUNK.match(self.text, self.pos)
            if chunk:
                parts.append(chunk[0])
                self.pos = chunk.end()
            char = self.text[self.pos : self.pos + 1]
            if char == '"':
                self.pos += 1
                return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if char == "\\":
                parts.append(self.escape())
            elif char == "" or char in "\r\n":
                raise _Syntax(start, "this text does not end on its line", 'is the closing " missing?')
            else:
                raise _Syntax(self.pos, f"control character {char!r} inside a text", "write it as an escape such as \\t")

    def escape(self) -> str:
        kind = self.text[self.pos + 1 : self.pos + 2]
        if kind in _ESCAPES:
            self.pos += 2
            return _ESCAPES[kind]
        digits = _HEX4.match(self.text, self.pos + 2) if kind == "u" else None
        if not digits:
            raise _Syntax(self.pos, f"unknown escape \\{kind}", "a backslash itself is written \\\\")
        self.pos += 6
        return chr(int(digits[0], 16))

    def array(self, at: Position, depth: int) -> Node:
        items: list[Node] = []
        opened = self.pos
        self.pos += 1
        while True:
            self.space()
            if self.text.startswith("]", self.pos):
                self.pos += 1
                return Node(items, at)
            items.append(self.value(depth + 1))
            self.separator("]", opened)

    def object(self, at: Position, depth: int) -> Node:
        items: dict[str, Node] = {}
        node = Node(items, at, {}, [])
        opened = self.pos
        self.pos += 1
        while True:
            self.space()
            if self.text.startswith("}", self.pos):
                self.pos += 1
                return node
            place = self.position(self.pos)
            if not self.text.startswith('"', self.pos):
                self.unclosed("}", opened)
                raise _Syntax(self.pos, f"{self.seen()} where a key is expected", "keys stand in double quotes")
            key = self.string()
            self.space()
            if not self.text.startswith(":", self.pos):
                raise _Syntax(self.pos, f"{self.seen()} where a colon is expected", f'write "{key}": …')
            self.pos += 1
            self.space()
            if key in node.keys:
                node.repeated.append((key, node.keys[key]))
                del items[key]
            node.keys[key] = place
            items[key] = self.value(depth + 1)
            self.separator("}", opened)

    def separator(self, close: str, opened: int) -> None:
        """A comma, or what closes; a comma before what closes is accepted."""
        self.space()
        if self.text.startswith(",", self.pos):
            self.pos += 1
        elif not self.text.startswith(close, self.pos):
            self.unclosed(close, opened)
            raise _Syntax(self.pos, f"{self.seen()} where a comma or {close!r} is expected", "is a comma missing?")

    def unclosed(self, close: str, opened: int) -> None:
        if self.pos >= len(self.text):
            place = self.position(opened)
            raise _Syntax(
                self.pos, "the file ends too early", f"close the bracket of line {place.line}, column {place.column} with {close}"
            )
