"""Entry: without `-daemon` the hook client, before any other import; else the daemon."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    # Everything that is not the hook's business goes through the full flag parser of the daemon.
    words = {a.lstrip("-").partition("=")[0]: a.partition("=")[2] for a in arguments if a.startswith("-")}
    hook_mode = words.get("daemon", "false" if "daemon" not in words else "true") in ("false", "0", "f", "F", "FALSE", "False")
    if hook_mode and not words.keys() & {"help", "h", "version", "check-config"}:
        from .hook import main as hook

        return hook(arguments)
    from .daemon import main as daemon

    return daemon(arguments)


if __name__ == "__main__":
    sys.exit(main())
