"""The secrets of one local stack, read from where it keeps them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from deploy.local.keys import LocalKeys
from tests.secret_scan.needles import Secret

_KEY_BYTES: Final = 32


def secrets_of(keys: LocalKeys) -> list[Secret]:
    """Backend and oracle key, the key of tokens, every client's secret, every wallet's seed and the key made of it."""
    found = [
        Secret("backend key", _hex_key(keys.backend_key)),
        Secret("oracle key", _hex_key(keys.oracle_key)),
        Secret("token key", _token_key(keys.token_key)),
    ]
    for path in sorted(keys.secrets_folder.iterdir()):
        found += _client_secret(path)
    for path in sorted(keys.folder.glob("*.seed")):
        seed = path.read_text().strip()
        found.append(Secret(f"seed of {path.stem}", bytes.fromhex(seed)))
        # As deploy/wallet/keyring.mjs makes it.
        found.append(Secret(f"wallet key of {path.stem}", hashlib.sha256(f"wallet seed {seed}".encode()).digest()))
    return found


def _hex_key(path: Path) -> bytes:
    return bytes.fromhex(path.read_text().strip())[:_KEY_BYTES]


def _token_key(path: Path) -> bytes:
    """The scalar: what a PEM file has besides is public."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(_KEY_BYTES, "big")


def _client_secret(path: Path) -> list[Secret]:
    text = path.read_text().strip()
    name = f"client secret of {path.name}"
    return [Secret(name, text.encode(), is_text=True), Secret(name, base64.urlsafe_b64decode(f"{text}="))]
