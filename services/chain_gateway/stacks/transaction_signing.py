"""What is signed in a transaction, by whom, and whether it holds.

Each signer signs the hash of (current hash, kind of authorization, fee, nonce). The current hash starts as
the id of the transaction with every signature, fee and nonce cleared; in sequential modes it takes in each
signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chain_gateway.stacks.errors import CodecError, MissingSignature, SignatureError
from services.chain_gateway.stacks.keys import is_compressed, recover
from services.chain_gateway.stacks.signer import Signer
from services.chain_gateway.stacks.spending import (
    UNSIGNED,
    AuthField,
    HashMode,
    KeyField,
    MultiSigCondition,
    SignatureField,
    SingleSigCondition,
    SpendingCondition,
    signer_hash,
    to_wire,
)
from services.chain_gateway.stacks.transaction import Transaction, serialize_transaction, transaction_hash

_ORIGIN = 0x04
_SPONSOR = 0x05
_NO_SPONSOR = SingleSigCondition(HashMode.P2PKH, bytes(20), 0, 0, True)
"""Stands for the sponsor, whoever it will be, in what the origin signs."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Whose keys signed for the origin, and for the sponsor when there is one, in the order of the fields."""

    origin_keys: tuple[bytes, ...]
    sponsor_keys: tuple[bytes, ...]


def initial_sighash(transaction: Transaction) -> bytes:
    """The id of the transaction before anybody signed."""
    sponsor = None if transaction.sponsor is None else _NO_SPONSOR
    cleared = transaction.authorized(transaction.origin.cleared(), sponsor)
    return transaction_hash(serialize_transaction(cleared))


def presign_sighash(transaction: Transaction) -> bytes:
    """The 32 bytes that the origin signs (in the sequential modes: that the first of them signs)."""
    return _presign(initial_sighash(transaction), _ORIGIN, transaction.origin)


def sponsor_sighash(transaction: Transaction) -> bytes:
    """The 32 bytes that the sponsor signs, after the origin; raises `CodecError` without a sponsor."""
    if transaction.sponsor is None:
        raise CodecError("the transaction has no sponsor")
    current, _ = _verify(transaction.origin, initial_sighash(transaction), _ORIGIN)
    return _presign(current, _SPONSOR, transaction.sponsor)


def sign_transaction(transaction: Transaction, signer: Signer) -> Transaction:
    """Signs as the one key of the origin; raises `CodecError` when the key is not the account's."""
    origin = _own_condition(transaction.origin, signer)
    signature = _sign(signer, _presign(initial_sighash(transaction), _ORIGIN, origin))
    return transaction.authorized(origin.signed(signature), transaction.sponsor)


def sign_as_sponsor(transaction: Transaction, sponsor: SingleSigCondition, signer: Signer) -> Transaction:
    """Sets who pays the fee and signs as them; the origin must have signed before."""
    sponsored = transaction.authorized(transaction.origin, _own_condition(sponsor, signer))
    signature = _sign(signer, sponsor_sighash(sponsored))
    return transaction.authorized(transaction.origin, sponsor.signed(signature))


def sign_multisig(transaction: Transaction, public_keys: Sequence[bytes], signers: Sequence[Signer]) -> Transaction:
    """Signs as the given owners of a shared account; `public_keys` are all its keys, in their order."""
    origin = transaction.origin
    if not isinstance(origin, MultiSigCondition):
        raise CodecError("the account has one key")
    if signer_hash(origin.hash_mode, public_keys, origin.threshold) != origin.signer:
        raise CodecError("the keys are not those of the account")
    by_key = {signer.public_key: signer for signer in signers}
    if len(by_key) != len(signers) or not set(by_key) <= set(public_keys):
        raise CodecError("a signer is not an owner of the account")
    current = initial_sighash(transaction)
    fields: list[AuthField] = []
    for key in public_keys:
        if key not in by_key:
            fields.append(KeyField(key))
            continue
        digest = _presign(current, _ORIGIN, origin)
        field = SignatureField(is_compressed(key), _sign(by_key[key], digest))
        fields.append(field)
        if origin.hash_mode.is_sequential:
            current = _postsign(digest, field.compressed, field.signature)
    signed = transaction.authorized(replace(origin, fields=tuple(fields)), transaction.sponsor)
    _verify(signed.origin, initial_sighash(signed), _ORIGIN)
    return signed


