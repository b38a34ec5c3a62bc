"""Defaults of fields that are always written.

msgspec's `omit_defaults` leaves out a plain default and an empty `list`, `dict` or `set`; what another factory makes is written.
"""

from __future__ import annotations

from typing import Any


def empty_list() -> list[Any]:
    """An empty list that is written as `[]`."""
    return []


def null() -> None:
    """None that is written as `null`."""
    return
