"""Tables of the schema `chain_gateway`. Hashes and txids are 64 hexadecimal digits without 0x."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from kernel.clock import wall_now
from kernel.idempotency import IdempotencyRecord
from kernel.lease import LeaseRecord

SCHEMA: Final = "chain_gateway"
METADATA: Final = sa.MetaData(schema=SCHEMA)
_BIG: Final = sa.BigInteger
_BYTES: Final = sa.LargeBinary
_TIME: Final[Any] = sa.DateTime(timezone=True)
_BYTES_LIST: Final[Any] = ARRAY(sa.LargeBinary)


class Request(IdempotencyRecord, table=True):
    """Requests that were answered."""

    metadata = METADATA
    __tablename__ = "request"


class Lease(LeaseRecord, table=True):
    """Who ingests; everything else is shared by all replicas."""

    metadata = METADATA
    __tablename__ = "lease"


class Block(SQLModel, table=True):
    """A Stacks block as it was ingested; `canonical` becomes false when it is withdrawn."""

    metadata = METADATA
    __tablename__ = "block"
    index_hash: str = Field(primary_key=True)
    hash: str
    parent_index_hash: str
    stacks_height: int = Field(sa_type=_BIG)
    burn_height: int = Field(sa_type=_BIG)
    burn_hash: str
    burn_time: dt.datetime = Field(sa_type=_TIME)
    block_time: dt.datetime = Field(sa_type=_TIME)
    canonical: bool = True
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class Event(SQLModel, table=True):
    """One print of ours or fee that we paid, or its withdrawal. Sequences are given in commit order, without gaps.

    `withdrawn` marks a withdrawal, a row of its own; the row it withdraws is then no longer `canonical`.
    `confirmations_seen` is the most burn confirmations that it had under any tip that was left by a reorganisation, up
    to MAX_CONFIRMATIONS: consumers that asked for no more have seen it. `was_final` says the same for the service's own
    number. `backend_fee_ustx` is the fee of the whole
    transaction where one of our keys paid it, and repeats on each of its events.
    """

    metadata = METADATA
    __tablename__ = "event"
    sequence: int = Field(primary_key=True, sa_type=_BIG)
    withdrawn: bool = False
    canonical: bool = True
    was_final: bool = False
    confirmations_seen: int = 0
    index_hash: str
    block_hash: str
    stacks_height: int = Field(sa_type=_BIG)
    burn_height: int = Field(sa_type=_BIG)
    block_time: dt.datetime = Field(sa_type=_TIME)
    txid: str
    transaction_index: int
    event_index: int
    sender: str
    backend_fee_ustx: int = Field(default=0, sa_type=_BIG)
    contract: str
    topic: str
    value: bytes = Field(sa_type=_BYTES)


class ChainState(SQLModel, table=True):
    """The one row of what the gateway knows of the chain: its tip, market time, and the last event.

    `final_burn_height_high` is the highest final height ever. `parameter_sequence` is the last event of the
    parameter contract. `market_time` is null when it is wall time.
    """

    metadata = METADATA
    __tablename__ = "chain_state"
    id: int = Field(default=1, primary_key=True)
    index_hash: str
    block_hash: str
    stacks_height: int = Field(sa_type=_BIG)
    burn_height: int = Field(sa_type=_BIG)
    burn_time: dt.datetime = Field(sa_type=_TIME)
    latest_sequence: int = Field(default=0, sa_type=_BIG)
    parameter_sequence: int = Field(default=0, sa_type=_BIG)
    final_burn_height_high: int = Field(default=-1, sa_type=_BIG)
    market_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    refresh_time: dt.datetime = Field(sa_type=_TIME)
    advance_time: dt.datetime = Field(sa_type=_TIME)


class Intent(SQLModel, table=True):
    """What shall happen on chain once. `state` is a number of IntentState; lower `priority` goes first.

    While it is queued it is not sent before `hold_time`. With a `give_up_reason` nothing more is signed for it, and it
    ends CANCELLED once another transaction has its nonce finally. `origin_signed` is a user's transaction of which it
    pays the fee: the bytes that they signed.
    """

    metadata = METADATA
    __tablename__ = "intent"
    id: str = Field(primary_key=True)
    key: str
    call: bytes = Field(sa_type=_BYTES)
    purpose: str
    created_by: str
    contract: str
    function: str
    payload: bytes = Field(sa_type=_BYTES)
    post_conditions: list[bytes] = Field(sa_type=_BYTES_LIST)
    priority: int
    state: int
    contract_error: int = Field(default=0, sa_type=_BIG)
    reason: str = ""
    give_up_reason: str = ""
    origin_signed: bytes | None = Field(default=None, sa_type=_BYTES)
    hold_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
    end_time: dt.datetime | None = Field(default=None, sa_type=_TIME)


class NonceSlot(SQLModel, table=True):
    """A nonce of one of our keys and the intent that has it; null when whoever had it was given up or lost it."""

    metadata = METADATA
    __tablename__ = "nonce_slot"
    address: str = Field(primary_key=True)
    nonce: int = Field(primary_key=True, sa_type=_BIG)
    intent_id: str | None = None


class SigningAccount(SQLModel, table=True):
    """One of our keys' accounts. Its row is locked while a nonce is given.

    `base_nonce` is where its nonces start as long as no block that we ingested has a transaction of it; null until
    that is known. `complete`: it was known before the very first block, so that no transaction of it was missed.
    """

    metadata = METADATA
    __tablename__ = "signing_account"
    address: str = Field(primary_key=True)
    base_nonce: int | None = Field(default=None, sa_type=_BIG)
    complete: bool = False


class MinedNonce(SQLModel, table=True):
    """Which transaction has a nonce in the canonical chain, ours or anybody's: for our own accounts, and for the
    nonces of users' transactions that we follow. `final` once that was acted upon."""

    metadata = METADATA
    __tablename__ = "mined_nonce"
    sender: str = Field(primary_key=True)
    nonce: int = Field(primary_key=True, sa_type=_BIG)
    txid: str
    index_hash: str
    stacks_height: int = Field(sa_type=_BIG)
    burn_height: int = Field(sa_type=_BIG)
    final: bool = False


