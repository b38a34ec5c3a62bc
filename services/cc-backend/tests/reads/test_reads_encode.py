"""Answers as bytes: arrays as shortest decimals of float32, in pieces."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from cc_backend.graphql.encode import VALUES, encode
from cc_backend.graphql.scalars import time_in, time_out
from graphql import GraphQLError


def whole(result):
    return b"".join(encode(result))


def test_values_are_the_shortest_decimals_that_give_the_same_float32():
    values = np.array([0.1, 0.004, 1e-9, 16777216, math.nan, math.inf, -0.5, 3.4e38], np.float32)
    body = whole({"data": values})
    assert body.startswith(b'{"data":[0.1,0.004,1e-9,16777216')
    decoded = json.loads(body)["data"]
    assert decoded[4] is decoded[5] is None
    kept = [v for v in decoded if v is not None]
    np.testing.assert_array_equal(np.array(kept, np.float32), values[np.isfinite(values)])


def test_arrays_stand_where_they_were():
    tree = {
        "errors": [{"message": '@"quoted" \\ text'}],
        "data": {"a": [{"x": np.zeros(2, np.float32)}, {"x": np.empty(0, np.float32)}], "b": "ü"},
    }
    assert json.loads(whole(tree)) == {"errors": [{"message": '@"quoted" \\ text'}], "data": {"a": [{"x": [0, 0]}, {"x": []}], "b": "ü"}}


def test_long_arrays_come_in_slices():
    values = np.arange(3 * VALUES + 1, dtype=np.float32)
    pieces = list(encode({"data": values}))
    assert max(map(len, pieces)) < 12 * VALUES
    assert json.loads(b"".join(pieces))["data"] == values.tolist()


def test_a_row_of_a_table_is_no_trouble():
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert json.loads(whole({"data": table[:, 0]}))["data"] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-10-09T08:53:20Z", 1_760_000_000),
        ("2025-10-09T10:53:20+02:00", 1_760_000_000),
        ("2025-10-09T08:53:20.999999999Z", 1_760_000_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times(text, seconds):
    assert time_in(text) == seconds
    if seconds:
        assert time_in(time_out(seconds)) == seconds
    else:
        assert time_out(seconds) is None


@pytest.mark.parametrize(
    "text", ["", "now", "1760000000", "2025-10-09", "2025-13-09T08:53:20Z", "2025-10-09T08:53:20", 5, None, "2025-10-09T25:00:00Z"]
)
def test_times_that_are_none(text):
    with pytest.raises(GraphQLError, match="RFC3339Nano"):
        time_in(text)
