"""`-init`: a working directory in which the server can be started."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from ccdaemon.errors import OperatorError
from ccdaemon.tokens import new_key_pair

from cc_backend.archive import VERSION
from cc_backend.db import schema

CONFIG = """\
{
  "main": {
    "addr": "127.0.0.1:8080",
    "short-running-jobs-duration": 300,
    "resampling": {
      "minimum-points": 600,
      "trigger": 300,
      "resolutions": [240, 60]
    },
    "api-allowed-ips": ["*"],
    "emission-constant": 317
  },
  "cron": {
    "commit-job-worker": "1m",
    "duration-worker": "5m",
    "footprint-worker": "10m"
  },
  "archive": {
    "kind": "file",
    "path": "./var/job-archive"
  },
  "auth": {
    "jwts": {
      "max-age": "2000h"
    }
  },
  "metric-store": {
    "retention-in-memory": "48h",
    "memory-cap": 100
  }
}
"""

ENV = """\
# Secrets of this installation; variables that are set already take precedence. Keep this file to yourself.

# Base64 encoded Ed25519 keys: API tokens are signed and verified with them
JWT_PUBLIC_KEY="{public}"
JWT_PRIVATE_KEY="{private}"

# Base64 encoded random bytes; sessions are kept in the database, other versions sign cookies with it
SESSION_KEY="{session}"
"""


def run() -> int:
    """Create ./var, config.json, .env, database and archive; files that exist are kept."""
    var = Path("var")
    if var.exists():
        print("Directory ./var already exists. Cautiously exiting application initialization.")
        return 0
    for name in ("config.json", ".env"):
        if Path(name).exists():
            raise OperatorError(f"{name} exists already and is not overwritten", "move it away, or use it and create ./var yourself")
    try:
        Path("config.json").write_text(CONFIG)
        public, private = new_key_pair()
        session = base64.b64encode(secrets.token_bytes(32)).decode()
        fd = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(ENV.format(public=public, private=private, session=session))
        archive = var / "job-archive"
        archive.mkdir(parents=True)
        schema.upgrade(var / "job.db")
        (archive / "version.txt").write_text(f"{VERSION}\n")
    except OSError as e:
        raise OperatorError(f"cannot initialize: {e}", "check the permissions of this directory") from e
    print("Successfully setup environment!")
    print("Please review config.json and .env and adjust it to your needs.")
    print("Add your job-archive at ./var/job-archive.")
    return 0
