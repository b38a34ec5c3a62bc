"""From root to a service user for good: supplementary groups, group, user, and a check that there is no way back."""

from __future__ import annotations

import grp
import os
import pwd

from .errors import Bug, OperatorError


def drop(user: str | None, group: str | None) -> None:
    """Become `user` and `group` (empty: leave it; without group the user's own), with the user's supplementary groups only.

    Call after sockets are bound and keys are read, before threads start. OperatorError: unknown name or not allowed.
    """
    if not user and not group:
        return
    account = _account(user) if user else None
    gid = _gid(group) if group else account.pw_gid if account else os.getgid()
    uid = account.pw_uid if account else os.getuid()
    if (os.getuid(), os.geteuid()) == (uid, uid) and (os.getgid(), os.getegid()) == (gid, gid) and uid != 0:
        return
    if os.geteuid() != 0:
        wanted = f"user {user}" if user else f"group {group}"
        raise OperatorError(f"only root can become {wanted}", 'start as root, or remove "user" and "group" and let systemd set them')
    if account:
        os.initgroups(account.pw_name, gid)
    else:
        os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _verify(uid, gid)


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise OperatorError(f"there is no user {user!r}", f"create it (useradd --system {user}) or correct the name") from None


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OperatorError(f"there is no group {group!r}", f"create it (groupadd --system {group}) or correct the name") from None


def _verify(uid: int, gid: int) -> None:
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise Bug(f"privileges were not dropped: {os.getresuid()} {os.getresgid()}")
    if uid == 0:
        return
    for regain in (os.seteuid, os.setuid):
        try:
            regain(0)
        except PermissionError:
            continue
        raise Bug("root could be regained after the privilege drop")
