"""Who pays for a transaction and how they sign it: spending conditions of one key or several (SIP-005)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import (
    SIGNATURE_BYTES,
    check_public_key,
    compress,
    hash160,
    is_compressed,
    uncompress,
)
from services.chain_gateway.stacks.post_condition import check_u64
from services.chain_gateway.stacks.reader import Reader

UNSIGNED = bytes(SIGNATURE_BYTES)
"""Stands where a signature will be."""
MAX_KEYS = 16
_KEY_FIELDS = (0x00, 0x01)
_SIGNATURE_FIELDS = (0x02, 0x03)
_CHECKMULTISIG = 0xAE


class HashMode(IntEnum):
    """How keys become the hash of an address. In the non-sequential modes signers need no order."""

    P2PKH = 0x00
    P2SH = 0x01
    P2WPKH = 0x02
    P2WSH = 0x03
    P2SH_NON_SEQUENTIAL = 0x05
    P2WSH_NON_SEQUENTIAL = 0x07

    @property
    def is_single(self) -> bool:
        """Whether one key signs."""
        return self in (HashMode.P2PKH, HashMode.P2WPKH)

    @property
    def is_sequential(self) -> bool:
        """Whether each signer signs what the one before left."""
        return self in (HashMode.P2SH, HashMode.P2WSH)

    @property
    def is_segwit(self) -> bool:
        """Whether only compressed keys are allowed."""
        return self in (HashMode.P2WPKH, HashMode.P2WSH, HashMode.P2WSH_NON_SEQUENTIAL)


@dataclass(frozen=True, slots=True)
class SingleSigCondition:
    """One key. `signature` is R || S || V, or `UNSIGNED`."""

    hash_mode: HashMode
    signer: bytes
    nonce: int
    fee: int
    compressed: bool
    signature: bytes = UNSIGNED

    def __post_init__(self) -> None:
        _check(self.signer, self.nonce, self.fee)
        if not self.hash_mode.is_single or (self.hash_mode.is_segwit and not self.compressed):
            raise CodecError("the hash mode does not fit one key of this spelling")
        if len(self.signature) != SIGNATURE_BYTES:
            raise CodecError("a signature has 65 bytes")

    def cleared(self) -> SingleSigCondition:
        """Without nonce, fee and signature."""
        return SingleSigCondition(self.hash_mode, self.signer, 0, 0, self.compressed)

    def signed(self, signature: bytes) -> SingleSigCondition:
        """With this signature."""
        return SingleSigCondition(self.hash_mode, self.signer, self.nonce, self.fee, self.compressed, signature)


@dataclass(frozen=True, slots=True)
class KeyField:
    """The public key of one who does not sign."""

    public_key: bytes

    def __post_init__(self) -> None:
        check_public_key(self.public_key)


@dataclass(frozen=True, slots=True)
class SignatureField:
    """The signature R || S || V of one who does, and how their public key is spelled."""

    compressed: bool
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) != SIGNATURE_BYTES:
            raise CodecError("a signature has 65 bytes")


AuthField = KeyField | SignatureField


@dataclass(frozen=True, slots=True)
class MultiSigCondition:
    """Several keys, of which `threshold` sign; `fields` follow the order of the keys in the address."""

    hash_mode: HashMode
    signer: bytes
    nonce: int
    fee: int
    fields: tuple[AuthField, ...]
    threshold: int

    def __post_init__(self) -> None:
        _check(self.signer, self.nonce, self.fee)
        if self.hash_mode.is_single:
            raise CodecError("the hash mode is for one key")
        if len(self.fields) > MAX_KEYS or not 0 <= self.threshold <= MAX_KEYS:
            raise CodecError(f"more than {MAX_KEYS} keys")

    def cleared(self) -> MultiSigCondition:
        """Without nonce, fee and fields."""
        return MultiSigCondition(self.hash_mode, self.signer, 0, 0, (), self.threshold)


SpendingCondition = SingleSigCondition | MultiSigCondition


def signer_hash(mode: HashMode, public_keys: Sequence[bytes], threshold: int = 1) -> bytes:
    """The HASH160 of an account; raises `CodecError` when the keys do not fit the mode."""
    if mode.is_single and len(public_keys) == threshold == 1 and isinstance(public_keys[0], bytes):
        return _single_hash(mode, public_keys[0])
    keys = [check_public_key(key) for key in public_keys]
    if not 1 <= threshold <= len(keys) <= MAX_KEYS or mode.is_single:
        raise CodecError("the keys do not fit the hash mode")
    if mode.is_segwit and not all(map(is_compressed, keys)):
        raise CodecError("this hash mode allows compressed keys only")
    pushes = b"".join(bytes([len(key)]) + key for key in keys)
    script = bytes([0x50 + threshold]) + pushes + bytes([0x50 + len(keys), _CHECKMULTISIG])
    if mode.is_segwit:
        return hash160(b"\x00\x20" + hashlib.sha256(script).digest())
    return hash160(script)


@lru_cache(maxsize=1_024)
def _single_hash(mode: HashMode, public_key: bytes) -> bytes:
    """Kept for the few keys that sign again and again."""
    digest = hash160(check_public_key(public_key))
    if mode is HashMode.P2PKH:
        return digest
    if not is_compressed(public_key):
        raise CodecError("this hash mode allows compressed keys only")
    return hash160(b"\x00\x14" + digest)


def account_of(condition: SpendingCondition, mainnet: bool) -> Address:
    """The address that a condition speaks for: one version for a plain single key, another for the rest."""
    if condition.hash_mode is HashMode.P2PKH:
        version = AddressVersion.MAINNET_SINGLE_SIG if mainnet else AddressVersion.TESTNET_SINGLE_SIG
    else:
        version = AddressVersion.MAINNET_MULTI_SIG if mainnet else AddressVersion.TESTNET_MULTI_SIG
    return Address(version, condition.signer)


def write_condition(condition: SpendingCondition) -> bytes:
    """The bytes of a spending condition."""
    head = bytes([condition.hash_mode]) + condition.signer
    head += condition.nonce.to_bytes(8, "big") + condition.fee.to_bytes(8, "big")
    if isinstance(condition, SingleSigCondition):
        return head + bytes([0 if condition.compressed else 1]) + to_wire(condition.signature)
    fields = b"".join(map(_write_field, condition.fields))
    return head + len(condition.fields).to_bytes(4, "big") + fields + condition.threshold.to_bytes(2, "big")


def read_condition(reader: Reader) -> SpendingCondition:
    """The next spending condition of a transaction."""
    try:
        mode = HashMode(reader.byte())
    except ValueError as error:
        raise CodecError("unknown hash mode") from error
    signer, nonce, fee = reader.take(20), reader.unsigned(8), reader.unsigned(8)
    if mode.is_single:
        encoding = reader.byte()
        if encoding > 1:
            raise CodecError("unknown spelling of a public key")
        return SingleSigCondition(mode, signer, nonce, fee, encoding == 0, _read_signature(reader))
    count = reader.unsigned(4)
    if count > MAX_KEYS:
        raise CodecError(f"more than {MAX_KEYS} keys")
    fields = tuple(_read_field(reader) for _ in range(count))
    return MultiSigCondition(mode, signer, nonce, fee, fields, reader.unsigned(2))


def to_wire(signature: bytes) -> bytes:
    """R || S || V as V || R || S, which is how transactions carry a signature."""
    return signature[64:] + signature[:64]


def _read_signature(reader: Reader) -> bytes:
    wire = reader.take(SIGNATURE_BYTES)
    return wire[1:] + wire[:1]


def _write_field(field: AuthField) -> bytes:
    if isinstance(field, KeyField):
        compressed = is_compressed(field.public_key)
        return bytes([_KEY_FIELDS[0 if compressed else 1]]) + compress(field.public_key)
    return bytes([_SIGNATURE_FIELDS[0 if field.compressed else 1]]) + to_wire(field.signature)


def _read_field(reader: Reader) -> AuthField:
    kind = reader.byte()
    if kind in _KEY_FIELDS:
        key = reader.take(33)
        compressed = compress(key)
        return KeyField(compressed if kind == _KEY_FIELDS[0] else uncompress(compressed))
    if kind in _SIGNATURE_FIELDS:
        return SignatureField(kind == _SIGNATURE_FIELDS[0], _read_signature(reader))
    raise CodecError("unknown kind of authorization field")


def _check(signer: bytes, nonce: int, fee: int) -> None:
    if not isinstance(signer, bytes) or len(signer) != 20:
        raise CodecError("a signer is a hash of 20 bytes")
    check_u64(nonce)
    check_u64(fee)
