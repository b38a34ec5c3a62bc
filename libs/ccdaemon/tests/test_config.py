import enum
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from ccdaemon.config.jsonc import Node, parse
from ccdaemon.config.types import Bytes, Duration, Port, Secret
from ccdaemon.config.walk import Section, convert, load, load_flat
from ccdaemon.errors import ConfigErrors
from hypothesis import given
from hypothesis import strategies as st


class Mode(enum.StrEnum):
    DELETE = "delete"
    ARCHIVE = "archive"


class Cleanup(msgspec.Struct, rename="kebab"):
    mode: Mode = Mode.DELETE
    target_path: Path | None = None

    def check(self) -> Iterable[tuple[str, str, str]]:
        if self.mode is Mode.ARCHIVE and self.target_path is None:
            yield "mode", "archive needs a place", 'add "target-path"'


class Main(msgspec.Struct, rename="kebab"):
    removed_keys: ClassVar[Mapping[str, str]] = {"db-driver": "remove it, the database is SQLite"}
    addr: Annotated[str, msgspec.Meta(extra={"example": '"0.0.0.0:8080"'})]
    jwt_public_key: Annotated[Secret, msgspec.Meta(min_length=1)]
    interval: Annotated[Duration, msgspec.Meta(gt=0)] = Duration(60)
    user: Annotated[str, msgspec.Meta(extra={"strict": True})] = ""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64, extra={"aliases": ("num-workers",), "removed": ("threads",)})] = 4
    cleanup: Cleanup = msgspec.field(default_factory=Cleanup)
    port: Port = Port(4222)
    cap: Bytes = Bytes(0)
    kind: Literal["file", "s3", 3] = "file"
    hosts: list[str] = []
    ratio: float = 0.5
    deep: dict[str, dict[str, int]] = {}
    either: str | list[str] | None = None
    anything: Any = None


class Auth(msgspec.Struct, rename="kebab"):
    strict: ClassVar[bool] = True
    ldap: Cleanup | None = None


def node(text: str) -> Node:
    found = parse(text, Path("c.json"))
    assert isinstance(found, Node)
    return found


def made(text: str) -> Main:
    value, problems = convert(node(text), Main, "main")
    assert problems == [] and isinstance(value, Main), problems
    return value


def complaints(text: str, type_=Main) -> list[str]:
    return [("" if p.fatal else "warning ") + str(p) for p in convert(node(text), type_, "main")[1]]


BASE = '"addr": ":1", "jwt-public-key": "k"'


def test_every_type():
    main = made(
        '{"addr": ":1", "jwt-public-key": "k", "interval": "1m30s", "num-workers": 8, "cleanup": {"mode": "archive", "target-path": "/a"},'
        '"port": "4223", "cap": "1GiB", "kind": "s3", "hosts": ["a"], "ratio": 1, "deep": {"a": {"b": 1}}, "either": ["x"], "anything": {"a": null}}'
    )
    assert main.interval == 90 and str(main.interval) == "1m30s" and main.workers == 8
    assert main.cleanup == Cleanup(Mode.ARCHIVE, Path("/a"))
    assert (main.port, main.cap, main.kind, main.ratio, main.deep) == (4223, 2**30, "s3", 1.0, {"a": {"b": 1}})
    assert main.either == ["x"] and main.anything == {"a": None}
    assert made(f'{{{BASE}, "either": "x", "port": 1, "cap": "512MB", "kind": 3}}').cap == 512_000_000


def test_go_rules_for_keys_and_null():
    assert made(f'{{{BASE}, "Workers": 2, "INTERVAL": null, "cleanup": null, "either": null}}').workers == 2
    assert made(f'{{{BASE}, "workers": 3, "Workers": 2}}').workers == 3  # the exact key is preferred
    assert made(f'{{{BASE}, "num-workers": 5, "WORKERS": 2}}').workers == 2
    value, problems = convert(node(f'{{{BASE}, "workers": 3, "workers": 5}}'), Main, "main")
    assert value.workers == 5 and "stands again" in str(problems[0]) and not problems[0].fatal


TEN = """{
  // ten mistakes
  "addr": 8080,
  "interval": "10",
  "usr": "x",
  "workers": 65,
  "cleanup": { "mode": "arcive", "target-path": 5 },
  "port": "http",
  "hosts": ["a", 1, null],
  "deep": { "a": { "b": 1.0 } }
}
"""


