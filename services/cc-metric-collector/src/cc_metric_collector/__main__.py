"""cc-metric-collector: measures a compute node and sends the metrics to stores.

cc-metric-collector [-config FILE] [-once | -check-config | -topology] [-loglevel LEVEL] [-log FILE]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
from ccdaemon.errors import ConfigErrors, DaemonError, OperatorError
from ccdaemon.flags import parse_flags
from ccdaemon.log import Log, make_log
from msgspec import Meta

PROGRAM = "cc-metric-collector"
ROOT_VARIABLE = "CCMC_ROOT"  # a recorded tree instead of /, for tests


class Flags(msgspec.Struct):
    config: Annotated[str, Meta(description="Path of the main configuration file")] = "./config.json"
    log: Annotated[str, Meta(description="Log file, appended to; stderr for standard error")] = "stderr"
    loglevel: Annotated[str, Meta(description="debug, info, notice, warn, err or crit")] = "info"
    once: Annotated[bool, Meta(description="Run one round, send it, exit")] = False
    check_config: Annotated[bool, Meta(description="Read all configuration, print every problem, exit with 0 or 1")] = False
    topology: Annotated[bool, Meta(description="Print this node as a subcluster of cluster.json and exit")] = False


def main(argv: Sequence[str] | None = None) -> int:
    flags = parse_flags(
        Flags,
        sys.argv[1:] if argv is None else argv,
        prog=PROGRAM,
        version=f"{PROGRAM} {version(PROGRAM)}",
        about="Measures this node and sends the metrics to the configured sinks.",
    )
    root = Path(os.environ.get(ROOT_VARIABLE, "/"))
    if flags.topology:
        return print_topology(root)
    try:
        if flags.check_config:
            return check_config(Path(flags.config))
        return run(flags, root, open_log(flags))
    except DaemonError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def open_log(flags: Flags) -> Log:
    if flags.log == "stderr":
        return make_log(PROGRAM, level=flags.loglevel)
    try:
        descriptor = os.open(flags.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OperatorError(f"cannot write the log {flags.log}: {error.strerror}", "name a file in a directory that exists") from None
    return make_log(PROGRAM, level=flags.loglevel, stream=os.fdopen(descriptor, "w", encoding="utf-8"))


def run(flags: Flags, root: Path, log: Log) -> int:
    from . import app
    from .config import load_settings

    settings = load_settings(Path(flags.config))
    return app.serve(settings, log, root=root, once=flags.once)


def check_config(path: Path) -> int:
    """Every problem, one a line, warnings too; 1 when the collector or a part of it would not run."""
    from . import app
    from .config import load_settings

    try:
        problems = app.check(load_settings(path))
    except ConfigErrors as errors:
        problems = [*errors.warnings, *errors.problems]
    for problem in problems:
        print(f"{'error' if problem.fatal else 'warning'}: {problem}")
    wrong = any(problem.fatal for problem in problems)
    print(f"{path}: {'not usable as it is' if wrong else 'good'}")
    return int(wrong)


def print_topology(root: Path) -> int:
    import json
    import re
    import socket

    from .subcluster import sub_cluster
    from .topology import read_topology

    document, notes = sub_cluster(root, read_topology(root), socket.gethostname().partition(".")[0])
    text = json.dumps(msgspec.to_builtins(document), indent=2)
    print(re.sub(r"\[[\d,\s]+\]", lambda ids: " ".join(ids[0].split()), text))  # a list of threads in one line
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