class ChainTransaction(SQLModel, table=True):
    """A signed transaction, of an intent or of a user, or a `filler` of a gap. Stored before it is broadcast.

    `state` is a number of TransactionState. The fields from `node_status` on are what the chain says;
    `mined_index_hash` is null while it is in no canonical block. `sends` counts broadcasts that may have arrived,
    `refusals` those in a row that a node refused for good. Whoever works on it moves `due_time` on first: until then
    no other replica does. `waiting_stacks_height`: since when a mempool holds its nonce. Of a user's transaction whose
    fee we pay, `sender` and `nonce` are the sponsor's, and `origin` and `origin_nonce` the user's.
    """

    metadata = METADATA
    __tablename__ = "chain_transaction"
    txid: str = Field(primary_key=True)
    intent_id: str | None = None
    prepared_id: str | None = None
    sender: str
    nonce: int = Field(sa_type=_BIG)
    origin: str | None = None
    origin_nonce: int | None = Field(default=None, sa_type=_BIG)
    fee_ustx: int = Field(sa_type=_BIG)
    contract: str
    function: str
    raw: bytes = Field(sa_type=_BYTES)
    state: int
    filler: bool = False
    sends: int = 0
    refusals: int = 0
    due_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
    node_status: str = ""
    result: str = ""
    mined_index_hash: str | None = None
    mined_stacks_height: int | None = Field(default=None, sa_type=_BIG)
    mined_burn_height: int | None = Field(default=None, sa_type=_BIG)
    waiting_stacks_height: int | None = Field(default=None, sa_type=_BIG)
    reason: str = ""
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class SignedQuote(SQLModel, table=True):
    """The one set of terms signed for a policy. `terms` is the message's Clarity form.

    `expiration_burn_height` is the last at which the contract takes it; null in rows from before it was stored.
    """

    metadata = METADATA
    __tablename__ = "signed_quote"
    policy_id: str = Field(primary_key=True)
    terms: bytes = Field(sa_type=_BYTES)
    signer: str
    signature: bytes = Field(sa_type=_BYTES)
    expiration_burn_height: int | None = Field(default=None, sa_type=_BIG)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class SignedVoucher(SQLModel, table=True):
    """The one set of terms signed for a withdrawal; as `SignedQuote`.

    `tier` is that of the shares, which is not signed; null in rows from before it was stored.
    """

    metadata = METADATA
    __tablename__ = "signed_voucher"
    withdrawal_id: str = Field(primary_key=True)
    terms: bytes = Field(sa_type=_BYTES)
    signer: str
    signature: bytes = Field(sa_type=_BYTES)
    expiration_burn_height: int | None = Field(default=None, sa_type=_BIG)
    tier: int | None = Field(default=None, sa_type=sa.SmallInteger)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class PreparedTransaction(SQLModel, table=True):
    """What a wallet was asked to sign; what comes back is compared with it."""

    metadata = METADATA
    __tablename__ = "prepared_transaction"
    id: str = Field(primary_key=True)
    principal: str
    contract: str
    function: str
    payload: bytes = Field(sa_type=_BYTES)
    post_conditions: list[bytes] = Field(sa_type=_BYTES_LIST)
    suggested_fee_ustx: int = Field(sa_type=_BIG)
    suggested_nonce: int = Field(sa_type=_BIG)
    sponsored: bool = False
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
