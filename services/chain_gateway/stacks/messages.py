"""Messages that wallets and our own keys sign: plain text, and structured Clarity data (SIP-018)."""

from __future__ import annotations

import hashlib

from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    KeyOrder,
    Principal,
    StringAscii,
    TupleValue,
    UInt,
    serialize,
)
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import recover, verify
from services.chain_gateway.stacks.signer import Signer

_PLAIN_PREFIX = b"\x17Stacks Signed Message:\n"
_STRUCTURED_PREFIX = b"SIP018"


def encode_plain(message: str) -> bytes:
    """The bytes that are hashed for a plain message: prefix, length as a Bitcoin varint, UTF-8."""
    try:
        text = message.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CodecError("a message is not valid Unicode") from error
    return _PLAIN_PREFIX + _varint(len(text)) + text


def plain_hash(message: str) -> bytes:
    """The 32-byte digest of a plain message."""
    return hashlib.sha256(encode_plain(message)).digest()


def structured_domain(name: str, chain_id: int, contract: Principal) -> TupleValue:
    """The domain of our own messages: what kind, on which chain, and which contract verifies it."""
    return TupleValue(
        {
            "name": StringAscii(name),
            "version": StringAscii("1"),
            "chain-id": UInt(chain_id),
            "contract": contract,
        }
    )


def value_hash(value: ClarityValue, order: KeyOrder = KeyOrder.CHAIN) -> bytes:
    """SHA-256 of the consensus bytes, of a domain or a message."""
    return hashlib.sha256(serialize(value, order)).digest()


def encode_structured(domain: ClarityValue, message: ClarityValue, order: KeyOrder = KeyOrder.CHAIN) -> bytes:
    """The bytes that are hashed for a structured message: prefix, hash of the domain, hash of the message."""
    return _STRUCTURED_PREFIX + value_hash(domain, order) + value_hash(message, order)


def structured_hash(domain: ClarityValue, message: ClarityValue, order: KeyOrder = KeyOrder.CHAIN) -> bytes:
    """The 32-byte digest of a structured message, as the contracts compute it."""
    return hashlib.sha256(encode_structured(domain, message, order)).digest()


def sign_plain(signer: Signer, message: str) -> bytes:
    """Signs a plain message; 65 bytes R || S || V."""
    return signer.sign_digest(plain_hash(message))


def sign_structured(signer: Signer, domain: ClarityValue, message: ClarityValue) -> bytes:
    """Signs a structured message; 65 bytes R || S || V."""
    return signer.sign_digest(structured_hash(domain, message))


def recover_plain(message: str, signature: bytes) -> bytes:
    """The compressed public key that signed a plain message; raises `SignatureError` when there is none."""
    return recover(plain_hash(message), signature)


def recover_structured(domain: ClarityValue, message: ClarityValue, signature: bytes) -> bytes:
    """The compressed public key that signed a structured message; `SignatureError` when there is none."""
    return recover(structured_hash(domain, message), signature)


def verify_plain(message: str, signature: bytes, public_key: bytes) -> None:
    """Raises `SignatureError` unless this key signed the plain message."""
    verify(plain_hash(message), signature, public_key)


def verify_structured(domain: ClarityValue, message: ClarityValue, signature: bytes, public_key: bytes) -> None:
    """Raises `SignatureError` unless this key signed the structured message."""
    verify(structured_hash(domain, message), signature, public_key)


def _varint(number: int) -> bytes:
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFF_FFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")
