"""Options of a message processor, as `process_messages` has them in the configuration (messages-and-lib 5.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

STAGES = (
    "drop_by_name", "drop_by_type", "drop_if", "add_tag", "delete_tag", "move_tag_to_meta", "move_tag_to_fields", "add_meta",
    "delete_meta", "move_meta_to_tags", "move_meta_to_fields", "add_field", "delete_field", "move_field_to_tags",
    "move_field_to_meta", "rename", "rename_if", "change_unit_prefix", "normalize_unit",
)  # fmt: skip
"""Names for `stage_order`, in the default order."""


class SetRule(msgspec.Struct, kw_only=True, frozen=True):
    """Set or move `key`; when moving, an empty `value` is the same key."""

    key: Annotated[str, Meta(description="Key that is set, or moved away.")]
    value: Annotated[str, Meta(description="Value that is set, or the key it moves to (empty: the same).")] = ""
    condition: Annotated[str, Meta(description="Condition; `true` for always.")] = msgspec.field(name="if")


class DeleteRule(msgspec.Struct, kw_only=True, frozen=True):
    key: Annotated[str, Meta(description="Key that is removed.")]
    condition: Annotated[str, Meta(description="Condition; `true` for always.")] = msgspec.field(name="if")


class ProcessorOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Rules, applied stage by stage; inside a stage in the order of the file."""

    stage_order: Annotated[list[str], Meta(description="Stages to run, in this order; empty: all, in the default order.")] = []
    drop_messages: Annotated[list[str], Meta(description="Drop messages of exactly these names.")] = []
    drop_by_message_type: Annotated[list[str], Meta(description="Drop messages of these kinds: metric, event, control, log.")] = []
    drop_messages_if: Annotated[list[str], Meta(description="Drop when any of these conditions holds.")] = []
    add_tags_if: Annotated[list[SetRule], Meta(description="Set a tag.")] = []
    delete_tags_if: Annotated[list[DeleteRule], Meta(description="Remove a tag.")] = []
    move_tag_to_meta_if: Annotated[list[SetRule], Meta(description="Move a tag to the meta data.")] = []
    move_tag_to_field_if: Annotated[list[SetRule], Meta(description="Move a tag to the fields.")] = []
    add_meta_if: Annotated[list[SetRule], Meta(description="Set a meta entry.")] = []
    delete_meta_if: Annotated[list[DeleteRule], Meta(description="Remove a meta entry.")] = []
    move_meta_to_tag_if: Annotated[list[SetRule], Meta(description="Move a meta entry to the tags.")] = []
    move_meta_to_field_if: Annotated[list[SetRule], Meta(description="Move a meta entry to the fields.")] = []
    add_field_if: Annotated[list[SetRule], Meta(description="Set a field; the value is a string.")] = []
    delete_field_if: Annotated[list[DeleteRule], Meta(description="Remove a field; value, event, log and control stay.")] = []
    move_field_to_tag_if: Annotated[list[SetRule], Meta(description="Move a field to the tags, as text.")] = []
    move_field_to_meta_if: Annotated[list[SetRule], Meta(description="Move a field to the meta data, as text.")] = []
    rename_messages: Annotated[dict[str, str], Meta(description="Old name → new name; the old one stays as meta `oldname`.")] = {}
    rename_messages_if: Annotated[dict[str, str], Meta(description="Condition → new name.")] = {}
    change_unit_prefix: Annotated[dict[str, str], Meta(description="Condition → unit prefix; the value is converted.")] = {}
    normalize_units: Annotated[bool | None, Meta(description="Write units in their short normal form (`kByte` → `KB`).")] = None
    add_base_env: Annotated[dict[str, Any], Meta(description="Constants for the conditions of this processor.")] = {}


class LegacyRule(Protocol):
    """An entry of the deprecated `add_tags` and `delete_tags`."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def condition(self) -> str: ...


def with_router_options(
    process: ProcessorOptions | None,
    *,
    add_tags: Sequence[LegacyRule] = (),
    delete_tags: Sequence[LegacyRule] = (),
    drop_metrics: Sequence[str] = (),
    drop_metrics_if: Sequence[str] = (),
    rename_metrics: Mapping[str, str] | None = None,
    change_unit_prefix: Mapping[str, str] | None = None,
    normalize_units: bool | None = None,
) -> ProcessorOptions:
    """The router's deprecated keys appended to `process_messages` (messages-and-lib 5.7, metric-collector 5.2).

    normalize_units: what process_messages says, else the old key, else true (design T1).
    """
    base = ProcessorOptions() if process is None else process
    explicit = base.normalize_units if base.normalize_units is not None else normalize_units
    return msgspec.structs.replace(
        base,
        drop_messages=[*base.drop_messages, *drop_metrics],
        drop_messages_if=[*base.drop_messages_if, *drop_metrics_if],
        add_tags_if=[*base.add_tags_if, *(SetRule(key=r.key, value=r.value, condition=_always(r.condition)) for r in add_tags)],
        delete_tags_if=[*base.delete_tags_if, *(DeleteRule(key=r.key, condition=_always(r.condition)) for r in delete_tags)],
        rename_messages={**(rename_metrics or {}), **base.rename_messages},
        change_unit_prefix={
            **base.change_unit_prefix,
            **{f"name == {_quoted(name)}": prefix for name, prefix in (change_unit_prefix or {}).items()},
        },
        normalize_units=True if explicit is None else explicit,
    )


def _always(condition: str) -> str:
    return "true" if condition == "*" else condition


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