def test_a_configuration_with_ten_mistakes_names_all_ten_and_the_missing_key(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"main-file": "main.json"}')
    (tmp_path / "main.json").write_text(TEN)
    with pytest.raises(ConfigErrors) as e:
        load(file, {"main": Section(Main, required=True)})
    got = [(p.at.line, p.at.column, p.path) for p in e.value.problems]
    assert got == [
        (1, 1, "main.jwt-public-key"),
        (3, 11, "main.addr"),
        (4, 15, "main.interval"),
        (5, 3, "main.usr"),
        (6, 14, "main.workers"),
        (7, 24, "main.cleanup.mode"),
        (7, 49, "main.cleanup.target-path"),
        (8, 11, "main.port"),
        (9, 18, "main.hosts[1]"),
        (9, 21, "main.hosts[2]"),
        (10, 25, "main.deep.a.b"),
    ]
    lines = str(e.value).splitlines()
    assert len(lines) == 11 and all(line.startswith(f"{tmp_path}/main.json:") for line in lines)
    assert '"arcive" is none of "delete", "archive", did you mean "archive"?' in lines[5]
    assert "out of range: must be at most 64" in lines[4]
    assert 'is missing, add "jwt-public-key"' in lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{{{BASE}, "workrs": 1}}', 'warning c.json:1:39: main.workrs: unknown key, ignored, did you mean "workers"?'),
        (f'{{{BASE}, "zzz": 1}}', "warning c.json:1:39: main.zzz: unknown key, ignored, remove it"),
        (f'{{{BASE}, "usre": "x"}}', 'c.json:1:39: main.usre: unknown key, did you mean "user"?'),
        (f'{{{BASE}, "jwt-publickey": "x"}}', 'c.json:1:39: main.jwt-publickey: unknown key, did you mean "jwt-public-key"?'),
        (f'{{{BASE}, "threads": 1}}', 'warning c.json:1:39: main.threads: this key has no effect any more, use "workers"'),
        (
            f'{{{BASE}, "db-driver": 1}}',
            "warning c.json:1:39: main.db-driver: this key has no effect any more, remove it, the database is SQLite",
        ),
        (f'{{{BASE}, "interval": "0"}}', "c.json:1:51: main.interval: 0s is out of range: must be more than 0s"),
        (f'{{{BASE}, "workers": "2"}}', "c.json:1:50: main.workers: expected a whole number, not a string, without quotes"),
        (f'{{{BASE}, "port": 70000}}', "c.json:1:47: main.port: 70000 is no port, use a number from 1 to 65535"),
        (f'{{{BASE}, "cleanup": {{"mode": "archive"}}}}', 'c.json:1:59: main.cleanup.mode: archive needs a place, add "target-path"'),
        ('{"addr": ":1", "jwt-public-key": ""}', "c.json:1:34: main.jwt-public-key: must not be empty"),
        ("[]", "c.json:1:1: main: expected an object, not a list"),
    ],
)
def test_each_mistake_has_place_and_remedy(text, expected):
    assert complaints(text) == [expected]


def test_strict_reaches_down():
    assert complaints('{"ldap": {"xyz": 1}}', Auth) == ["c.json:1:11: main.ldap.xyz: unknown key, remove it"]


def test_secrets_never_show_in_problems_or_structs():
    main = made(BASE.join("{}").replace('"k"', '"hunter2"'))
    assert "hunter2" not in repr(main) and "hunter2" not in f"{main.jwt_public_key}" and main.jwt_public_key.reveal() == "hunter2"
    assert "hunter2" not in "".join(complaints('{"addr": 1, "jwt-public-key": "hunter2"}'))


SECTIONS = {"main": Section(Main, required=True), "ui": Section(Auth, missing_file_is_warning=True), "metric-store": Section(Node)}


def written(tmp_path, text, **others):
    for name, content in others.items():
        (tmp_path / f"{name}.json").write_text(content)
    (tmp_path / "config.json").write_text(text)
    return tmp_path / "config.json"


