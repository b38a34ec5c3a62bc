from typing import Annotated

import msgspec
import pytest
from ccdaemon.config.types import Duration
from ccdaemon.flags import parse_flags


class Cli(msgspec.Struct):
    config: Annotated[str, msgspec.Meta(description="main configuration file")] = "./config.json"
    check_config: Annotated[bool, msgspec.Meta(description="check and exit")] = False
    debug: int = 0
    wait: Duration = Duration(0)
    add_user: str | None = None
    args: tuple[str, ...] = ()


def parse(*argv):
    return parse_flags(Cli, argv, prog="cc-x", version="cc-x 1.0", about="About.")


@pytest.mark.parametrize("argv", [("-config", "x"), ("--config", "x"), ("-config=x",), ("--config=x",), ("-config", "y", "-config=x")])
def test_both_forms_of_value_and_dash(argv):
    assert parse(*argv).config == "x"


def test_bool_takes_no_separate_value_and_parsing_stops_at_a_word():
    got = parse("-check-config", "false", "-config", "x")
    assert got.check_config and got.config == "./config.json" and got.args == ("false", "-config", "x")
    assert not parse("-check-config=false").check_config
    assert parse("-debug", "-3", "--", "-x").args == ("-x",)
    assert parse("-wait=1m30s", "-add-user", "demo:admin:demo") == Cli(wait=Duration(90), add_user="demo:admin:demo")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-config"], "flag needs an argument: -config"),
        (["-debug", "x"], 'invalid int value "x" for flag -debug'),
        (["-check-config=maybe"], "invalid boolean value"),
        (["---config"], "bad flag syntax"),
    ],
)
def test_wrong_use_exits_2_with_usage_on_stderr(argv, words, capsys):
    with pytest.raises(SystemExit) as e:
        parse(*argv)
    out, err = capsys.readouterr()
    assert e.value.code == 2 and out == "" and words in err and "Usage of cc-x:" in err


@pytest.mark.parametrize("flag", ["-h", "--help", "-help"])
def test_help_exits_0_with_go_shaped_usage(flag, capsys):
    with pytest.raises(SystemExit) as e:
        parse(flag)
    err = capsys.readouterr().err
    assert e.value.code == 0
    assert err.startswith("Usage of cc-x:\n")
    assert '  -config string\n    \tmain configuration file (default "./config.json")\n' in err
    assert "  -check-config\n    \tcheck and exit\n" in err


def test_version_on_stdout(capsys):
    with pytest.raises(SystemExit) as e:
        parse("-version")
    assert e.value.code == 0 and capsys.readouterr().out == "cc-x 1.0\n"
