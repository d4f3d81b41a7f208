"""secp256k1 keys and recoverable signatures, as Stacks uses them.

A public key is its 33 (compressed) or 65 bytes; a signature is 65 bytes R || S || V, V being the recovery id.
High-s signatures are refused everywhere: each has a low-s twin, and one message shall have one spelling.
"""

from __future__ import annotations

import hashlib

from coincurve import PublicKey

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.errors import CodecError, SignatureError

SIGNATURE_BYTES = 65
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256."""
    return hashlib.new("ripemd160", hashlib.sha256(data).digest()).digest()


def is_compressed(public_key: bytes) -> bool:
    """Whether the key is spelled in 33 bytes."""
    return len(public_key) == 33


def check_public_key(public_key: bytes) -> bytes:
    """Gives back a public key that is a point of the curve in 33 or 65 bytes, else raises `CodecError`."""
    return _parse(public_key).format(compressed=is_compressed(public_key))


def compress(public_key: bytes) -> bytes:
    """The 33-byte spelling of a public key."""
    return _parse(public_key).format(compressed=True)


def uncompress(public_key: bytes) -> bytes:
    """The 65-byte spelling of a public key."""
    return _parse(public_key).format(compressed=False)


def address_of(public_key: bytes, version: int) -> Address:
    """The address of one key; `version` is one of `AddressVersion`. The two spellings have two addresses."""
    return Address(version, hash160(check_public_key(public_key)))


def check_signature(signature: bytes) -> bytes:
    """Gives back a signature in range, low-s, with V of 0 to 3; raises `SignatureError` otherwise."""
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise SignatureError("a signature has 65 bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < ORDER or s == 0 or signature[64] > 3:
        raise SignatureError("a signature is out of range")
    if s > ORDER // 2:
        raise SignatureError("a signature is not low-s")
    return signature


def recover(digest: bytes, signature: bytes, compressed: bool = True) -> bytes:
    """The public key that signed the 32-byte digest; raises `SignatureError` when there is none."""
    check_signature(signature)
    if len(digest) != 32:
        raise SignatureError("a digest has 32 bytes")
    try:
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise SignatureError("no key is recovered from the signature") from error
    return key.format(compressed=compressed)


def verify(digest: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises `SignatureError` unless the signature recovers to exactly this key, recovery id included."""
    if recover(digest, signature) != compress(public_key):
        raise SignatureError("the signature belongs to another key")


def _parse(public_key: bytes) -> PublicKey:
    leads = {33: (2, 3), 65: (4,)}
    if not isinstance(public_key, bytes) or public_key[:1] not in map(_byte, leads.get(len(public_key), ())):
        raise CodecError("a public key has 33 or 65 bytes")
    try:
        return PublicKey(public_key)
    except ValueError as error:
        raise CodecError("a public key is not a point of the curve") from error


def _byte(number: int) -> bytes:
    return bytes([number])
