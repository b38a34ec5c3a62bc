"""Search bar (vectors of web-ui 4.4), and the pages that a site writes itself."""

from __future__ import annotations

import pytest
from cc_backend.db import search as rows
from cc_backend.pages.search import Jump, Known, LookUp, Wrong, looked_up, search
from cc_backend.pages.texts import load_texts

NOW = 1_760_000_600
MONTH = f"startTime={NOW - 30 * 86400}-{NOW}"
USER, MANAGER = 2, 3


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("4711", "/monitoring/jobs/?jobId=4711"),
        (" jobId : 4711 ", "/monitoring/jobs/?jobId=4711"),
        ("jobName:a:b", f"/monitoring/jobs/?{MONTH}&jobName=a%3Ab"),  # PITFALL: names with a colon could not be searched
        ("projectId:p 1&x=y", "/monitoring/jobs/?projectMatch=eq&project=p%201%26x%3Dy"),  # PITFALL: was not escaped
        ("arrayJobId:7", f"/monitoring/jobs/?{MONTH}&arrayJobId=7"),
        ("gromacs", f"/monitoring/jobs/?{MONTH}&jobName=gromacs"),
        ("//evil.example", f"/monitoring/jobs/?{MONTH}&jobName=%2F%2Fevil.example"),
        ("\u0664\u0662", f"/monitoring/jobs/?{MONTH}&jobName=%D9%A4%D9%A2"),  # digits, but of no job id
    ],
)
def test_plain_users(text, address):
    assert search(text, USER, NOW) == Jump(address)


@pytest.mark.parametrize("text", ["", "  ", "jobId:", "nope:1", "username:ben", "name:Ben"])
def test_what_leads_nowhere(text):
    assert isinstance(search(text, USER, NOW), Wrong)


def test_managers_may_search_people():
    assert search("username:ben", MANAGER, NOW) == Jump("/monitoring/jobs/?user=ben&userMatch=contains")
    assert search("name:Ben", MANAGER, NOW) == LookUp("Ben", names_only=True)
    assert search("ben", MANAGER, NOW) == LookUp("ben", names_only=False)


@pytest.mark.parametrize(
    ("known", "address"),
    [
        (Known(is_user=True, persons=["x"], is_project=True), "/monitoring/user/a%2F%3Fb"),
        (Known(persons=["ben"], is_project=True), "/monitoring/user/ben"),
        (Known(persons=["ben", "b&n"]), "/monitoring/jobs/?user=ben&user=b%26n&userMatch=eq"),
        (Known(is_project=True), "/monitoring/jobs/?projectMatch=eq&project=a%2F%3Fb"),
        (Known(), f"/monitoring/jobs/?{MONTH}&jobName=a%2F%3Fb"),
    ],
)
def test_first_hit_of_a_plain_text(known, address):
    assert looked_up(LookUp("a/?b", names_only=False), known, NOW) == Jump(address)


def test_a_name_that_nobody_has():
    assert isinstance(looked_up(LookUp("x", names_only=True), Known(is_user=True, is_project=True), NOW), Wrong)


async def test_managers_find_their_own_people_only(database, identity):
    """PITFALL: managers could probe all users and projects."""
    from cc_backend.access import visibility

    mona, sue = visibility(identity("mona")), visibility(identity("sue"))

    def look(see, text):
        return lambda conn: (rows.is_user(conn, see, text), rows.persons(conn, see, text, 9), rows.is_project(conn, see, text))

    assert await database.read(look(sue, "BEN")) == (False, ["ben"], False)
    assert await database.read(look(sue, "sue")) == (False, ["sue"], False)
    assert await database.read(look(mona, "sue")) == (False, [], False)
    assert await database.read(look(mona, "p2")) == (False, [], False)
    assert await database.read(look(sue, "p2")) == (False, [], True)
    assert await database.read(look(sue, "%")) == (False, [], False)


# ---- texts


def test_texts_of_a_site(tmp_path):
    warnings = []
    neutral = load_texts(tmp_path / "nothing", warnings.append)
    assert not neutral["imprint"].own and "cookie" in neutral["privacy"].body
    (tmp_path / "imprint.md").write_text("# RRZE\n\n<script>x</script> [mail](mailto:a@b.example) [bad](javascript:x)")
    (tmp_path / "privacy.html").write_text("<p>ours</p>")
    (tmp_path / "imprint.tmpl").write_text("{{ define }}")
    texts = load_texts(tmp_path, warnings.append)
    assert "<h1>RRZE</h1>" in texts["imprint"].body
    assert "<script" not in texts["imprint"].body and 'href="javascript' not in texts["imprint"].body
    assert texts["privacy"].body == "<p>ours</p>"
    assert len(warnings) == 1 and "imprint.tmpl" in warnings[0]


def test_a_text_that_cannot_be_used_costs_nothing_else(tmp_path):
    (tmp_path / "imprint.md").write_bytes(b"\xff\xfe")
    (tmp_path / "privacy.md").write_text("x" * (2 << 20))
    warnings = []
    texts = load_texts(tmp_path, warnings.append)
    assert not texts["imprint"].own and not texts["privacy"].own and len(warnings) == 2
