"""Documents of the archive as bytes: what `ccschema.archive` writes, and changes to a document that is there already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ccschema.archive import DocumentError
from ccschema.jobs import Tag
from ccschema.jsonin import BodyError, first_value


def edited_meta(document: bytes, tags: Sequence[Tag], metadata: Mapping[str, str]) -> bytes:
    """A `meta.json` with other tags and `metaData`; every other key stays, also those this version does not know.

    Tags keep their scope and have id 0: a database id means nothing in the archive. DocumentError.
    """
    try:
        tree: Any = first_value(document)
    except BodyError as e:
        raise DocumentError(f"meta document: {e}") from None
    if not isinstance(tree, dict):
        raise DocumentError("meta document: expected an object")
    tree["tags"] = [{"type": tag.type, "name": tag.name, "scope": tag.scope, "id": 0} for tag in tags]
    if not tags:
        del tree["tags"]
    tree["metaData"] = dict(metadata)
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
