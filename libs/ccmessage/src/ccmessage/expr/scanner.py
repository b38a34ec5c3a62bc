"""Text → tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .dialects import Dialect
from .errors import SyntaxProblem


class Token(NamedTuple):
    """kind: `number`, `string`, `name`, `pointer`, `op`, `end`."""

    kind: str
    value: object
    at: int


_BLANK = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_NAME = re.compile(r"\$env\b|[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_POINTER = re.compile(r"#(?:acc|index)?", re.ASCII)
_RADIX = re.compile(r"0(?:[xX]_?[0-9a-fA-F][0-9a-fA-F_]*|[oO]_?[0-7][0-7_]*|[bB]_?[01][01_]*)", re.ASCII)
_NUMBER = re.compile(r"(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_OPERATORS = re.compile(r"\*\*|\.\.|\?\?|\?\.|==|!=|<=|>=|<<|>>|=~|!~|&&|\|\||[-+*/%^&|~!<>=?:.,;()\[\]{}]")
_ESCAPE = re.compile(r"\\(?:([ntr\\'\"abfv`])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))", re.ASCII)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_I64_MAX = 2**63 - 1


def scan(text: str, dialect: Dialect) -> Iterator[Token]:
    """Tokens, the last of kind `end`. SyntaxProblem."""
    at = 0
    while True:
        if blank := _BLANK.match(text, at):
            at = blank.end()
        if at >= len(text):
            yield Token("end", "", at)
            return
        if text[at] in dialect.quotes:
            value, end = _string(text, at)
            yield Token("string", value, at)
        elif found := _RADIX.match(text, at) or _NUMBER.match(text, at):
            yield Token("number", _number(found.group(), at), at)
            end = found.end()
        elif found := _NAME.match(text, at):
            yield Token("name", found.group(), at)
            end = found.end()
        elif dialect.words and (found := _POINTER.match(text, at)):
            yield Token("pointer", found.group(), at)
            end = found.end()
        elif found := _OPERATORS.match(text, at):
            yield Token("op", dialect.aliases.get(found.group(), found.group()), at)
            end = found.end()
        else:
            raise SyntaxProblem(at, f"unexpected character {text[at]!r}")
        at = end


def _number(text: str, at: int) -> int | float:
    try:
        if any(mark in text for mark in ".eE") and text[:2].lower() != "0x":
            return float(text)
        value = int(text, 0 if text[:2].lower() in ("0x", "0o", "0b") else 10)
    except ValueError:
        raise SyntaxProblem(at, f"invalid number {text[:40]}") from None
    if value > _I64_MAX:
        raise SyntaxProblem(at, f"the integer {text[:40]} does not fit 64 bits")
    return value


def _string(text: str, start: int) -> tuple[str, int]:
    quote, at, parts = text[start], start + 1, list[str]()
    while at < len(text) and text[at] != quote:
        if text[at] != "\\" or quote == "`":
            parts.append(text[at])
            at += 1
            continue
        found = _ESCAPE.match(text, at)
        if found is None:
            raise SyntaxProblem(at, f"unknown escape {text[at : at + 2]!r} in a string; a backslash for a pattern is written \\\\")
        simple, *codes, octal = found.groups()
        if simple is not None:
            parts.append(_ESCAPED.get(simple, simple))
        else:
            code = int(octal, 8) if octal else int(next(c for c in codes if c), 16)
            if code > 0x10FFFF:
                raise SyntaxProblem(at, f"no such character: {found.group()}")
            parts.append(chr(code))
        at = found.end()
    if at >= len(text):
        raise SyntaxProblem(start, "the string is not closed")
    return "".join(parts), at + 1
