import io
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from ccdaemon.config.report import check, reference
from ccdaemon.config.types import Duration, Position, Problem, Secret
from ccdaemon.errors import ConfigErrors


class Inner(msgspec.Struct, rename="kebab"):
    """How long what is kept."""

    strict: ClassVar[bool] = True
    keep_for: Annotated[Duration, msgspec.Meta(description="Kept | so long.", ge=1)] = Duration(172800)


class Outer(msgspec.Struct, rename="kebab"):
    addr: Annotated[str, msgspec.Meta(description="Where to listen.", extra={"aliases": ("address",)})]
    key: Secret = Secret("")
    kind: Literal["file", "s3"] = "file"
    hosts: list[str] = []
    on: bool = False
    retention: Inner | None = None


def test_reference_page():
    assert (
        reference(Outer, "Section `main`")
        == """\
## Section `main`

| Key | Type | Default | Meaning |
|---|---|---|---|
| `addr` | string | **required** | Where to listen. Also `address`. |
| `key` | string, secret |  |  |
| `kind` | `file` or `s3` | `file` |  |
| `hosts` | list of string |  |  |
| `on` | bool | false |  |
| `retention` | object |  |  |

### `retention`

How long what is kept.

Strict: an unknown key is an error.

| Key | Type | Default | Meaning |
|---|---|---|---|
| `keep-for` | duration | `48h0m0s` | Kept \\| so long. (at least 1) |
"""
    )


def test_check_config_prints_every_problem():
    at = Position(Path("c.json"), 1, 2)
    bad, odd = Problem("main.a", at, "wrong", "mend it"), Problem("main.b", at, "odd", "", fatal=False)

    def fails():
        raise ConfigErrors([bad], [odd])

    out = io.StringIO()
    assert check(fails, out, file=Path("c.json")) == 1
    assert out.getvalue() == "warning: c.json:1:2: main.b: odd\nc.json:1:2: main.a: wrong, mend it\nc.json: 1 mistake\n"
    out = io.StringIO()
    assert check(list, out, file=Path("c.json")) == 0 and out.getvalue() == "c.json: no mistakes\n"
