"""Host lists: the expressions of scheduler and receivers (`expand`), and the node lists of cluster.json (`NodeList`).

They are two grammars: Slurm's takes single numbers and any number of brackets, that of cluster.json wants ranges of equal width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

_DELIMITERS = re.compile(r"[,\s]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_BRACKET = re.compile(r"\[((?:[0-9]+(?:-[0-9]+)?)(?:,[0-9]+(?:-[0-9]+)?)*)\]", re.ASCII)
_LITERAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*", re.ASCII)
_NODE_RANGE = re.compile(r"([0-9]+)-([0-9]+)", re.ASCII)
_INT32 = 2**31 - 1
_MAX_DIGITS = 18  # of one number: wider ones name no host, and Python refuses to convert thousands of digits


class Range(NamedTuple):
    """Numbers low … high, zero-padded to `width` (0: as they are)."""

    low: int
    high: int
    width: int

    @property
    def size(self) -> int:
        return max(0, self.high - self.low + 1)

    def texts(self) -> Iterator[str]:
        return (f"{number:0{self.width}d}" for number in range(self.low, self.high + 1))


def expand(hosts: str, *, limit: int = 1_000_000) -> list[str]:
    """Sorted, unique names of an expression such as `n[01-04,07],r[1-2]n[1-2]` (Slurm's form; delimiters: commas and white space).

    Brackets multiply; the characters `.` and `_` are allowed in names. ValueError: the text is no host list, or gives more than
    `limit` names (checked before they are made).
    """
    names: set[str] = set()
    total = 0
    at = _DELIMITERS.match(hosts).end()  # type: ignore[union-attr]  # the pattern matches the empty string
    while at < len(hosts):
        start, parts = at, []
        while at < len(hosts) and (found := _WORD.match(hosts, at) or _BRACKET.match(hosts, at)):
            parts.append([found.group()] if found.re is _WORD else _numbers(found.group(1), limit))
            at = found.end()
        if not parts or _WORD.match(hosts, start) is None or (at < len(hosts) and hosts[at] not in ", \t\n\r\f\v"):
            raise ValueError(f"not a hostlist: {_shown(hosts[start:])}")
        total += prod(map(len, parts))
        if total > limit:
            raise ValueError(f"the host list has more than {limit} names: {_shown(hosts)}")
        names.update(map("".join, product(*parts)))
        at = _DELIMITERS.match(hosts, at).end()  # type: ignore[union-attr]
    return sorted(names)


def _numbers(inner: str, limit: int) -> list[str]:
    texts: list[str] = []
    for item in inner.split(","):
        start, dash, end = item.partition("-")
        if not dash:
            texts.append(start)
            continue
        if max(len(start), len(end)) > _MAX_DIGITS:
            raise ValueError(f"numbers of more than {_MAX_DIGITS} digits in a host list: {_shown(item)}")
        if len(start) != len(end) and _padded(start, end):
            raise ValueError(f"single range without padding is used but start or end use padding: {item}")
        span = Range(int(start), int(end), len(start) if len(start) == len(end) else 0)
        if span.low > span.high:
            raise ValueError(f"single range start is greater than end: {item}")
        if len(texts) + span.size > limit:
            raise ValueError(f"the host list has more than {limit} names: [{_shown(inner)}]")
        texts.extend(span.texts())
    return texts


def _padded(start: str, end: str) -> bool:
    """Whether one end is written with leading zeros; the single digit 0, as Slurm prints it, is none."""
    return any(text.startswith("0") and text != "0" for text in (start, end))


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


class Term(NamedTuple):
    """Literal texts and groups of ranges, in order."""

    parts: tuple[str | tuple[Range, ...], ...]

    def matches(self, name: str) -> bool:
        ends = {0}  # ranges of one bracket may differ in width, so several ends are possible
        for part in self.parts:
            if isinstance(part, str):
                ends = {at + len(part) for at in ends if name.startswith(part, at)}
            else:
                ends = {at + span.width for at in ends for span in part if _holds(span, name[at : at + span.width])}
        return len(name) in ends

    def size(self) -> int:
        return prod(sum(span.size for span in part) for part in self.parts if not isinstance(part, str))

    def names(self) -> Iterator[str]:
        choices = [[part] if isinstance(part, str) else [text for r in part for text in r.texts()] for part in self.parts]
        return map("".join, product(*choices))


def _holds(span: Range, digits: str) -> bool:
    return len(digits) == span.width and digits.isascii() and digits.isdigit() and span.low <= int(digits) <= span.high


class NodeList:
    """The `nodes` of a subcluster in cluster.json (backend-jobs-and-archive 2.6); `*` stands for every host and counts none."""

    def __init__(self, text: str) -> None:
        """ValueError says what is wrong and where."""
        self.text = text
        self.everything = text == "*"
        self.terms: Sequence[Term] = () if self.everything else tuple(_terms(text))

    def __contains__(self, host: str) -> bool:
        """Whether a term (or `*`) matches the complete name."""
        return self.everything or any(term.matches(host) for term in self.terms)

    def __len__(self) -> int:
        """Number of names; 0 for `*`. A name that two terms give counts once, if the list is small enough to be looked at."""
        total = sum(term.size() for term in self.terms)
        return len(set(self.names())) if len(self.terms) > 1 and total <= 100_000 else total

    def names(self, limit: int = 1_000_000) -> list[str]:
        """All names, in the order of the expression, each once. ValueError above `limit`."""
        if sum(term.size() for term in self.terms) > limit:
            raise ValueError(f"the node list has more than {limit} names: {_shown(self.text)}")
        return list(dict.fromkeys(name for term in self.terms for name in term.names()))


def _terms(text: str) -> Iterator[Term]:
    at, parts = 0, list[str | tuple[Range, ...]]()
    while at <= len(text):
        if at == len(text) or text[at] == ",":
            if parts:
                yield Term(tuple(parts))
            parts = []
            at += 1
        elif text[at] == "[":
            end = text.find("]", at)
            if end < 0:
                raise ValueError(f"unclosed bracket in node list: {_shown(text[at:])}")
            parts.append(tuple(_node_range(item) for item in text[at + 1 : end].split(",")))
            at = end + 1
        elif found := _LITERAL.match(text, at):
            parts.append(found.group())
            at = found.end()
        else:
            raise ValueError(f"invalid character {text[at]!r} at position {at + 1} of the node list {_shown(text)!r}")


def _node_range(item: str) -> Range:
    found = _NODE_RANGE.fullmatch(item)
    if found is None:
        raise ValueError(f"invalid range {_shown(item)!r} in node list: must be start-end, two numbers")
    start, end = found.groups()
    if len(start) != len(end):
        raise ValueError(f"invalid range {_shown(item)!r} in node list: start and end must have the same number of digits")
    if len(start) > 10 or int(start) > _INT32 or int(end) > _INT32:
        raise ValueError(f"invalid range {_shown(item)!r} in node list: numbers must fit 32 bits")
    return Range(int(start), int(end), len(start))
