"""Keys that every sink and every receiver understands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from ccdaemon.config.types import Duration
from ccmessage.processor.options import ProcessorOptions
from msgspec import Meta


class SinkConfig(msgspec.Struct, kw_only=True):
    """Keys of every sink."""

    type: Annotated[str, Meta(description="Kind of the sink.")]
    process_messages: Annotated[ProcessorOptions | None, Meta(description="Message processor of this sink alone.")] = None
    meta_as_tags: Annotated[list[str], Meta(description="Meta data that are sent as tags of the same name.")] = []


class PushConfig(SinkConfig, kw_only=True):
    """Keys of every sink that sends batches to a peer."""

    flush_delay: Annotated[
        Duration, Meta(description="How long a batch collects after its first message; 0s: every hand-over at once.")
    ] = Duration(5.0)
    batch_size: Annotated[int, Meta(description="Largest number of lines in a batch.", ge=1)] = 20_000
    precision: Annotated[Literal["s", "ms", "us", "ns"], Meta(description="Unit of the timestamps on the wire.")] = "s"
    spool_max_size: Annotated[int, Meta(description="Bytes this sink may keep on disk while its peer is away; 0 = no spool.", ge=0)] = (
        1_000_000_000
    )


class ReceiverConfig(msgspec.Struct, kw_only=True):
    """Keys of every receiver."""

    type: Annotated[str, Meta(description="Kind of the receiver.")]
    process_messages: Annotated[ProcessorOptions | None, Meta(description="Message processor of this receiver alone.")] = None


def both_or_none(config: msgspec.Struct, first: str, second: str) -> Iterator[tuple[str, str, str]]:
    """A rule between two keys, for the method `check` of a configuration."""
    given, missing = (first, second) if getattr(config, first) else (second, first)
    if getattr(config, given) and not getattr(config, missing):
        yield given, f"{missing} is missing beside it", "give both or none"
