"""What can go wrong, divided by whose fault it is.

DaemonError
├── OperatorError   the installation is wrong: configuration, files, permissions (exit 1, with a remedy)
│   └── ConfigErrors   all mistakes of a configuration at once
├── PeerError       another process or machine does not do its part: retry, say whose
├── InputError      somebody sent rubbish: say where, safe to show
└── Bug             ours
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config.types import Problem


class DaemonError(Exception):
    """Root of what daemons report on purpose; anything else that escapes is a Bug."""

    exit_code = 1


class OperatorError(DaemonError):
    """Something the administrator can mend; `remedy` says how."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(f"{text}: {remedy}" if remedy else text)
        self.text = text
        self.remedy = remedy


class ConfigErrors(OperatorError):
    """All fatal problems of a configuration; the text has one line for each. `warnings` are the others found on the way."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


class PeerError(DaemonError):
    """The peer named `who` did not do its part; `retry_after` in seconds where it said so."""

    def __init__(self, who: str, text: str, retry_after: float | None = None) -> None:
        super().__init__(f"{who}: {text}")
        self.who = who
        self.text = text
        self.retry_after = retry_after


class InputError(DaemonError):
    """Input that cannot be taken; `place` names where in it. The text is safe to show to its sender."""

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(f"{place}: {text}" if place else text)
        self.text = text
        self.place = place


class Bug(DaemonError):
    """An invariant of ours does not hold."""

    exit_code = 70
