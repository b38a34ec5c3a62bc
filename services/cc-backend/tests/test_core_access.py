"""The matrix of rights, cell by cell against backend-api 7.2, and the combination rules."""

from __future__ import annotations

import pytest
from cc_backend.access import (
    MATRIX,
    SYSTEM,
    TAG_MATRIX,
    Denied,
    Identity,
    Right,
    Role,
    Standing,
    may,
    require,
    roles_of,
    standing,
    visibility,
)


def who(*roles, name="anna", projects=(), session=True):
    return Identity(username=name, roles=frozenset(Role(r) for r in roles), projects=frozenset(projects), session=session)


@pytest.mark.parametrize(
    ("roles", "is_"),
    [
        ((), Standing.NOBODY),
        (("api",), Standing.API),
        (("user",), Standing.USER),
        (("user", "api"), Standing.USER),
        (("manager", "user"), Standing.MANAGER),
        (("support", "manager"), Standing.SUPPORT),
        (("admin", "user"), Standing.ADMIN),
    ],
)
def test_standing_is_the_highest_role(roles, is_):
    assert standing(who(*roles)) is is_


def test_roles_are_a_set_and_unknown_names_count_for_nothing():
    assert roles_of(["api", "API", "api", "root"]) == {Role.API}
    assert standing(who()) is Standing.NOBODY


# right → who of (api only, user, manager, support, admin, user+api, admin+api), all in a session and about somebody else
EXPECTED = {
    Right.READ_JOBS: "yyyyyyy",
    Right.READ_NODES: "nnnyyny",
    Right.READ_RESTRICTED: "ynnyyny",
    Right.LOOK_UP_USER: "nnyyyny",
    Right.SEARCH_USERS: "nnyyyny",
    Right.WRITE_JOBS: "ynnnnny",
    Right.USE_API: "ynnnnny",
    Right.USE_USERAPI: "ynnnnyy",
    Right.USE_STORE: "ynnnnny",  # pitfall: user+api must not write metrics
    Right.READ_CLUSTERS: "ynnnnyy",
    Right.LIST_USERS: "nnnnnny",
    Right.ADMINISTER: "nnnnyny",
    Right.ISSUE_TOKEN: "nnnnyny",
    Right.OWN_SETTINGS: "yyyyyyy",
}
CALLERS = [("api",), ("user",), ("manager",), ("support",), ("admin",), ("user", "api"), ("admin", "api")]


def test_every_right_is_expected():
    assert set(MATRIX) == set(EXPECTED)
    assert set(MATRIX) | set(TAG_MATRIX) == set(Right)


@pytest.mark.parametrize("right", EXPECTED)
def test_matrix(right):
    assert "".join("y" if may(who(*roles), right, "somebody") else "n" for roles in CALLERS) == EXPECTED[right]
    assert not may(None, right)
    assert not may(who(), right)


TAGS = {
    (Right.READ_TAG, "global"): "yyyyyyy",
    (Right.READ_TAG, "admin"): "nnnyyny",
    (Right.WRITE_TAG, "global"): "ynnyyny",
    (Right.WRITE_TAG, "admin"): "ynnnyny",
    (Right.DELETE_TAG, "global"): "ynnnyny",
    (Right.DELETE_TAG, "admin"): "ynnnyny",
    (Right.READ_TAG, "anna"): "yyyyyyy",
    (Right.WRITE_TAG, "anna"): "yyyyyyy",
    (Right.READ_TAG, "ben"): "nnnnnnn",
    (Right.WRITE_TAG, "ben"): "nnnnnnn",
    (Right.DELETE_TAG, "ben"): "nnnnnnn",
}


@pytest.mark.parametrize(("right", "scope"), TAGS)
def test_tag_matrix(right, scope):
    assert "".join("y" if may(who(*roles), right, scope) else "n" for roles in CALLERS) == TAGS[right, scope]


def test_a_token_is_no_session():
    for right in (Right.ADMINISTER, Right.ISSUE_TOKEN, Right.OWN_SETTINGS):
        assert not may(who("admin", "api", session=False), right, "anna")


def test_own_things():
    assert may(who("user"), Right.ISSUE_TOKEN, "anna")
    assert may(who("user"), Right.LOOK_UP_USER, "anna")


def test_visibility():
    assert visibility(who("user")).everything is False
    assert visibility(who("user", projects=["p"])).projects == frozenset()  # only managers have projects
    assert visibility(who("manager", projects=["p"])).projects == {"p"}
    assert visibility(who("user", "api")).everything is False
    for roles in (("api",), ("support",), ("admin",), ("admin", "user")):
        assert visibility(who(*roles)).everything
    assert visibility(who("user")).tag_scopes == {"global", "anna"}
    assert visibility(who("support")).tag_scopes == {"global", "admin", "anna"}
    assert visibility(SYSTEM).everything
    for nobody in (None, who()):
        with pytest.raises(Denied):
            visibility(nobody)


def test_denied_says_what_and_who():
    with pytest.raises(Denied) as e:
        require(who("user"), Right.READ_NODES)
    assert e.value.right is Right.READ_NODES
    assert e.value.roles == {Role.USER}
    assert not e.value.anonymous
    with pytest.raises(Denied, match="unauthorized"):
        require(None, Right.READ_NODES)
