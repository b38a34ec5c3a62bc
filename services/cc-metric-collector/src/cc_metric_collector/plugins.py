"""From the nodes of the plug-in sections to classes with typed configurations, all problems at once.

A plug-in that cannot be made is a fatal problem for `-check-config`; the running collector leaves it out with one error line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from ccdaemon.config.jsonc import Node
from ccdaemon.config.types import Position, Problem
from ccdaemon.config.walk import convert
from ccmessage.processor import Processor, RuleError, RuleErrors

from .registry import UnknownPlugin, plugin

STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')


class Chosen(msgspec.Struct, frozen=True):
    """A plug-in that can be made: its name in the file, its class, its configuration."""

    name: str
    cls: Any
    config: Any


def choose(kind: str, nodes: Mapping[str, Node]) -> tuple[list[Chosen], list[Problem]]:
    """All plug-ins of a section, in the order of the file. `kind`: collectors, sinks, receivers.

    A collector is named by its key, sinks and receivers by their member `type`.
    """
    chosen: list[Chosen] = []
    problems: list[Problem] = []
    for name, node in nodes.items():
        at = f"{kind}.{name}"
        if node.value is None:
            node = Node({}, node.at)
        type_name = name if kind == "collectors" else type_of(node)
        if type_name is None:
            problems.append(Problem(at, node.at, "has no type", 'write "type": "http" or another one'))
            continue
        try:
            cls = plugin(kind, type_name)
        except UnknownPlugin as unknown:
            problems.append(Problem(at, node.at, str(unknown), "correct the name or remove it"))
            continue
        config, found = convert(node, cls.Config, at)
        problems += found
        if config is not None:
            broken = rule_problems(config, at, node)
            problems += broken
            if not broken:
                chosen.append(Chosen(name, cls, config))
    return chosen, problems


def type_of(node: Node) -> str | None:
    """Member `type` of a sink or receiver."""
    member = node.value.get("type") if isinstance(node.value, dict) else None
    return member.value if member is not None and isinstance(member.value, str) else None


def rule_problem(error: RuleError, at: str, node: Node | None) -> Problem:
    """A bad rule with its place in the file; `node` is what `at` names."""
    place = locate(node, error.path) if node is not None else None
    return Problem(f"{at}.{error.path}", place, error.text, error.remedy)


def locate(node: Node, path: str) -> Position:
    """Position of `add_tags_if[2].if` or `change_unit_prefix["name == 'x'"]` below a node: as deep as the path leads."""
    for quoted, index, key in STEP.findall(path):
        value = node.value
        if isinstance(value, list) and index and int(index) < len(value):
            node = value[int(index)]
        elif isinstance(value, dict) and (quoted or key) in value:
            node = value[quoted or key]
        else:
            break
    return node.at


def rule_problems(config: Any, at: str, node: Node) -> list[Problem]:
    """Bad rules in a plug-in's own `process_messages`."""
    options = getattr(config, "process_messages", None)
    if options is None:
        return []
    try:
        Processor.compile(options)
    except RuleErrors as errors:
        own = node.value.get("process_messages") if isinstance(node.value, dict) else None
        return [rule_problem(e, f"{at}.process_messages", own) for e in errors.errors]
    return []
