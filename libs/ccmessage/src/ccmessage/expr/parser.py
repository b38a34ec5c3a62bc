"""Tokens → tree: a Pratt parser driven by the dialect's precedence table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .dialects import COMPARISONS, NEGATABLE, Dialect
from .errors import SyntaxProblem
from .scanner import Token, scan
from .tree import Binary, Call, Choice, Index, Let, ListOf, Literal, MapOf, Member, Name, Node, Predicate, Slice, Unary

MAX_TEXT = 50_000
MAX_TOKENS = 10_000
MAX_DEPTH = 60
MAX_CHAIN = 100
PREDICATES = frozenset(
    "all any none one filter map find findIndex findLast findLastIndex count groupBy sortBy reduce sum".split()  # noqa: SIM905
)
"""Functions whose second argument is evaluated for each element."""
_CONSTANTS = {"true": True, "false": False, "nil": None}
_WORDS = frozenset(["and", "or", "in", "matches", "contains", "startsWith", "endsWith"])


def parse(text: str, dialect: Dialect) -> Node:
    """SyntaxProblem names the position in `text`."""
    if len(text) > MAX_TEXT:
        raise SyntaxProblem(0, f"the expression is longer than {MAX_TEXT} characters")
    parser = _Parser(scan(text, dialect), dialect)
    tree = parser.sequence()
    if parser.token.kind != "end":
        raise SyntaxProblem(parser.token.at, f"unexpected {_shown(parser.token)}")
    return tree


def _shown(token: Token) -> str:
    return "end of the expression" if token.kind == "end" else repr(str(token.value)[:40])


class _Parser:
    def __init__(self, tokens: Iterator[Token], dialect: Dialect) -> None:
        self.tokens: list[Token] = []
        for token in tokens:
            self.tokens.append(token)
            if len(self.tokens) > MAX_TOKENS:
                raise SyntaxProblem(token.at, f"the expression has more than {MAX_TOKENS} parts")
        self.dialect, self.position, self.depth, self.predicates = dialect, 0, 0, 0

    # ---- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.tokens[self.position]
        self.position += token.kind != "end"
        return token

    def is_op(self, value: str) -> bool:
        return self.token.kind == "op" and self.token.value == value

    def is_word(self, value: str) -> bool:
        return self.dialect.words and self.token.kind == "name" and self.token.value == value

    def accept(self, value: str) -> bool:
        found = self.is_op(value)
        self.position += found
        return found

    def expect(self, value: str) -> None:
        if not self.accept(value):
            raise SyntaxProblem(self.token.at, f"expected {value!r}, found {_shown(self.token)}")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise SyntaxProblem(self.token.at, f"the expression is nested more than {MAX_DEPTH} levels deep")
        yield
        self.depth -= 1

    # ---- expressions

    def sequence(self) -> Node:
        """An expression, or `let x = …; …`."""
        if not self.is_word("let"):
            return self.expression(0)
        at = self.take().at
        name = self.take()
        if name.kind != "name":
            raise SyntaxProblem(name.at, "expected a name after 'let'")
        if self.token.value != "=":
            raise SyntaxProblem(self.token.at, f"expected '=', found {_shown(self.token)}")
        self.take()
        value = self.expression(0)
        self.expect(";")
        with self.deeper():
            return Let(at, str(name.value), value, self.sequence())

    def expression(self, lowest: int) -> Node:
        with self.deeper():
            if self.is_word("if"):
                return self.if_else()
            left = self.unary()
            operators = 0
            while (found := self.operator()) is not None and self.dialect.binary[found[0]] >= lowest:
                operators += 1
                if operators > MAX_CHAIN:
                    raise SyntaxProblem(self.token.at, f"more than {MAX_CHAIN} operators in a row; use parentheses")
                left = self.junction(left, found[0]) if found[0] in ("and", "or") else self.binary(left, *found)
            if lowest <= self.dialect.ternary and self.is_op("?"):
                at = self.take().at
                yes = self.expression(0)
                self.expect(":")
                return Choice(at, left, yes, self.expression(0))
            return left

    def operator(self) -> tuple[str, bool] | None:
        """(binary operator that stands here, negated?)"""
        token = self.token
        if token.kind == "op":
            return (str(token.value), False) if token.value in self.dialect.binary else None
        if token.kind != "name":
            return None
        if token.value == "in" or (self.dialect.words and token.value in _WORDS):
            return str(token.value), False
        after = self.tokens[self.position + 1] if self.position + 1 < len(self.tokens) else token
        if self.is_word("not") and after.kind == "name" and after.value in NEGATABLE:
            return str(after.value), True
        return None

    def junction(self, left: Node, op: str) -> Node:
        """`a or b or c …` as a balanced tree: lists of names may be long, and evaluation goes from left to right all the same."""
        at, terms = self.token.at, [left]
        while (found := self.operator()) is not None and found[0] == op:
            self.take()
            terms.append(self.expression(self.dialect.binary[op] + 1))
        while len(terms) > 1:
            pairs = [Binary(at, op, *terms[i : i + 2]) if i + 1 < len(terms) else terms[i] for i in range(0, len(terms), 2)]
            terms = list(pairs)
        return terms[0]

    def binary(self, left: Node, op: str, negated: bool) -> Node:
        at = self.take().at
        if negated:
            self.take()
        level = self.dialect.binary[op]
        if op == "|" and self.dialect.words:
            return self.pipe(left, at)
        right = self.expression(level if op in self.dialect.right else level + 1)
        if op in COMPARISONS and self.dialect.words:
            return self.chain(Binary(at, op, left, right), right)
        made = Binary(at, op, left, right)
        return Unary(at, "not", made) if negated else made

    def chain(self, first: Node, middle: Node) -> Node:
        """`1 < x < 5` is `1 < x and x < 5`."""
        made = first
        while (found := self.operator()) is not None and found[0] in COMPARISONS:
            at = self.take().at
            right = self.expression(self.dialect.binary[found[0]] + 1)
            made, middle = Binary(at, "and", made, Binary(at, found[0], middle, right)), right
        return made

    def pipe(self, left: Node, at: int) -> Node:
        right = self.unary()
        if not isinstance(right, Call):
            raise SyntaxProblem(at, "the right side of '|' must be a call")
        return right._replace(args=(left, *right.args))

    def if_else(self) -> Node:
        at = self.take().at
        condition = self.expression(0)
        self.expect("{")
        yes = self.sequence()
        self.expect("}")
        if not self.is_word("else"):
            raise SyntaxProblem(self.token.at, f"expected 'else', found {_shown(self.token)}")
        self.take()
        if self.is_word("if"):
            with self.deeper():
                return Choice(at, condition, yes, self.if_else())
        self.expect("{")
        no = self.sequence()
        self.expect("}")
        return Choice(at, condition, yes, no)

    def unary(self) -> Node:
        token = self.token
        op = str(token.value)
        is_op = token.kind == "op" or (token.kind == "name" and self.dialect.words and op == "not")
        if not is_op or op not in self.dialect.unary:
            return self.postfix(self.primary())
        self.take()
        return self.postfix(Unary(token.at, op, self.expression(self.dialect.unary[op])))

    # ---- operands

    def primary(self) -> Node:
        token = self.take()
        if token.kind in ("number", "string"):
            return Literal(token.at, token.value)
        if token.kind == "pointer":
            if not self.predicates:
                raise SyntaxProblem(token.at, f"{token.value!r} has a meaning only inside a predicate")
            return Name(token.at, str(token.value))
        if token.kind == "name":
            return self.named(token)
        if token.kind == "op":
            if token.value == "(":
                inner = self.sequence()
                self.expect(")")
                return inner
            if token.value == "[":
                return ListOf(token.at, self.items("]"))
            if token.value == "{":
                return self.map_literal(token.at)
            if token.value == "." and self.predicates and self.token.kind == "name":
                return Member(token.at, Name(token.at, "#"), str(self.take().value), False)
        raise SyntaxProblem(token.at, f"unexpected {_shown(token)}")

    def named(self, token: Token) -> Node:
        word = str(token.value)
        if word in _CONSTANTS:
            return Literal(token.at, _CONSTANTS[word])
        if word == "null" and not self.dialect.words:
            return Literal(token.at, None)
        if self.accept("("):
            return Call(token.at, Name(token.at, word), self.arguments(word))
        return Name(token.at, word)

    def arguments(self, function: str) -> tuple[Node, ...]:
        if not self.dialect.words or function not in PREDICATES:
            return self.items(")")
        if self.accept(")"):
            return ()
        args: list[Node] = [self.expression(0)]
        while self.accept(","):
            if self.is_op(")"):
                break
            args.append(self.predicate() if len(args) == 1 else self.expression(0))
        self.expect(")")
        return tuple(args)

    def predicate(self) -> Node:
        at = self.token.at
        self.predicates += 1
        braces = self.accept("{")
        body = self.sequence() if braces else self.expression(0)
        if braces:
            self.expect("}")
        self.predicates -= 1
        return Predicate(at, body)

    def items(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.accept(end):
            if found:
                self.expect(",")
                if self.accept(end):
                    break
            found.append(self.expression(0))
        return tuple(found)

    def map_literal(self, at: int) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self.accept("}"):
            if pairs:
                self.expect(",")
                if self.accept("}"):
                    break
            key = self.take()
            if key.kind in ("name", "string", "number"):
                name: Node = Literal(key.at, str(key.value))
            elif key.kind == "op" and key.value == "(":
                name = self.expression(0)
                self.expect(")")
            else:
                raise SyntaxProblem(key.at, f"expected a key, found {_shown(key)}")
            self.expect(":")
            pairs.append((name, self.expression(0)))
        return MapOf(at, tuple(pairs))

    def postfix(self, node: Node) -> Node:
        while self.token.kind == "op":
            at = self.token.at
            if self.accept("[") or (self.is_op("?.") and self.tokens[self.position + 1].value == "["):
                optional = self.accept("?.")
                if optional:
                    self.expect("[")
                node = self.bracket(node, at, optional)
            elif self.is_op(".") or self.is_op("?."):
                optional = self.take().value == "?."
                name = self.take()
                if name.kind != "name":
                    raise SyntaxProblem(name.at, f"expected a name after '.', found {_shown(name)}")
                node = Member(at, node, str(name.value), optional)
                if self.accept("("):
                    node = Call(at, node, self.items(")"))
            else:
                break
        return node

    def bracket(self, node: Node, at: int, optional: bool) -> Node:
        if self.accept(":"):
            high = None if self.is_op("]") else self.expression(0)
            self.expect("]")
            return Slice(at, node, None, high)
        low = self.expression(0)
        if self.accept(":"):
            high = None if self.is_op("]") else self.expression(0)
            self.expect("]")
            return Slice(at, node, low, high)
        self.expect("]")
        return Index(at, node, low, optional)
