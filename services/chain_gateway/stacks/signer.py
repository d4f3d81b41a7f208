"""Who signs: one interface for a key in a file and a key in a vault."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from coincurve import PrivateKey

from kernel.secret_file import read_secret_file
from kernel.settings import SettingsError
from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import address_of, check_signature

FILE: Final = "file"
ENVIRONMENT: Final = "env"
AWS_KMS: Final = "awskms"
SCHEMES: Final = (FILE, ENVIRONMENT, AWS_KMS)
"""What stands before the colon in the setting of a signer."""
_SETTING: Final = "BACKEND_SIGNERS"


class Signer(Protocol):
    """Signs digests with one key, which never leaves it."""

    @property
    def is_remote(self) -> bool:
        """Whether `sign_digest` takes a network round trip, and so must not run on an event loop."""
        ...

    @property
    def public_key(self) -> bytes:
        """33 bytes, or 65 for a key whose account is that of the uncompressed spelling."""
        ...

    def address(self, version: int) -> Address:
        """The key's account under an address version."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """Signs 32 bytes; answers R || S || V, low-s."""
        ...


class KeySigner:
    """Signs with a private key held in this process (RFC 6979, low-s)."""

    __slots__ = ("_key", "_public_key")
    is_remote: Final = False

    def __init__(self, private_key: bytes) -> None:
        """`private_key` has 32 bytes, or 33 that end in 01 for a compressed public key."""
        compressed = len(private_key) == 33 and private_key[32] == 1
        if not compressed and len(private_key) != 32:
            raise CodecError("a private key has 32 bytes, or 33 that end in 01")
        try:
            self._key = PrivateKey(private_key[:32])
        except ValueError:
            raise CodecError("a private key is out of range") from None
        self._public_key = self._key.public_key.format(compressed=compressed)

    @classmethod
    def from_hex(cls, text: str) -> KeySigner:
        """Reads 64 or 66 hex digits; the error does not repeat them."""
        try:
            private_key = bytes.fromhex(text.strip())
        except ValueError:
            raise CodecError("a private key is not hex") from None
        return cls(private_key)

    @classmethod
    def from_file(cls, path: Path) -> KeySigner:
        """Reads a file that its owner alone can open and that holds hex; raises SettingsError otherwise."""
        return cls.from_secret(read_secret_file(path, _SETTING), str(path))

    @classmethod
    def from_secret(cls, content: bytes, where: str) -> KeySigner:
        """Reads what a file or a variable holds; SettingsError names `where` it was, never what it was."""
        try:
            return cls.from_hex(content.decode("ascii"))
        except (CodecError, UnicodeDecodeError):
            raise SettingsError(f"{_SETTING}: {where} holds no private key in hex") from None

    @property
    def public_key(self) -> bytes:
        """33 bytes, or 65 for a key of 32 bytes without the 01."""
        return self._public_key

    def address(self, version: int) -> Address:
        """The key's account under an address version."""
        return address_of(self._public_key, version)

    def sign_digest(self, digest: bytes) -> bytes:
        """Signs 32 bytes; answers R || S || V, low-s."""
        if len(digest) != 32:
            raise CodecError("a digest has 32 bytes")
        return check_signature(self._key.sign_recoverable(digest, hasher=None))

    def __repr__(self) -> str:
        return f"KeySigner(public_key={self._public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not copied to another process")
