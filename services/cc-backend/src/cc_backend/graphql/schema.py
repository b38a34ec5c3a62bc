"""The executable schema: `schema.graphql` with a resolver for every field that is no attribute of what its parent resolved to."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from ariadne import make_executable_schema
from ariadne.utils import convert_camel_case_to_snake
from graphql import GraphQLObjectType, GraphQLSchema

from . import clusters, jobs, metrics, nodes, statistics
from .scalars import exact, scalars


def published() -> str:
    """The schema as everybody may read it."""
    return (files("cc_backend.graphql") / "schema.graphql").read_text(encoding="utf-8")


def make_schema() -> GraphQLSchema:
    bindables = [*scalars(), *jobs.bindables(), *metrics.bindables(), *nodes.bindables(), *statistics.bindables(), *clusters.bindables()]
    schema = make_executable_schema(published(), *bindables)
    exact(schema)
    for name, type_ in schema.type_map.items():
        if isinstance(type_, GraphQLObjectType) and not name.startswith("__") and type_ is not schema.query_type:
            for field_name, field in type_.fields.items():
                field.resolve = field.resolve or _attribute(field_name)
    return schema


def _attribute(name: str) -> Any:
    """camelCase field → snake_case attribute of a struct, or the key as it is of a dict."""
    attribute = convert_camel_case_to_snake(name)

    def resolve(parent: object, _: object) -> object:
        return parent.get(name) if isinstance(parent, dict) else getattr(parent, attribute)

    return resolve
