"""Writes the reference pages of the configurations from their Structs: `python -m cctest.reference docs/reference/configuration`."""

from __future__ import annotations

import sys
from pathlib import Path

HEAD = "# Configuration of {0}\n\nGenerated from the program by `make docs`; a test fails when it is stale.\n\n"


def pages() -> dict[str, str]:
    """File name → text."""
    from cc_backend.config import Archive, Auth, Cron, External, Ui
    from cc_backend.config import Main as BackendMain
    from cc_metric_collector.config import MainConfig, RouterConfig
    from cc_metric_store.config import Main as StoreMain
    from cc_metric_store.config import Metric
    from cc_slurm_adapter.config import Config as AdapterConfig
    from ccdaemon.config.report import reference
    from ccdaemon.net.nats import NatsConfig
    from ccstore.server.config import StoreConfig

    def section(*parts: tuple[type, str]) -> str:
        return "\n".join(reference(type_, title) for type_, title in parts)

    nats, store = (NatsConfig, "Section `nats`"), (StoreConfig, "Section `metric-store`")
    return {
        "cc-backend.md": section(
            (BackendMain, "Section `main`"),
            nats,
            (Auth, "Section `auth`"),
            (Cron, "Section `cron`"),
            (Archive, "Section `archive`"),
            store,
            (External, "Each entry of `metric-store-external`"),
            (Ui, "Section `ui`, or the file of `ui-file`"),
        ),
        "cc-metric-store.md": section((StoreMain, "Section `main`"), (Metric, "Each entry of `metrics`"), store, nats),
        "cc-metric-collector.md": section((MainConfig, "Section `main`"), (RouterConfig, "Section `router`")),
        "cc-slurm-adapter.md": section((AdapterConfig, "The file")),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(HEAD.format(name.removesuffix(".md")) + text)


if __name__ == "__main__":
    main()
