"""Keys and secrets of a local stack: random, made at its first start, files of mode 0600, never committed."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# As Stacks tools write a key whose public key is compressed.
_COMPRESSED: Final = "01"
CLIENTS: Final = ("chain_gateway", "oracle", "policy", "pool", "workflows")


@dataclass(frozen=True)
class LocalKeys:
    """Where each key lies."""

    folder: Path

    @property
    def backend_key(self) -> Path:
        """Signs the system's transactions, quotes and vouchers; read by the gateway alone."""
        return self.folder / "backend.key"

    @property
    def oracle_key(self) -> Path:
        """Signs rounds and receipts; read by the oracle alone."""
        return self.folder / "oracle.key"

    @property
    def token_key(self) -> Path:
        """ES256 key of tokens; read by the identity service alone."""
        return self.folder / "token.pem"

    @property
    def secrets_folder(self) -> Path:
        """One secret per client process; the identity service reads all, each process its own."""
        return self.folder / "service_secrets"

    def secret(self, client: str) -> Path:
        """The secret of one client process."""
        return self.secrets_folder / client

    def seed(self, name: str) -> str:
        """The outside wallet's seed of `admin`, `operator` or any user; made when first asked for."""
        path = self.folder / f"{name}.seed"
        write_secret(path, secrets.token_hex(32))
        return path.read_text().strip()


def make_keys(folder: Path) -> LocalKeys:
    """Makes what is missing, keeps what is there."""
    keys = LocalKeys(folder)
    keys.secrets_folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_secret(keys.backend_key, secrets.token_hex(32) + _COMPRESSED)
    write_secret(keys.oracle_key, secrets.token_hex(32) + _COMPRESSED)
    write_secret(keys.token_key, _token_key())
    for client in CLIENTS:
        write_secret(keys.secret(client), secrets.token_urlsafe(32))
    return keys


def write_secret(path: Path, text: str) -> None:
    """Writes a new file of mode 0600; leaves an existing one alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _token_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
