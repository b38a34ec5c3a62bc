"""The configuration of the collector: main file, included files, legacy layout.

    {"main": {"interval": "10s", "duration": "1s"},
     "sinks-file": "sinks.json", "collectors-file": "collectors.json", "router-file": "router.json", "receivers": {}}

Each key is a section; `<section>-file` names a file that holds the section, relative to the including file, then to the
working directory. The layout of old releases (paths as plain strings, `interval` and `duration` at top level) loads with a
warning. Plug-in sections stay nodes here; `plugins.py` makes them typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from ccdaemon.config.jsonc import Node
from ccdaemon.config.types import Duration, Problem
from ccdaemon.config.walk import Section, load
from ccmessage.processor.options import ProcessorOptions
from msgspec import Meta


class MainConfig(msgspec.Struct):
    interval: Annotated[Duration, Meta(description="Time between two rounds.", extra={"example": '"10s"'})]
    duration: Annotated[Duration, Meta(description="Time a measuring collector (likwid) may take; at most the interval.")] = Duration(0.0)
    phase_offset: Annotated[Duration, Meta(description="Rounds begin at multiples of the interval plus this.")] = Duration(0.0)
    state_dir: Annotated[str, Meta(description="Directory of spools; else $STATE_DIRECTORY, else ./var/cc-metric-collector.")] = ""
    metrics_address: Annotated[str, Meta(description="Loopback host:port of /metrics; empty: none.")] = ""

    def check(self) -> Iterator[tuple[str, str, str]]:
        """Rules between keys."""
        if self.interval <= 0:
            yield "interval", "must be greater than zero", 'for instance "10s"'
        elif not 0 <= self.duration <= self.interval:
            yield "duration", "must lie between zero and the interval", 'for instance "1s"'


class TagRule(msgspec.Struct):
    """Deprecated `add_tags` and `delete_tags`."""

    key: Annotated[str, Meta(description="Key of the tag.")]
    value: Annotated[str, Meta(description="Its value; without effect in delete_tags.")] = ""
    condition: Annotated[str, Meta(description="Selects messages; `*` = all.")] = msgspec.field(default="*", name="if")


class AggregateConfig(msgspec.Struct):
    """One of `interval_aggregates`."""

    name: Annotated[str, Meta(description="Name of the new metric.", min_length=1)]
    condition: Annotated[str, Meta(description="Selects messages.")] = msgspec.field(name="if")
    function: Annotated[str, Meta(description="Computes the value.")]
    tags: Annotated[dict[str, str], Meta(description="Tags of the new message; `<copy>` takes them from the matches.")] = {}
    meta: Annotated[dict[str, str], Meta(description="Meta data of the new message; `<copy>` likewise.")] = {}


class RouterConfig(msgspec.Struct):
    removed_keys: ClassVar[Mapping[str, str]] = {
        "manipulate_messages": "it never existed: write the rules into process_messages",
    }
    process_messages: Annotated[ProcessorOptions | None, Meta(description="Message processor of everything that passes.")] = None
    interval_timestamp: Annotated[
        bool | None,
        Meta(description="Collected messages get the time of their round (default true); true also restamps received ones."),
    ] = None
    hostname_tag: Annotated[str, Meta(description="Key of the tag that takes the host name.", min_length=1)] = "hostname"
    hostname: Annotated[str, Meta(description="Host name to use instead of the system's.")] = ""
    max_forward: Annotated[int, Meta(description="Accepted, at least 2; messages are handed over as whole lists.")] = 50
    num_cache_intervals: Annotated[int, Meta(description="Intervals kept for interval aggregates; 0 switches them off.", ge=0)] = 1
    interval_aggregates: Annotated[list[AggregateConfig], Meta(description="Metrics computed from those of an interval.")] = []
    add_tags: Annotated[list[TagRule], Meta(description="Deprecated: add_tags_if.")] = []
    delete_tags: Annotated[list[TagRule], Meta(description="Deprecated: delete_tags_if.", extra={"aliases": ("del_tags",)})] = []
    drop_metrics: Annotated[list[str], Meta(description="Deprecated: drop_messages.")] = []
    drop_metrics_if: Annotated[list[str], Meta(description="Deprecated: drop_messages_if.")] = []
    rename_metrics: Annotated[dict[str, str], Meta(description="Deprecated: rename_messages.")] = {}
    change_unit_prefix: Annotated[dict[str, str], Meta(description="Deprecated: metric name → prefix.")] = {}
    normalize_units: Annotated[
        bool | None, Meta(description="Deprecated place of normalize_units; default true.", extra={"aliases": ("normalize_metrics",)})
    ] = None


class Settings(msgspec.Struct):
    """What the files say. Plug-in sections: name → its node, typed later by `plugins`."""

    main: MainConfig
    router: RouterConfig
    sinks: Mapping[str, Node]
    collectors: Mapping[str, Node]
    receivers: Mapping[str, Node]
    warnings: list[Problem]
    router_node: Node | None = None  # for the places of bad rules


SECTIONS = {
    "main": Section(MainConfig, required=True, legacy_keys=("interval", "duration")),
    "router": Section(RouterConfig, required=True),
    "sinks": Section(dict[str, Node], required=True),
    "collectors": Section(dict[str, Node], required=True),
    "receivers": Section(dict[str, Node]),
}


def load_settings(path: Path) -> Settings:
    """Read the main file and what it includes. ConfigErrors with every mistake."""
    loaded = load(path, SECTIONS)
    got = loaded.sections
    return Settings(
        got["main"],
        got["router"],
        got["sinks"],
        got["collectors"],
        got["receivers"] or {},
        list(loaded.warnings),
        loaded.nodes.get("router"),
    )
