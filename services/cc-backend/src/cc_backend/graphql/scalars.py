"""Scalars of the schema, and the executable schema that is made of the published one.

Three types differ inside: `Int` takes 64 bits, `ID` keeps numbers as numbers, and `[NullableFloat!]!` is one value, a numpy array that goes to the
encoder as it is. Nobody who reads the schema sees a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from ariadne import ScalarType
from ccschema.jobs import JobState
from ccschema.scopes import Scope
from graphql import (
    GraphQLError,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLType,
    IntValueNode,
    StringValueNode,
    ValueNode,
)

LONG: Final = 1 << 63
TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)| \d\d:\d\d:\d\d)")
SERIES: Final = "[NullableFloat!]!"


# ---- Int and ID


def _int_out(value: object) -> int:
    number = int(value) if isinstance(value, int | float) and value == int(value) else None
    if number is None or not -LONG <= number < LONG:
        raise GraphQLError(f"Int cannot represent {value!r}")
    return int(number)


def _int_in(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not -LONG <= value < LONG:
        raise GraphQLError(f"Int cannot represent {value!r}")
    return int(value)


def _int_literal(node: ValueNode, _variables: object = None) -> int:
    if not isinstance(node, IntValueNode):
        raise GraphQLError("Int cannot represent a value that is no integer", node)
    return _int_in(int(node.value))


def _id_out(value: object) -> int | str:
    return value if isinstance(value, int) else str(value)


def _id_in(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise GraphQLError(f"ID cannot represent {value!r}")
    return value


def _id_literal(node: ValueNode, _variables: object = None) -> str:
    if not isinstance(node, IntValueNode | StringValueNode):
        raise GraphQLError("ID cannot represent a value that is neither text nor number", node)
    return node.value


INT: Final = GraphQLScalarType("Int64", serialize=_int_out, parse_value=_int_in, parse_literal=_int_literal)
ID: Final = GraphQLScalarType("Identifier", serialize=_id_out, parse_value=_id_in, parse_literal=_id_literal)


# The library makes no scalars of these names, but takes them: error texts say what the schema says.
INT.name, ID.name = "Int", "ID"


def _series_out(value: object) -> np.ndarray[Any, Any]:
    if not isinstance(value, np.ndarray):
        raise GraphQLError("series data is no array")
    return value


NUMBERS: Final = GraphQLScalarType("NullableFloat", serialize=_series_out)


def exact(schema: GraphQLSchema) -> None:
    """Put our Int, ID and series in place of the library's, in every field and argument."""
    for name, type_ in schema.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(type_, GraphQLObjectType):
            for field in type_.fields.values():
                field.type = GraphQLNonNull(NUMBERS) if str(field.type) == SERIES else _replaced(field.type)
                for argument in field.args.values():
                    argument.type = _replaced(argument.type)
        elif isinstance(type_, GraphQLInputObjectType):
            for member in type_.fields.values():
                member.type = _replaced(member.type)
    schema.type_map |= {"Int": INT, "ID": ID}


def _replaced(type_: GraphQLType) -> Any:
    if isinstance(type_, GraphQLNonNull):
        return GraphQLNonNull(_replaced(type_.of_type))
    if isinstance(type_, GraphQLList):
        return GraphQLList(_replaced(type_.of_type))
    return {id(GraphQLInt): INT, id(GraphQLID): ID}.get(id(type_), type_)


# ---- Time


def time_out(seconds: int) -> str | None:
    """RFC 3339 in the server's zone; None for 0."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat().replace("+00:00", "Z") if seconds else None


def time_in(text: object) -> int:
    """Seconds since the epoch, fractions cut; texts without a zone are in the server's."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        raise GraphQLError("time should be RFC3339Nano formatted string")
    # Python reads at most six digits of a fraction, and they are cut anyway.
    whole = re.sub(r"\.\d+", "", text)
    try:
        return int(datetime.fromisoformat(whole).timestamp())
    except (ValueError, OverflowError, OSError) as e:
        raise GraphQLError("time should be RFC3339Nano formatted string") from e


# ---- words


def _word(known: Callable[[str], object | None], complaint: str) -> Callable[[object], object]:
    def parse(value: object) -> object:
        found = known(value) if isinstance(value, str) else None
        if found is None:
            raise GraphQLError(f"{value!r} {complaint}")
        return found

    return parse


def scalars() -> list[ScalarType]:
    """Bindables of all scalars of the schema."""
    scope = _word(Scope.of, "is not a valid MetricScope")
    state = _word(JobState.of, "invalid job state")
    return [
        ScalarType("Time", serializer=time_out, value_parser=time_in),
        ScalarType("MetricScope", serializer=str, value_parser=scope),
        ScalarType("JobState", serializer=str, value_parser=state),
        ScalarType("Any", serializer=lambda value: value),
        ScalarType("NullableFloat"),
        ScalarType("SchedulerState", serializer=str),
        ScalarType("MonitoringState", serializer=str),
    ]
