import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from ccdaemon.app import Application, Address
from ccdaemon.errors import OperatorError
from ccdaemon.log import make_log
app = Application("t", log=make_log("t"))
sock, = app.bind([Address("127.0.0.1", 0)])
try:
    app.drop(*sys.argv[1:3])
except OperatorError as error:
    print("ERROR", error)
    sys.exit(1)
print(os.getresuid(), os.getresgid(), os.getgroups())
for f in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: open("/etc/shadow")):
    try: f(); print("REGAINED")
    except PermissionError: pass
app.drop(*sys.argv[1:3])
"""


def run(to_user, to_group, more=""):
    return subprocess.run([sys.executable, "-c", CODE + more, to_user, to_group], capture_output=True, text=True, timeout=30)


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@root
def test_pitfall_user_and_group_in_the_right_order_and_no_group_of_root_left():
    result = run("nobody", "daemon")
    assert result.stdout == "(65534, 65534, 65534) (1, 1, 1) [1]\n", result


@root
def test_group_defaults_to_the_users():
    assert "(65534, 65534, 65534) (65534, 65534, 65534) [65534]" in run("nobody", "").stdout


@root
@pytest.mark.parametrize(("user", "group", "words"), [("no-such", "", "no user 'no-such'"), ("nobody", "no-such", "no group 'no-such'")])
def test_unknown_names(user, group, words):
    result = run(user, group)
    assert result.returncode == 1 and words in result.stdout


@root
def test_without_root_it_says_so_and_the_own_user_is_fine():
    # The code itself drops to its user a second time at its end, which is nothing; then it asks for another one.
    result = run("nobody", "nogroup", more="\napp.drop('nobody', '')\ntry: app.drop('daemon', '')\nexcept OperatorError as e: print(e)")
    assert result.returncode == 0 and "only root can become user daemon: start as root" in result.stdout


def test_empty_is_nothing():
    from ccdaemon.privileges import drop

    before = os.getresuid(), os.getresgid(), os.getgroups()
    drop("", None)
    assert before == (os.getresuid(), os.getresgid(), os.getgroups())
