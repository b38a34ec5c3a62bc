import pytest
from ccdaemon.env import load_env, parse_env
from ccdaemon.errors import InputError, OperatorError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("A: b\nexport B = c ", {"A": "b", "B": "c"}),
        ("# x\n\n  # y\nA=b#c # d", {"A": "b#c"}),
        ("A=", {"A": ""}),
        ("A=#x", {"A": ""}),
        ("A='x $B \\n #'", {"A": "x $B \\n #"}),
        ('A="x\\ny\\r\\"\\\\z\\q"', {"A": 'x\ny\r"\\zq'}),
        ('A="one\ntwo" # c\nB=1', {"A": "one\ntwo", "B": "1"}),
        ("A=1\nB=$A-${A}\nC='$A'\nD=\"${A}\"\nE=\\$A\nF=$UNKNOWN", {"A": "1", "B": "1-1", "C": "$A", "D": "1", "E": "$A", "F": ""}),
        ('D="\\$A"', {"D": "$A"}),
        ('JWT_PRIVATE_KEY="dGVzdA=="\r\nX=a=b\r\n', {"JWT_PRIVATE_KEY": "dGVzdA==", "X": "a=b"}),
    ],
)
def test_syntax(text, expected):
    assert parse_env(text) == expected


@pytest.mark.parametrize(("text", "line"), [("A", 1), ("A=1\n1B=2", 2), ("A=1\n\nB='x", 3), ('A="x" y', 1), ("A-B=1", 1)])
def test_mistakes_name_the_line_and_show_no_value(text, line):
    with pytest.raises(InputError) as e:
        parse_env(text.replace("x", "hunter2"))
    assert e.value.place == str(line) and "hunter2" not in str(e.value)


def test_t10_pitfall_none_is_fine_working_directory_first_then_beside_the_program_link_not_resolved(tmp_path, monkeypatch):
    for name in ("cwd", "bin", "real"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "cc-backend").touch()
    (tmp_path / "real" / ".env").write_text("WHERE=real\n")
    program = tmp_path / "bin" / "cc-backend"
    program.symlink_to(tmp_path / "real" / "cc-backend")
    monkeypatch.chdir(tmp_path / "cwd")
    environ = {"SET": "before"}
    assert load_env(program, environ) is None and environ == {"SET": "before"}
    (tmp_path / "bin" / ".env").write_text("WHERE=bin\nSET=file\n")
    assert load_env(program, environ) == tmp_path / "bin" / ".env"
    assert environ == {"SET": "before", "WHERE": "bin"}  # what is set already wins
    (tmp_path / "cwd" / ".env").write_text("WHERE=cwd\n")
    environ = {}
    assert str(load_env(program, environ)) == ".env" and environ == {"WHERE": "cwd"}
    (tmp_path / "cwd" / ".env").write_text("A=1\nB 2\n")
    with pytest.raises(OperatorError, match=r"\.env:2: "):
        load_env(program, {})
