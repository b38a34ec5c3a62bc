"""Integers of the suite's formats, and defaults of fields that are always written.

msgspec's `omit_defaults` leaves out a plain default and an empty `list`, `dict` or `set`; what another factory makes is written.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

# Databases and the other programs of the suite hold these numbers in 64 and 32 bits; a larger one is a mistake of its sender.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


def empty_list() -> list[Any]:
    """An empty list that is written as `[]`."""
    return []


def null() -> None:
    """None that is written as `null`."""
    return
