"""Node states: what the adapter reports, and how several words of a scheduler become one state."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from .fields import Int64
from .jsonin import decode


class NodeState(StrEnum):
    """Scheduler states of the backend."""

    ALLOCATED = "allocated"
    RESERVED = "reserved"
    IDLE = "idle"
    MIXED = "mixed"
    DOWN = "down"
    UNKNOWN = "unknown"


class HealthState(StrEnum):
    """Monitoring states."""

    FULL = "full"
    PARTIAL = "partial"
    FAILED = "failed"


class NodePayload(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One node of a report. memoryAllocated: MB."""

    hostname: str = ""
    states: list[str] = []
    cpus_allocated: Int64 = 0
    memory_allocated: Int64 = 0
    gpus_allocated: Int64 = 0
    jobs_running: Int64 = 0


class NodeStates(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Body of /api/nodestate/ and of the NATS event `nodestate`; strict."""

    cluster: str = ""
    nodes: list[NodePayload] = []


def decode_node_states(body: bytes) -> NodeStates:
    """BodyError (ccschema.jsonin) for anything else, unknown keys included."""
    return decode(body, NodeStates, strict=True)


def reduce_states(words: Iterable[str]) -> NodeState:
    """One state from a scheduler's set of words (any case), by first match: allocated; reserved; down (also with idle); idle;
    mixed; else unknown (backend-api 10.1)."""
    present = {word.lower() for word in words}
    for state in (NodeState.ALLOCATED, NodeState.RESERVED, NodeState.DOWN, NodeState.IDLE, NodeState.MIXED):
        if state in present:
            return state
    return NodeState.UNKNOWN
