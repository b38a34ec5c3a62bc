"""`-check-config`: every problem of the configuration, and what of it this version does not have."""

from __future__ import annotations

from pathlib import Path

from ccdaemon.errors import ConfigErrors

from cc_backend.config import not_in_this_version, read_config


def run(path: Path) -> int:
    """0: the file is right (warnings are printed), 1: it is not."""
    try:
        config, warnings = read_config(path)
    except ConfigErrors as e:
        for problem in (*e.problems, *e.warnings):
            print(problem if problem.fatal else f"warning: {problem}")
        return 1
    for warning in warnings:
        print(f"warning: {warning}")
    for key, what, remedy in not_in_this_version(config):
        print(f"not in this version: {key}: {what}; to start it: {remedy}")
    print(f"{path}: fine")
    return 0
