"""Who may do what: the one place that decides.

`MATRIX` is the table of rights as data (rows: rights, columns: standings); tests compare it with what the routes do.
Functions that read jobs take a `Visibility`, and only `visibility()` makes one: forgetting to ask is a type error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Final

import msgspec
from ccdaemon.errors import InputError


class Role(StrEnum):
    """Assignable roles, ascending; `rank` orders them."""

    API = "api"
    USER = "user"
    MANAGER = "manager"
    SUPPORT = "support"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


class AuthSource(IntEnum):
    """Where an account comes from (number as in the user table)."""

    LOCAL = 0
    LDAP = 1
    TOKEN = 2
    OIDC = 3


class Identity(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. `session`: by a browser session, else by a token sent with the request."""

    username: str
    roles: frozenset[Role]
    projects: frozenset[str] = frozenset()
    source: AuthSource = AuthSource.LOCAL
    session: bool = False
    name: str = ""
    email: str = ""


SYSTEM: Final = Identity(username="", roles=frozenset({Role.ADMIN, Role.API}), session=True)
"""The program itself: workers, commands, events by NATS (trusted by the broker's rights)."""


def roles_of(names: Iterable[str]) -> frozenset[Role]:
    """The known roles among `names`; roles are a set, unknown names count for nothing."""
    known = {role.value: role for role in Role}
    return frozenset(known[name.lower()] for name in names if name.lower() in known)


class Standing(Enum):
    """The column of the matrix: what the set of roles amounts to."""

    NOBODY = "nobody"  # not logged in, or no known role
    API = "api only"
    USER = "user"
    MANAGER = "manager"
    SUPPORT = "support"
    ADMIN = "admin"


def standing(who: Identity | None) -> Standing:
    if who is None or not who.roles:
        return Standing.NOBODY
    people = who.roles - {Role.API}
    if not people:
        return Standing.API
    return Standing[max(people, key=lambda role: role.rank).name]


class Right(StrEnum):
    READ_JOBS = "read jobs"  # which ones: visibility()
    READ_NODES = "read node states and metrics"
    READ_RESTRICTED = "read metrics marked restricted"
    LOOK_UP_USER = "look up a user's name"  # of = username
    SEARCH_USERS = "search by user, project or name"
    READ_TAG = "read a tag"  # of = scope
    WRITE_TAG = "create, attach or detach a tag"  # of = scope
    DELETE_TAG = "delete a tag everywhere"  # of = scope
    WRITE_JOBS = "start, stop, delete or edit jobs"
    USE_API = "use /api"
    USE_USERAPI = "use /userapi"
    USE_STORE = "use the metric store's routes"
    READ_CLUSTERS = "read cluster configurations over /api"
    LIST_USERS = "list users with a token"
    ADMINISTER = "administer users, notice and taggers"
    ISSUE_TOKEN = "issue an API token"  # noqa: S105 - of = username
    OWN_SETTINGS = "change one's own settings"


class Grant(Enum):
    NO = "no"
    YES = "yes"
    OWN = "own"  # `of` must be the caller's own name
    WITH_API = "with api"  # only together with role api
    SESSION = "session"  # only in a browser session
    SESSION_OWN = "session, own"


_N, _Y, _O, _A, _S, _SO = Grant.NO, Grant.YES, Grant.OWN, Grant.WITH_API, Grant.SESSION, Grant.SESSION_OWN
_COLUMNS: Final = (Standing.API, Standing.USER, Standing.MANAGER, Standing.SUPPORT, Standing.ADMIN)


def _row(*grants: Grant) -> Mapping[Standing, Grant]:
    return {Standing.NOBODY: Grant.NO, **dict(zip(_COLUMNS, grants, strict=True))}


