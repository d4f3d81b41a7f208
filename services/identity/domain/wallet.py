"""What identity needs to know of Stacks wallets: addresses of one key, the plain-message digest, signature shape.

Addresses are c32check (SIP-005). A plain message is hashed as every Stacks wallet does it, which is Bitcoin's
scheme with another prefix.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final

from services.identity.domain.errors import MalformedAddress, WrongSignature

SIGNATURE_BYTES: Final = 65
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HASH_BYTES: Final = 20
_CHECKSUM_BYTES: Final = 4
_LONGEST: Final = 41
_PREFIX: Final = b"\x17Stacks Signed Message:\n"
_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_MAINNET_CHAIN_ID: Final = 1


class Network(enum.IntEnum):
    """A network by the version byte of its addresses of one key."""

    MAINNET = 22
    TESTNET = 26

    @classmethod
    def of_chain(cls, chain_id: int) -> Network:
        """The network of a chain id: 1 is the main network, every other one uses test addresses."""
        return cls.MAINNET if chain_id == _MAINNET_CHAIN_ID else cls.TESTNET


def address_of(public_key: bytes, network: Network) -> str:
    """The address of a public key of 33 or 65 bytes; the two spellings of a key have two addresses."""
    key_hash = hashlib.new("ripemd160", hashlib.sha256(public_key).digest()).digest()
    return _spell(network, key_hash)


def check_address(text: str, network: Network) -> str:
    """`text` if it is the canonical address of one key on `network`; MalformedAddress otherwise."""
    if not 2 < len(text) <= _LONGEST or text[0] != "S" or any(character not in _ALPHABET for character in text[1:]):
        raise MalformedAddress("expected a Stacks address such as SP… or ST…")
    number = 0
    for character in text[2:]:
        number = number * 32 + _ALPHABET.index(character)
    if number.bit_length() > 8 * (_HASH_BYTES + _CHECKSUM_BYTES):
        raise MalformedAddress("expected a Stacks address such as SP… or ST…")
    key_hash = number.to_bytes(_HASH_BYTES + _CHECKSUM_BYTES, "big")[:_HASH_BYTES]
    # Spelling it again compares the checksum and refuses every spelling but the canonical one.
    version = _ALPHABET.index(text[1])
    if _spell(version, key_hash) != text:
        raise MalformedAddress("the checksum is wrong")
    if version != network:
        raise MalformedAddress(f"expected the address of one key on the {network.name.lower()} network")
    return text


def plain_message_hash(text: str) -> bytes:
    """The 32 bytes that a wallet signs for a plain message: sha256 of prefix, length as a varint, UTF-8."""
    message = text.encode()
    return hashlib.sha256(_PREFIX + _varint(len(message)) + message).digest()


def check_signature(signature: bytes) -> bytes:
    """`signature` if it is R || S || V in range with low S; WrongSignature otherwise.

    A high S has a low twin: one signature shall have one spelling.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise WrongSignature("a signature has 65 bytes: r, s and recovery id")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < _ORDER or not 0 < s <= _ORDER // 2 or signature[64] > 3:
        raise WrongSignature("the signature is out of range")
    return signature


def _spell(version: int, key_hash: bytes) -> str:
    check = hashlib.sha256(hashlib.sha256(bytes([version]) + key_hash).digest()).digest()[:_CHECKSUM_BYTES]
    payload = key_hash + check
    number, digits = int.from_bytes(payload, "big"), ""
    while number:
        number, digit = divmod(number, 32)
        digits = _ALPHABET[digit] + digits
    # One zero digit for each leading zero byte, as in Base58Check.
    return "S" + _ALPHABET[version] + "0" * (len(payload) - len(payload.lstrip(b"\0"))) + digits


def _varint(number: int) -> bytes:
    if number < 0xFD:
        return bytes([number])
    width, mark = (2, b"\xfd") if number <= 0xFFFF else (4, b"\xfe")
    return mark + number.to_bytes(width, "little")
