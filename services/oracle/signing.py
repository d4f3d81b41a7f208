"""The oracle key, and the SIP-018 messages that it signs: price rounds and receipts, nothing else.

Only the few Clarity types that these messages hold are written here, as `to-consensus-buff?` writes them: uint,
buffer, ASCII text, principal, and tuples with their keys in byte order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from coincurve import PrivateKey

from kernel.secret_file import read_secret_file
from kernel.settings import SettingsError

_C32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ADDRESS_VERSIONS: Final = {"mainnet": (22, 20), "testnet": (26, 21)}
_UINT, _BUFFER, _CONTRACT, _TUPLE, _ASCII = 0x01, 0x02, 0x06, 0x0C, 0x0D
PRICE_ROUND: Final = "bithedge-price-round"
ACTIVATION_RECEIPT: Final = "bithedge-activation-receipt"
EXPIRY_RECEIPT: Final = "bithedge-expiry-receipt"
# Which contract verifies which kind of message.
_VERIFIERS: Final = {
    PRICE_ROUND: "oracle",
    ACTIVATION_RECEIPT: "policy-registry",
    EXPIRY_RECEIPT: "policy-registry",
}

Field = int | bytes | str


class ContractAddress:
    """The account that deployed the contracts: its version byte and 20-byte hash, from its c32 spelling."""

    def __init__(self, text: str, network: str) -> None:
        """SettingsError unless `text` is an address of `network` (`mainnet` or `testnet`)."""
        number = 0
        if not text.startswith("S") or any(letter not in _C32 for letter in text[1:]) or len(text) < 5:
            raise SettingsError(f"CONTRACT_DEPLOYER is not a Stacks address: {text!r}")
        version = _C32.index(text[1])
        for letter in text[2:]:
            number = number * 32 + _C32.index(letter)
        payload = number.to_bytes(24, "big") if number < 1 << 192 else b""
        first = hashlib.sha256(bytes([version]) + payload[:20]).digest()
        if not payload or payload[20:] != hashlib.sha256(first).digest()[:4]:
            raise SettingsError(f"CONTRACT_DEPLOYER has a wrong checksum: {text!r}")
        if version not in _ADDRESS_VERSIONS.get(network, ()):
            raise SettingsError(f"CONTRACT_DEPLOYER is not an address of NETWORK {network!r}: {text!r}")
        self.data = bytes([version]) + payload[:20]
        self.text = text

    def contract(self, name: str) -> bytes:
        """A contract principal of this account in consensus form."""
        return bytes([_CONTRACT]) + self.data + bytes([len(name)]) + name.encode("ascii")


def encode_field(value: Field) -> bytes:
    """A uint (int), buffer (bytes) or ASCII text (str) in consensus form."""
    if isinstance(value, int):
        return bytes([_UINT]) + value.to_bytes(16, "big")
    data = value.encode("ascii") if isinstance(value, str) else value
    kind = _ASCII if isinstance(value, str) else _BUFFER
    return bytes([kind]) + len(data).to_bytes(4, "big") + data


def encode_tuple(fields: Mapping[str, bytes]) -> bytes:
    """A tuple of values that are in consensus form already."""
    parts = [bytes([len(key)]) + key.encode("ascii") + fields[key] for key in sorted(fields)]
    return bytes([_TUPLE]) + len(fields).to_bytes(4, "big") + b"".join(parts)


def structured_digest(kind: str, message: Mapping[str, Field], chain_id: int, deployer: ContractAddress) -> bytes:
    """The 32 bytes that SIP-018 has signed for a message of one of the three kinds."""
    domain = {
        "name": encode_field(kind),
        "version": encode_field("1"),
        "chain-id": encode_field(chain_id),
        "contract": deployer.contract(_VERIFIERS[kind]),
    }
    content = {name: encode_field(value) for name, value in message.items()}
    hashes = (hashlib.sha256(encode_tuple(part)).digest() for part in (domain, content))
    return hashlib.sha256(b"SIP018" + b"".join(hashes)).digest()


class OracleSigner:
    """Signs messages for the contracts of one deployer on one chain; the key never leaves it."""

    def __init__(self, key: bytes, chain_id: int, deployer: ContractAddress) -> None:
        """`key` is the 32-byte private key; ValueError if it is none."""
        self._key = PrivateKey(key)
        self.chain_id = chain_id
        self.deployer = deployer

    @property
    def public_key(self) -> bytes:
        """The compressed public key, 33 bytes, as the `parameter` contract must know it."""
        return self._key.public_key.format(compressed=True)

    def digest(self, kind: str, message: Mapping[str, Field]) -> bytes:
        """The 32 bytes that are signed for a message of one of the three kinds."""
        return structured_digest(kind, message, self.chain_id, self.deployer)

    def sign(self, kind: str, message: Mapping[str, Field]) -> bytes:
        """65 bytes r || s || recovery id, low-s; the same for the same message, always (RFC 6979)."""
        return self._key.sign_recoverable(self.digest(kind, message), hasher=None)

    def __repr__(self) -> str:
        return f"OracleSigner(public_key={self.public_key.hex()})"


def read_key_file(path: Path) -> bytes:
    """The private key in a file of mode 0600 that holds 64 hexadecimal digits, or 66 that end in 01.

    SettingsError otherwise; it never shows the content.
    """
    content = read_secret_file(path, "ORACLE_KEY_FILE")
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        raise SettingsError(f"ORACLE_KEY_FILE: {path} holds no key in hexadecimal") from None
    if len(key) == 33 and key[32] == 1:
        key = key[:32]
    if len(key) != 32:
        raise SettingsError(f"ORACLE_KEY_FILE: {path} holds no key of 32 bytes")
    return key
