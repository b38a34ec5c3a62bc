"""What a query may cost, judged on its text before anything is executed."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)

MAX_COMPLEXITY: Final = 5000
MAX_DEPTH: Final = 15
MAX_TOKENS: Final = 50_000
MAX_BODY: Final = 512 << 10
MAX_UNPAGED: Final = 1000
"""Rows of a list that plain users and managers get when they ask for all."""
MAX_IDS: Final = 100
MAX_SAME: Final = 10
"""Fields of one name in one selection set; validation compares each with each."""
MAX_FRAGMENTS: Final = 50


class Cost:
    """Fields (fragments expanded) and nesting of selection sets; a fragment is counted once and remembered."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, selection: SelectionSetNode | None) -> tuple[int, int]:
        """(fields, depth). A fragment that contains itself counts nothing here: validation refuses it."""
        if selection is None:
            return 0, 0
        fields, depth = 0, 0
        for node in selection.selections:
            if isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node.name.value)
            else:
                inner = self.of(getattr(node, "selection_set", None))
                if isinstance(node, FieldNode):
                    inner = inner[0] + 1, inner[1] + 1
            fields, depth = fields + inner[0], max(depth, inner[1])
        return fields, depth

    def _fragment(self, name: str) -> tuple[int, int]:
        if name not in self._known and name in self._fragments:
            self._known[name] = 0, 0  # while it is being counted
            self._known[name] = self.of(self._fragments[name].selection_set)
        return self._known.get(name, (0, 0))


def too_expensive(document: DocumentNode) -> GraphQLError | None:
    """The error for the first operation over a limit."""
    cost = Cost(document)
    fragments = sum(isinstance(definition, FragmentDefinitionNode) for definition in document.definitions)
    if fragments > MAX_FRAGMENTS or any(_repeats(getattr(d, "selection_set", None)) > MAX_SAME for d in document.definitions):
        text = f"more than {MAX_FRAGMENTS} fragments, or one field more than {MAX_SAME} times in one place"
        return GraphQLError(text, extensions={"code": "COMPLEXITY_LIMIT_EXCEEDED"})
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            fields, depth = cost.of(definition.selection_set)
            if fields > MAX_COMPLEXITY:
                text = f"operation has complexity {fields}, which exceeds the limit of {MAX_COMPLEXITY}"
                return GraphQLError(text, extensions={"code": "COMPLEXITY_LIMIT_EXCEEDED"})
            if depth > MAX_DEPTH:
                text = f"operation has depth {depth}, which exceeds the limit of {MAX_DEPTH}"
                return GraphQLError(text, extensions={"code": "DEPTH_LIMIT_EXCEEDED"})
    return None


def _repeats(selection: SelectionSetNode | None) -> int:
    """How often a response name stands in one selection set, at most, here and below; inline fragments belong to the set around them."""
    if selection is None:
        return 0
    names: Counter[str] = Counter()
    deeper = 0
    waiting: list[SelectionNode] = list(selection.selections)
    while waiting:
        node = waiting.pop()
        if isinstance(node, FieldNode):
            names[(node.alias or node.name).value] += 1
            deeper = max(deeper, _repeats(node.selection_set))
        elif isinstance(node, InlineFragmentNode):
            waiting += node.selection_set.selections
    return max(deeper, *names.values()) if names else deeper


class NoIntrospection(ValidationRule):
    """`__schema` and `__type` are refused; `__typename` works."""

    context: ValidationContext

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if node.name.value in ("__schema", "__type"):
            self.context.report_error(GraphQLError("introspection disabled", node))
