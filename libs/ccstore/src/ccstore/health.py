"""Is a host's data fresh? (metric-store 7)"""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["full", "partial", "failed"]


class Health(NamedTuple):
    """details: JSON `{"degraded":[…],"missing":[…]}`, "" for an unknown host."""

    state: State
    details: str