MATRIX: Final[Mapping[Right, Mapping[Standing, Grant]]] = {
    #                          api only  user  manager support admin
    Right.READ_JOBS: _row(_Y, _Y, _Y, _Y, _Y),
    Right.READ_NODES: _row(_N, _N, _N, _Y, _Y),
    Right.READ_RESTRICTED: _row(_Y, _N, _N, _Y, _Y),
    Right.LOOK_UP_USER: _row(_O, _O, _Y, _Y, _Y),
    Right.SEARCH_USERS: _row(_N, _N, _Y, _Y, _Y),
    Right.WRITE_JOBS: _row(_Y, _N, _N, _N, _A),
    Right.USE_API: _row(_Y, _N, _N, _N, _A),
    Right.USE_USERAPI: _row(_Y, _A, _A, _A, _A),
    Right.USE_STORE: _row(_Y, _N, _N, _N, _A),
    Right.READ_CLUSTERS: _row(_Y, _A, _A, _A, _A),
    Right.LIST_USERS: _row(_N, _N, _N, _N, _A),
    Right.ADMINISTER: _row(_N, _N, _N, _N, _S),
    Right.ISSUE_TOKEN: _row(_SO, _SO, _SO, _SO, _S),
    Right.OWN_SETTINGS: _row(_S, _S, _S, _S, _S),
}

# Rights over tags depend on the tag's scope; a private scope is a user's name, and only its own.
TAG_MATRIX: Final[Mapping[Right, Mapping[str, Mapping[Standing, Grant]]]] = {
    Right.READ_TAG: {"global": _row(_Y, _Y, _Y, _Y, _Y), "admin": _row(_N, _N, _N, _Y, _Y)},
    Right.WRITE_TAG: {"global": _row(_Y, _N, _N, _Y, _Y), "admin": _row(_Y, _N, _N, _N, _Y)},
    Right.DELETE_TAG: {"global": _row(_Y, _N, _N, _N, _Y), "admin": _row(_Y, _N, _N, _N, _Y)},
}
_PRIVATE_TAG: Final = _row(_O, _O, _O, _O, _O)

RESERVED_NAMES: Final = frozenset({"global", "admin"})
"""No account may be called like a tag scope."""


class Denied(InputError):
    """The caller may not do this. `anonymous`: nobody is logged in, so logging in may help."""

    def __init__(self, right: Right, who: Identity | None) -> None:
        super().__init__("unauthorized" if who is None else f"missing right: {right.value}")
        self.right = right
        self.anonymous = who is None
        self.roles = frozenset() if who is None else who.roles


def grant(who: Identity | None, right: Right, of: str | None = None) -> Grant:
    """The cell of the matrix that decides."""
    if right in TAG_MATRIX:
        row = TAG_MATRIX[right].get(of or "global", _PRIVATE_TAG)
    else:
        row = MATRIX[right]
    return row[standing(who)]


def may(who: Identity | None, right: Right, of: str | None = None) -> bool:
    if who is None:
        return False
    if who is SYSTEM:
        return True
    own = of is not None and of == who.username
    match grant(who, right, of):
        case Grant.YES:
            return True
        case Grant.OWN:
            return own
        case Grant.WITH_API:
            return Role.API in who.roles
        case Grant.SESSION:
            return who.session
        case Grant.SESSION_OWN:
            return who.session and own
        case _:
            return False


def require(who: Identity | None, right: Right, of: str | None = None) -> Identity:
    """The caller, who may do this; else Denied."""
    if who is None or not may(who, right, of):
        raise Denied(right, who)
    return who


class Visibility(msgspec.Struct, frozen=True):
    """Which jobs and tags a query may touch; made by `visibility` only.

    `everything`, or the jobs of `username` and of `projects`. Readable tags: scopes in `tag_scopes`.
    """

    everything: bool
    username: str
    projects: frozenset[str]
    tag_scopes: frozenset[str]


def visibility(who: Identity | None) -> Visibility:
    """Row rule of every job query; Denied where nobody, or nobody with a known role, asks."""
    who = require(who, Right.READ_JOBS)
    what = standing(who)
    scopes = {scope for scope in ("global", "admin") if may(who, Right.READ_TAG, scope)} | {who.username}
    return Visibility(
        everything=what in (Standing.API, Standing.SUPPORT, Standing.ADMIN),
        username=who.username,
        projects=who.projects if what is Standing.MANAGER else frozenset(),
        tag_scopes=frozenset(scopes),
    )
