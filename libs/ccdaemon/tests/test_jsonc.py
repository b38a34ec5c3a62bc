import json
from pathlib import Path

import pytest
from ccdaemon.config.jsonc import Node, parse
from ccdaemon.config.types import Problem
from hypothesis import given
from hypothesis import strategies as st

F = Path("c.json")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def good(text: str) -> Node:
    node = parse(text, F)
    assert isinstance(node, Node), node
    return node


@given(VALUES, st.booleans(), st.sampled_from([None, 1, 4]))
def test_reads_all_json(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    expected = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    assert good(text).plain() == expected


@given(st.text(alphabet='{}[]",:/*\\ \n01-.eEtrufalsn\x00é', max_size=40))
def test_never_raises_and_agrees_with_json(text):
    node = parse(text, F)
    if isinstance(node, Problem):
        assert node.fatal and node.at is not None and node.at.line >= 1 and node.at.column >= 1 and node.text
        with pytest.raises(ValueError):
            json.loads(text)


def test_comments_and_trailing_commas():
    text = '// first\n{ /* a { */ "a": [1, 2,], // "b"\n "url": "http://x/*y*/", }\n/* end */'
    assert good(text).plain() == {"a": [1, 2], "url": "http://x/*y*/"}


def test_positions():
    node = good('\ufeff{\n  "aé": 1, "b":\n    [true]\n}')
    assert isinstance(node.value, dict)
    assert [(k, p.line, p.column) for k, p in node.keys.items()] == [("aé", 2, 3), ("b", 2, 12)]
    assert node.value["b"].value[0].at[1:] == (3, 6)


def test_last_of_repeated_keys_counts():
    node = good('{"a": 1,\n "a": 2}')
    assert node.plain() == {"a": 2}
    assert [(k, p.line) for k, p in node.repeated] == [("a", 1)]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "empty"),
        ('{"a": 1\n "b": 2}', 2, 2, "comma"),
        ('{"a" 1}', 1, 6, "colon"),
        ("{a: 1}", 1, 2, "key"),
        ('{"a": True}', 1, 7, "write true"),
        ('{"a": "x\n"}', 1, 7, "closing"),
        ('{"a": [1, 2}', 1, 12, "']'"),
        ('{"a": {\n"b": 1', 2, 7, "line 1, column 7"),
        ("{} {}", 1, 4, "after the end"),
        ('{"a": 01}', 1, 7, "no number"),
        ('{"a": 1.}', 1, 7, "no number"),
        ('{"a": 1e999}', 1, 7, "range"),
        ('{"a": "\\q"}', 1, 8, "escape"),
        ("/* x", 1, 1, "comment"),
        ("[" * 200, 1, 102, "nesting"),
        ("9" * 5000, 1, 1, "too long"),
        ('{"a": "\t"}', 1, 8, "control"),
    ],
)
def test_errors_name_place_and_remedy(text, line, column, words):
    problem = parse(text, F)
    assert isinstance(problem, Problem)
    assert problem.at is not None and problem.at[1:] == (line, column)
    assert words in str(problem)
