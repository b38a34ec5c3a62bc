"""Where a text of the search bar leads (web-ui 4.4). Pure; what needs a look into the database is a `LookUp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

from .data import LEVELS

MONTH: Final = 30 * 86_400
MAX_TEXT: Final = 500
MAX_PERSONS: Final = 50
"""People that a real name may mean; more are left out of the link."""


class Jump(NamedTuple):
    """Path of a page of ours with its query, escaped."""

    address: str


class Wrong(NamedTuple):
    """Nothing to go to; for the page that says so."""

    title: str
    text: str


class LookUp(NamedTuple):
    """A text that may be several things. names_only: it is a person's name and nothing else."""

    text: str
    names_only: bool


class Known(NamedTuple):
    """What the database says about the text of a LookUp. persons: users whose real name has it."""

    is_user: bool = False
    persons: Sequence[str] = ()
    is_project: bool = False


Found: TypeAlias = Jump | Wrong | LookUp
NO_RIGHT: Final = Wrong("Missing Access Rights", "Searching for users needs the role manager, support or admin.")


def search(text: str, level: int, now: int) -> Found:
    """level: of the caller's highest role. Everything after the first colon is the term: names of jobs may hold colons."""
    text = text.strip()[:MAX_TEXT]
    keyword, colon, term = (part.strip() for part in text.partition(":"))
    many = level >= LEVELS["manager"]
    if not text or (colon and not term):
        return Wrong("Empty Search", "There is nothing to search for.")
    if not colon:
        if text.isascii() and text.isdigit():
            return jobs(jobId=text)
        return LookUp(text, names_only=False) if many else _by_name(text, now)
    match keyword:
        case "jobId":
            return jobs(jobId=term)
        case "jobName":
            return _by_name(term, now)
        case "arrayJobId":
            return jobs(startTime=_month(now), arrayJobId=term)
        case "projectId":
            return jobs(projectMatch="eq", project=term)
        case "username":
            return jobs(user=term, userMatch="contains") if many else NO_RIGHT
        case "name":
            return LookUp(term, names_only=True) if many else NO_RIGHT
    known = "jobId, jobName, projectId, arrayJobId" + (", username, name" if many else "")
    return Wrong("Unknown Search Type", f"'{keyword[:50]}' is none of {known}.")


def looked_up(asked: LookUp, known: Known, now: int) -> Jump | Wrong:
    """The first that fits: user, real name, project, else the name of a job."""
    if not asked.names_only and known.is_user:
        return _user(asked.text)
    if len(known.persons) == 1:
        return _user(known.persons[0])
    if known.persons:
        return Jump("/monitoring/jobs/?" + urlencode([("user", user) for user in known.persons] + [("userMatch", "eq")], quote_via=quote))
    if asked.names_only:
        return Wrong("No User Found", f"There is no user with '{asked.text}' in the name.")
    return jobs(projectMatch="eq", project=asked.text) if known.is_project else _by_name(asked.text, now)


def jobs(**params: str) -> Jump:
    return Jump("/monitoring/jobs/?" + urlencode(params, quote_via=quote))


def _by_name(term: str, now: int) -> Jump:
    return jobs(startTime=_month(now), jobName=term)


def _user(username: str) -> Jump:
    return Jump(f"/monitoring/user/{quote(username, safe='')}")


def _month(now: int) -> str:
    return f"{now - MONTH}-{now}"