def test_pitfall_include_of_a_section_with_a_dash_and_beside_the_including_file(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    Path("store.json").write_text('{"where": "cwd"}')
    (tmp_path / "cwd" / "main.json").write_text("{broken")
    path = written(tmp_path, '{"main-file": "main.json", "metric-store-file": "store.json"}', main=f"{{{BASE}}}")
    loaded = load(path, SECTIONS)
    assert loaded.sections["main"].addr == ":1"  # beside the including file first
    assert loaded.sections["metric-store"].plain() == {"where": "cwd"}  # then the working directory
    assert loaded.sections["ui"] is None and loaded.warnings == []


def test_pitfall_missing_include_is_an_error_ui_file_a_warning(tmp_path):
    path = written(tmp_path, f'{{"main": {{{BASE}}}, "ui-file": "ui-config.json"}}')
    loaded = load(path, SECTIONS)
    assert loaded.sections["ui"] is None
    assert "ui-config.json" in str(loaded.warnings[0]) and "defaults" in str(loaded.warnings[0])
    path = written(tmp_path, f'{{"main": {{{BASE}}}, "metric-store-file": "gone.json"}}')
    with pytest.raises(ConfigErrors, match=r"config.json:1:\d+: metric-store-file: there is no .*gone.json"):
        load(path, SECTIONS)


def test_pitfall_section_and_its_file_together_are_an_error(tmp_path):
    path = written(tmp_path, f'{{"main": {{{BASE}}}, "main-file": "m.json"}}', m=f"{{{BASE}}}")
    with pytest.raises(ConfigErrors, match='main-file: "main" gives the same section'):
        load(path, SECTIONS)


def test_problems_of_all_files_come_together_with_warnings_apart(tmp_path):
    path = written(tmp_path, '{"main-file": "m.json", "ui-file": 5, "mian": {}, "addr": "x"}', m='{"addr": 1,\n "x": 1}')
    with pytest.raises(ConfigErrors) as e:
        load(path, SECTIONS)
    assert [p.path for p in e.value.problems] == ["ui-file", "main.jwt-public-key", "main.addr"]
    warnings = "\n".join(map(str, e.value.warnings))
    assert 'did you mean "main"?' in warnings and 'it belongs into the section "main"' in warnings and "main.x: unknown key" in warnings


def test_syntax_error_in_an_include_names_that_file(tmp_path):
    path = written(tmp_path, '{"main-file": "m.json"}', m='{"addr": 1\n "x": 1}')
    with pytest.raises(ConfigErrors, match=r"m\.json:2:2: main-file: .* comma"):
        load(path, SECTIONS)


def test_old_layout_is_taken_with_warnings(tmp_path):
    class M(msgspec.Struct):
        interval: Duration

    path = written(tmp_path, '{"interval": "10s", "sinks": "s.json"}', s='{"a": 1}')
    loaded = load(path, {"main": Section(M, required=True, legacy_keys=("interval",)), "sinks": Section(Node)})
    assert loaded.sections["main"].interval == 10 and loaded.sections["sinks"].plain() == {"a": 1}
    assert len(loaded.warnings) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), (b"\xff\xfe{", "UTF-8"), (b"", "empty"), (b"[]", "expected an object"), (b"{}", "missing")],
)
def test_unusable_main_files(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigErrors, match=words):
        load(tmp_path / "config.json", SECTIONS)


def test_flat_file(tmp_path):
    path = written(tmp_path, f'{{{BASE}, "x": 1}}')
    main, warnings = load_flat(path, Main)
    assert main.addr == ":1" and len(warnings) == 1


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("48h", 172800, "48h0m0s"),
        ("1m30s", 90, "1m30s"),
        ("1h30m", 5400, "1h30m0s"),
        ("1.5s", 1.5, "1.5s"),
        ("250ms", 0.25, "250ms"),
        ("1.s", 1, "1s"),
        (".5s", 0.5, "500ms"),
        ("-1.5h", -5400, "-1h30m0s"),
        ("+10us", 1e-5, "10µs"),
        ("10µs", 1e-5, "10µs"),
        ("10μs", 1e-5, "10µs"),
        ("0", 0, "0s"),
        ("-0", 0, "0s"),
        ("3ns", 3e-9, "3ns"),
    ],
)
def test_durations(text, seconds, shown):
    assert Duration.parse(text) == pytest.approx(seconds) and str(Duration.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "10", "1d", "1 h", "s", ".s", "h1", "+", "1h-3m", "9999999h", "1h 3m", "٣s"])
def test_bad_durations(text):
    with pytest.raises(ValueError):
        Duration.parse(text)


@given(st.integers(-(2**53), 2**53))
def test_durations_survive_writing(ns):
    assert Duration.parse(str(Duration(ns / 1e9))) == pytest.approx(ns / 1e9, rel=1e-9)


@pytest.mark.parametrize("bad", ["1XB", "", "-1", "1e3", -1, 2**70])
def test_bad_sizes(bad):
    with pytest.raises(ValueError):
        Bytes.parse(bad)
