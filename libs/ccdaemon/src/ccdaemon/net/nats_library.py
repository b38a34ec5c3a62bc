"""nats-py without what only its WebSocket transport needs.

At import it tries `import aiohttp` and goes on without: 10 MB for a transport that we do not use (NatsConfig takes `nats://` and
`tls://` only). A name that is None in `sys.modules` is absent for an import, by Python's import system reference; it is so for the
duration of this import alone, and not at all where aiohttp is loaded already.
"""

from __future__ import annotations

import sys

_hidden = "aiohttp" not in sys.modules
if _hidden:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
try:
    import nats.errors as errors
    import nats.js.errors as js_errors
    from nats.aio.client import Client
finally:
    if _hidden:
        del sys.modules["aiohttp"]

__all__ = ["Client", "errors", "js_errors"]