def verify_transaction(transaction: Transaction) -> Verified:
    """Proves that each signature recovers to a key and the keys hash to the account, or `SignatureError`."""
    current, origin_keys = _verify(transaction.origin, initial_sighash(transaction), _ORIGIN)
    if transaction.sponsor is None:
        return Verified(origin_keys, ())
    _, sponsor_keys = _verify(transaction.sponsor, current, _SPONSOR)
    return Verified(origin_keys, sponsor_keys)


def verify_origin(transaction: Transaction) -> tuple[bytes, ...]:
    """Proves the origin's signatures alone, as of a transaction that waits for its sponsor."""
    return _verify(transaction.origin, initial_sighash(transaction), _ORIGIN)[1]


def _own_condition(condition: SpendingCondition, signer: Signer) -> SingleSigCondition:
    if not isinstance(condition, SingleSigCondition):
        raise CodecError("the account has several keys")
    if signer_hash(condition.hash_mode, [signer.public_key]) != condition.signer:
        raise CodecError("the signer's key is not the account's")
    return condition


def _sign(signer: Signer, digest: bytes) -> bytes:
    """Signs, and checks that the signer, which may be a machine elsewhere, signed this with its key."""
    signature = signer.sign_digest(digest)
    if recover(digest, signature, is_compressed(signer.public_key)) != signer.public_key:
        raise SignatureError("the signer answered with a signature of another key")
    return signature


def _presign(current: bytes, kind: int, condition: SpendingCondition) -> bytes:
    terms = condition.fee.to_bytes(8, "big") + condition.nonce.to_bytes(8, "big")
    return transaction_hash(current + bytes([kind]) + terms)


def _postsign(digest: bytes, compressed: bool, signature: bytes) -> bytes:
    return transaction_hash(digest + bytes([0 if compressed else 1]) + to_wire(signature))


def _verify(condition: SpendingCondition, current: bytes, kind: int) -> tuple[bytes, tuple[bytes, ...]]:
    """The hash after this condition's signatures, and the keys that signed."""
    if isinstance(condition, SingleSigCondition):
        if condition.signature == UNSIGNED:
            raise MissingSignature("the transaction is not signed")
        digest = _presign(current, kind, condition)
        key = recover(digest, condition.signature, condition.compressed)
        if signer_hash(condition.hash_mode, [key]) != condition.signer:
            raise SignatureError("the signature is not of the account's key")
        return _postsign(digest, condition.compressed, condition.signature), (key,)
    return _verify_several(condition, current, kind)


def _verify_several(condition: MultiSigCondition, current: bytes, kind: int) -> tuple[bytes, tuple[bytes, ...]]:
    keys: list[bytes] = []
    signed: list[bytes] = []
    for field in condition.fields:
        if isinstance(field, KeyField):
            keys.append(field.public_key)
            continue
        digest = _presign(current, kind, condition)
        key = recover(digest, field.signature, field.compressed)
        keys.append(key)
        signed.append(key)
        if condition.hash_mode.is_sequential:
            current = _postsign(digest, field.compressed, field.signature)
    if len(signed) < condition.threshold:
        raise MissingSignature("too few owners of the account have signed")
    if condition.hash_mode.is_sequential and len(signed) > condition.threshold:
        raise SignatureError("more owners have signed than the account takes")
    if signer_hash(condition.hash_mode, keys, condition.threshold) != condition.signer:
        raise SignatureError("the keys are not those of the account")
    return current, tuple(signed)
