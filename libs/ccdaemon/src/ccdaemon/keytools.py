"""`gen-keypair` and `convert-pem-pubkey`: keys for JSON Web Tokens in the forms that `.env` takes."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from .tokens import new_key_pair


def gen_keypair() -> int:
    """Print a new Ed25519 key pair."""
    public, private = new_key_pair()
    sys.stdout.write(
        f'ED25519 PUBLIC_KEY="{public}"\nED25519 PRIVATE_KEY="{private}"\n'
        "This is NO JSON Web Token: it is the key pair with which tokens are signed and checked.\n"
    )
    return 0


def convert_pem_pubkey(argv: list[str] | None = None) -> int:
    """Print an Ed25519 public key of a PEM file as `CROSS_LOGIN_JWT_PUBLIC_KEY`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    args = sys.argv[1:] if argv is None else argv
    if len(args) != 1:
        sys.stderr.write("Usage: convert-pem-pubkey <file>\n  <file>: PEM file with an Ed25519 public key\n")
        return 1
    try:
        key = load_pem_public_key(Path(args[0]).read_bytes())
    except OSError as error:
        sys.stderr.write(f"error: cannot read {args[0]}: {error.strerror}\n")
        return 1
    except Exception:  # cryptography raises several unrelated classes for what it cannot parse
        sys.stderr.write(f"error: {args[0]} holds no PEM public key\n")
        return 1
    if not isinstance(key, Ed25519PublicKey):
        sys.stderr.write(f"error: {args[0]} holds a key of another type than Ed25519\n")
        return 1
    sys.stdout.write(f'CROSS_LOGIN_JWT_PUBLIC_KEY="{base64.b64encode(key.public_bytes_raw()).decode()}"\n')
    return 0
