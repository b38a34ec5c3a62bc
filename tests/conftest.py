"""Prints what the budget tests measured, in every run."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for r in reports
        for key, value in getattr(r, "user_properties", ())
        if key == "budget"
    ]
    if rows:
        terminalreporter.section("budgets")
        terminalreporter.write_line(f"{'what':<44}{'seconds':>9}{'MB':>8}{'limit MB':>10}")
        for what, seconds, megabytes, limit in sorted(set(map(tuple, rows))):
            terminalreporter.write_line(f"{what:<44}{seconds:>9.3f}{megabytes:>8.1f}{limit:>10}")
