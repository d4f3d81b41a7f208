"""Stacks transactions: made, written and read (SIP-005). Signing is in `transaction_signing`.

A transaction is a value: to set a fee or a nonce makes a new one. `deserialize_transaction` accepts exactly
what `serialize_transaction` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    ContractPrincipal,
    NoneValue,
    Principal,
    Some,
    StandardPrincipal,
    UInt,
)
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.keys import hash160, is_compressed
from services.chain_gateway.stacks.payload import (
    ContractCall,
    ContractDeploy,
    Payload,
    TokenTransfer,
    read_payload,
    write_payload,
)
from services.chain_gateway.stacks.post_condition import (
    PostCondition,
    PostConditionMode,
    read_post_condition,
    write_post_condition,
)
from services.chain_gateway.stacks.reader import Reader
from services.chain_gateway.stacks.spending import (
    HashMode,
    MultiSigCondition,
    SingleSigCondition,
    SpendingCondition,
    account_of,
    read_condition,
    signer_hash,
    write_condition,
)

MAX_TRANSACTION_BYTES = 2_097_152
_Member = TypeVar("_Member", bound=IntEnum)
_STANDARD = 0x04
_SPONSORED = 0x05


class TransactionVersion(IntEnum):
    """The first byte: which kind of network."""

    MAINNET = 0x00
    TESTNET = 0x80


class AnchorMode(IntEnum):
    """Which kind of block may hold the transaction; today's nodes read it and ignore it."""

    ON_CHAIN_ONLY = 1
    OFF_CHAIN_ONLY = 2
    ANY = 3


@dataclass(frozen=True, slots=True)
class Network:
    """The two numbers that bind a transaction to one chain."""

    version: TransactionVersion
    chain_id: int

    def __post_init__(self) -> None:
        if not isinstance(self.chain_id, int) or not 0 <= self.chain_id < 1 << 32:
            raise CodecError("a chain id has 32 bits")


MAINNET = Network(TransactionVersion.MAINNET, 1)
TESTNET = Network(TransactionVersion.TESTNET, 0x8000_0000)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. `sponsor` pays the fee in a sponsored one and is None otherwise."""

    network: Network
    origin: SpendingCondition
    payload: Payload
    post_conditions: tuple[PostCondition, ...] = ()
    post_condition_mode: PostConditionMode = PostConditionMode.DENY
    anchor_mode: AnchorMode = AnchorMode.ANY
    sponsor: SpendingCondition | None = None
    _body: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "post_conditions", tuple(self.post_conditions))

    def authorized(self, origin: SpendingCondition, sponsor: SpendingCondition | None) -> Transaction:
        """The same transaction under other spending conditions; what it does is not written anew."""
        other = Transaction(
            self.network,
            origin,
            self.payload,
            self.post_conditions,
            self.post_condition_mode,
            self.anchor_mode,
            sponsor,
        )
        object.__setattr__(other, "_body", self.body)
        return other

    @property
    def body(self) -> bytes:
        """All that follows the spending conditions, which is what signatures leave alone: written once."""
        if not self._body:
            modes = bytes((self.anchor_mode, self.post_condition_mode))
            count = len(self.post_conditions).to_bytes(4, "big")
            conditions = b"".join(map(write_post_condition, self.post_conditions))
            object.__setattr__(self, "_body", modes + count + conditions + write_payload(self.payload))
        return self._body

    @property
    def sender(self) -> Address:
        """The account acted for, as it claims; `verify_transaction` of `transaction_signing` proves it."""
        return account_of(self.origin, self.network.version is TransactionVersion.MAINNET)

    @property
    def sponsor_address(self) -> Address | None:
        """The account that pays the fee of a sponsored transaction, as it claims."""
        if self.sponsor is None:
            return None
        return account_of(self.sponsor, self.network.version is TransactionVersion.MAINNET)

    @property
    def fee_ustx(self) -> int:
        """The fee, whoever pays it."""
        return self.origin.fee if self.sponsor is None else self.sponsor.fee

    @property
    def nonce(self) -> int:
        """The origin's nonce."""
        return self.origin.nonce

    @property
    def txid(self) -> str:
        """64 hex digits, without 0x; a signature is part of what is hashed."""
        return transaction_hash(serialize_transaction(self)).hex()


