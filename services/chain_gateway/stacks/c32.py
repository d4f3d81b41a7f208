"""Stacks addresses: c32check of a version and a HASH160 (SIP-005).

Strict where other decoders are lenient: lower case, the look-alikes O, L and I, a version that no account
has, and any spelling but the canonical one are refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from services.chain_gateway.stacks.errors import CodecError

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_HASH_BYTES = 20
_CHECKSUM_BYTES = 4
_MAX_TEXT = 2 + -(-(_HASH_BYTES + _CHECKSUM_BYTES) * 8 // 5)


class AddressVersion(IntEnum):
    """The first byte of an address: which network, and one key or several."""

    MAINNET_SINGLE_SIG = 22
    MAINNET_MULTI_SIG = 20
    TESTNET_SINGLE_SIG = 26
    TESTNET_MULTI_SIG = 21


_VERSIONS = frozenset(int(version) for version in AddressVersion)


@dataclass(frozen=True, slots=True)
class Address:
    """A Stacks account: its version byte (one of `AddressVersion`) and 20-byte HASH160."""

    version: int
    hash160: bytes

    def __post_init__(self) -> None:
        if self.version not in _VERSIONS:
            raise CodecError(f"no Stacks account has address version {self.version}")
        if not isinstance(self.hash160, bytes) or len(self.hash160) != _HASH_BYTES:
            raise CodecError("an address holds a hash of 20 bytes")

    @property
    def text(self) -> str:
        """The canonical c32check spelling, such as ``SP000000000000000000002Q6VF78``."""
        payload = self.hash160 + _checksum(self.version, self.hash160)
        return "S" + _ALPHABET[self.version] + _encode(payload)

    @property
    def is_mainnet(self) -> bool:
        """Whether the version belongs to the main network."""
        return self.version in (AddressVersion.MAINNET_SINGLE_SIG, AddressVersion.MAINNET_MULTI_SIG)

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> Address:
    """Reads the canonical spelling of an address; raises `CodecError` for anything else."""
    if not isinstance(text, str) or not 5 <= len(text) <= _MAX_TEXT or text[0] != "S":
        raise CodecError("not a Stacks address")
    try:
        digits = [_DIGITS[character] for character in text[1:]]
    except KeyError as error:
        raise CodecError("an address holds a character outside the c32 alphabet") from error
    payload = _decode(digits[1:])
    if len(payload) != _HASH_BYTES + _CHECKSUM_BYTES:
        raise CodecError("an address has the wrong length")
    address = Address(digits[0], payload[:_HASH_BYTES])
    if payload[_HASH_BYTES:] != _checksum(address.version, address.hash160):
        raise CodecError("an address has a wrong checksum")
    if address.text != text:
        raise CodecError("an address is not spelled canonically")
    return address


def _checksum(version: int, payload: bytes) -> bytes:
    first = hashlib.sha256(bytes([version]) + payload).digest()
    return hashlib.sha256(first).digest()[:_CHECKSUM_BYTES]


def _encode(payload: bytes) -> str:
    """Base 32 of the payload as one number; each leading zero byte is one leading zero digit."""
    number = int.from_bytes(payload, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    leading_zeros = len(payload) - len(payload.lstrip(b"\0"))
    return "0" * leading_zeros + "".join(reversed(digits))


def _decode(digits: list[int]) -> bytes:
    number = 0
    for digit in digits:
        number = number * 32 + digit
    leading_zeros = 0
    while leading_zeros < len(digits) and digits[leading_zeros] == 0:
        leading_zeros += 1
    return b"\0" * leading_zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
