"""`make bench`: one table, each measurement beside what it is compared with. See docs/reference/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from tests.bench.table import HEAD, show, title

NAMES = ("wire", "engine", "store", "collector", "backend")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--only", choices=NAMES, action="append", help="only this part; may be given several times")
    arguments.add_argument("--quick", action="store_true", help="less data: under a minute, more noise")
    asked = arguments.parse_args()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[2] / ".build" / "numba"))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    began = time.monotonic()
    print(title(), HEAD, "-" * len(HEAD), sep="\n", flush=True)
    for name in asked.only or NAMES:
        show(importlib.import_module(f"tests.bench.{name}").rows(asked.quick))
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