def transaction_hash(data: bytes) -> bytes:
    """SHA-512/256, for ids and for what is signed."""
    return hashlib.new("sha512_256", data).digest()


def single_sig(public_key: bytes, nonce: int, fee_ustx: int) -> SingleSigCondition:
    """An unsigned condition of one key, of the kind that wallets use (P2PKH)."""
    signer = signer_hash(HashMode.P2PKH, [public_key])
    return SingleSigCondition(HashMode.P2PKH, signer, nonce, fee_ustx, is_compressed(public_key))


def multi_sig(
    mode: HashMode, public_keys: Sequence[bytes], threshold: int, nonce: int, fee_ustx: int
) -> MultiSigCondition:
    """An unsigned condition of several keys, in the order of the account's address."""
    return MultiSigCondition(mode, signer_hash(mode, public_keys, threshold), nonce, fee_ustx, (), threshold)


def pending_sponsor() -> SingleSigCondition:
    """Stands for a sponsor not yet known: no key has this hash. It is not part of what the origin signs."""
    return SingleSigCondition(HashMode.P2PKH, hash160(bytes(33)), 0, 0, True)


def sip010_transfer(
    token: ContractPrincipal, amount: int, sender: Address, recipient: Principal, memo: Buffer | None = None
) -> ContractCall:
    """The call that moves a SIP-010 token; `memo` is a buffer of at most 34 bytes."""
    arguments: tuple[ClarityValue, ...] = (
        UInt(amount),
        StandardPrincipal(sender),
        recipient,
        NoneValue() if memo is None else Some(memo),
    )
    return ContractCall(token.address, token.name, "transfer", arguments)


def serialize_transaction(transaction: Transaction) -> bytes:
    """The bytes that are broadcast."""
    network, sponsor = transaction.network, transaction.sponsor
    kind = _STANDARD if sponsor is None else _SPONSORED
    head = bytes((network.version,)) + network.chain_id.to_bytes(4, "big") + bytes((kind,))
    auth = write_condition(transaction.origin) + (b"" if sponsor is None else write_condition(sponsor))
    return head + auth + transaction.body


def deserialize_transaction(data: bytes) -> Transaction:
    """Reads one transaction; raises `CodecError` for what `serialize_transaction` would not write."""
    if len(data) > MAX_TRANSACTION_BYTES:
        raise CodecError("a transaction is too long")
    reader = Reader(data)
    network = Network(_member(TransactionVersion, reader), reader.unsigned(4))
    kind = reader.byte()
    if kind not in (_STANDARD, _SPONSORED):
        raise CodecError("unknown kind of authorization")
    origin = read_condition(reader)
    sponsor = read_condition(reader) if kind == _SPONSORED else None
    body = reader.rest()
    anchor_mode, post_condition_mode = _member(AnchorMode, reader), _member(PostConditionMode, reader)
    count = reader.unsigned(4)
    if count > reader.remaining:
        raise CodecError("more post-conditions than bytes")
    conditions = tuple(read_post_condition(reader) for _ in range(count))
    payload = read_payload(reader)
    reader.end()
    transaction = Transaction(network, origin, payload, conditions, post_condition_mode, anchor_mode, sponsor)
    # What was read has one spelling only: to write it again would give these very bytes.
    object.__setattr__(transaction, "_body", body)
    return transaction


def _member(kinds: type[_Member], reader: Reader) -> _Member:
    try:
        return kinds(reader.byte())
    except ValueError as error:
        raise CodecError(f"unknown {kinds.__name__}") from error


__all__ = [
    "MAINNET",
    "TESTNET",
    "AnchorMode",
    "ContractCall",
    "ContractDeploy",
    "Network",
    "Payload",
    "TokenTransfer",
    "Transaction",
    "TransactionVersion",
    "deserialize_transaction",
    "multi_sig",
    "pending_sponsor",
    "serialize_transaction",
    "single_sig",
    "sip010_transfer",
    "transaction_hash",
]
