"""`.env` files: secrets beside the program; what the environment already has wins (spec messages-and-lib 13.1)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from .errors import InputError, OperatorError

_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*[=:][ \t]*")
_VARIABLE = re.compile(r"\\\$|\$\{([A-Z0-9_]+)\}|\$([A-Z0-9_]+)")


def load_env(program: Path, environ: MutableMapping[str, str] = os.environ) -> Path | None:
    """Read `.env` of the working directory, else the one beside the program file (a link is not resolved); which one, or None.

    OperatorError names file and line of a mistake.
    """
    for path in (Path(".env"), Path(os.path.abspath(program)).parent / ".env"):  # noqa: PTH100 - resolve() would follow the link
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeDecodeError:
            raise OperatorError(f"{path} is no UTF-8 text", "save it as UTF-8") from None
        except OSError as error:
            raise OperatorError(f"cannot read {path}: {error.strerror}", "correct its permissions") from None
        try:
            values = parse_env(text)
        except InputError as error:
            raise OperatorError(f"{path}:{error.place}: {error.text}", "write NAME=VALUE, one a line") from None
        for key, value in values.items():
            environ.setdefault(key, value)
        return path
    return None


def parse_env(text: str) -> dict[str, str]:
    """The variables of a `.env` file. InputError with the line number as place; its text shows no value."""
    values: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    position = 0
    while position < len(text):
        end = _line_end(text, position)
        line = text[position:end].strip()
        if not line or line.startswith("#"):
            position = end + 1
            continue
        place = str(text.count("\n", 0, position) + 1)
        found = _KEY.match(text, position, end)
        if not found:
            raise InputError("no NAME=VALUE stands here", place)
        value, position = _value(text, found.end(), values, place)
        values[found[1]] = value
    return values


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _value(text: str, start: int, known: Mapping[str, str], place: str) -> tuple[str, int]:
    """A value and the position of the line behind it."""
    quote = text[start : start + 1]
    if quote not in ('"', "'"):
        end = _line_end(text, start)
        bare = re.split(r"(?:^|\s)#", text[start:end], maxsplit=1)[0]
        return _expand(bare.strip(), known), end + 1
    close = start + 1
    while close < len(text) and text[close] != quote:
        close += 2 if text[close] == "\\" and quote == '"' else 1
    if close >= len(text):
        raise InputError("the quotation that begins here does not end", place)
    end = _line_end(text, close)
    rest = text[close + 1 : end].strip()
    if rest and not rest.startswith("#"):
        raise InputError("something stands behind the closing quotation mark", place)
    inner = text[start + 1 : close]
    return (inner if quote == "'" else _double_quoted(inner, known)), end + 1


def _double_quoted(text: str, known: Mapping[str, str]) -> str:
    parts = re.split(r"(\\.)", text, flags=re.DOTALL)
    escapes = {"\\n": "\n", "\\r": "\r"}
    return "".join(escapes.get(p, p[1:]) if i % 2 else _expand(p, known) for i, p in enumerate(parts))


def _expand(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: "$" if found[0] == "\\$" else known.get(found[1] or found[2], ""), text)
