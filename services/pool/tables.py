"""Tables of the schema `pool`. Journal, postings and statement lines are append-only; triggers keep them so."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, MetaData, SQLModel

from kernel.clock import wall_now
from kernel.idempotency import IdempotencyRecord
from kernel.lease import LeaseRecord
from kernel.outbox import OutboxRecord
from services.pool.tables_price import PriceRecord

METADATA = MetaData(schema="pool")
_TIME = sa.DateTime(timezone=True)


class Request(IdempotencyRecord, table=True):
    """Answers to writes, by request id."""

    metadata = METADATA
    __tablename__ = "request"


class Outbox(OutboxRecord, table=True):
    """Starts of and signals to workflows."""

    metadata = METADATA
    __tablename__ = "outbox"


class Lease(LeaseRecord, table=True):
    """Who runs the projector."""

    metadata = METADATA
    __tablename__ = "lease"


class Cursor(SQLModel, table=True):
    """The one row of the projector: how far the books have followed the chain."""

    metadata = METADATA
    __tablename__ = "cursor"
    name: str = Field(primary_key=True)
    cursor: str = ""
    projected_burn_height: int = Field(default=0, sa_type=sa.BigInteger)
    # Market time of the tip when the last events were applied.
    market_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    # Why no capacity is given out until a person clears it; empty normally.
    halt_reason: str = ""
    update_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class TierLock(SQLModel, table=True):
    """One row per tier and token: who changes its books or gives out its capacity locks it first."""

    metadata = METADATA
    __tablename__ = "tier_lock"
    tier: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    token: int = Field(primary_key=True, sa_type=sa.SmallInteger)


class JournalEntry(SQLModel, table=True):
    """One entry of the ledger; `cause` is unique, `reverses` the entry that it takes back.

    `event` is the cause without the number of its occurrence.
    """

    metadata = METADATA
    __tablename__ = "journal_entry"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    cause: str
    event: str
    kind: str
    burn_height: int = Field(sa_type=sa.BigInteger)
    time: dt.datetime = Field(sa_type=_TIME)
    txid: str = ""
    reason: str = ""
    reverses: int | None = Field(default=None, sa_type=sa.BigInteger)
    # What it is about, as a resource name; and the person who had it made.
    subject: str | None = None
    author: str | None = None


class PostingRow(SQLModel, table=True):
    """A signed amount on one account."""

    metadata = METADATA
    __tablename__ = "posting"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    entry_id: int = Field(sa_type=sa.BigInteger)
    account: str
    token: int = Field(sa_type=sa.SmallInteger)
    amount: int = Field(sa_type=sa.BigInteger)


class AccountBalance(SQLModel, table=True):
    """Sum of an account's postings, kept by a trigger on `posting` in the same transaction."""

    metadata = METADATA
    __tablename__ = "account_balance"
    account: str = Field(primary_key=True)
    token: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    balance: int = Field(sa_type=sa.BigInteger)


class StatementLine(SQLModel, table=True):
    """What moved in a provider's position. Shares held are the sum of `shares_delta`."""

    metadata = METADATA
    __tablename__ = "statement_line"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    entry_id: int = Field(sa_type=sa.BigInteger)
    provider: str
    kind: str
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    amount: int = Field(sa_type=sa.BigInteger)
    shares_delta: int = Field(default=0, sa_type=sa.BigInteger)
    txid: str = ""
    burn_height: int = Field(sa_type=sa.BigInteger)
    time: dt.datetime = Field(sa_type=_TIME)


class ShareBalance(SQLModel, table=True):
    """Sum of a provider's `shares_delta`, kept by a trigger on `statement_line`; never negative."""

    metadata = METADATA
    __tablename__ = "share_balance"
    tier: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    token: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    provider: str = Field(primary_key=True)
    shares: int = Field(sa_type=sa.BigInteger)


class TierShares(SQLModel, table=True):
    """Sum of `shares_delta` in a tier and token, kept by the same trigger."""

    metadata = METADATA
    __tablename__ = "tier_shares"
    tier: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    token: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    shares: int = Field(sa_type=sa.BigInteger)


class Deposit(PriceRecord, table=True):
    """A final deposit, also one taken back since, or an amount that re-entered with its voucher (`withdrawal_id`)."""

    metadata = METADATA
    __tablename__ = "deposit"
    id: str = Field(primary_key=True)
    provider: str
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    amount: int = Field(sa_type=sa.BigInteger)
    state: str
    shares: int = Field(default=0, sa_type=sa.BigInteger)
    txid: str
    burn_height: int = Field(sa_type=sa.BigInteger)
    withdrawal_id: str | None = None
    # Made again from the chain: whether its shares are there, or gone again, is not known.
    restored: bool = False
    # Why the last price could not give it shares; empty otherwise.
    wait_reason: str = ""
    # Market time from which a price may be used: when it was final, or when it last had to wait.
    final_market_time: dt.datetime = Field(sa_type=_TIME)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class Withdrawal(PriceRecord, table=True):
    """A withdrawal from request to payment, or a part of one (`part_of`) that was filled before the rest; or a deposit
    that is given back (`deposit_id`), which burns no shares."""

    metadata = METADATA
    __tablename__ = "withdrawal"
    id: str = Field(primary_key=True)
    provider: str
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    shares: int = Field(sa_type=sa.BigInteger)
    # Burned by its parts; the withdrawal itself is for the rest.
    filled_shares: int = Field(default=0, sa_type=sa.BigInteger)
    part_of: str = ""
    deposit_id: str | None = None
    # Made again from its voucher: how many shares were burned, and at which price, is not known.
    restored: bool = False
    # Its place in the queue of its tier and token; given by the database.
    queue_number: int | None = Field(default=None, sa_column=sa.Column(sa.BigInteger, sa.Identity()))
    state: str
    amount: int = Field(default=0, sa_type=sa.BigInteger)
    voucher_expiration_burn_height: int = Field(default=0, sa_type=sa.BigInteger)
    # Last height at which the voucher can be used; later than its expiration when the vault delayed it.
    last_use_burn_height: int = Field(default=0, sa_type=sa.BigInteger)
    public_key: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    signature: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    prepared_transaction: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    reason: str = ""
    txid: str = ""
    # Market time after which a price must be observed: of the request, when the one before it in the queue ended, or
    # when it last had to wait for capital.
    request_market_time: dt.datetime = Field(sa_type=_TIME)
    # Capital that was free then, base units: the first price after it pays no more. Null: as much as is free.
    free_at_turn: int | None = Field(default=None, sa_type=sa.BigInteger)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class Reservation(SQLModel, table=True):
    """Capacity set aside for one quote; also what was refused, and why."""

    metadata = METADATA
    __tablename__ = "reservation"
    policy_id: str = Field(primary_key=True)
    holder: str
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    max_payout: int = Field(sa_type=sa.BigInteger)
    quote_expiration_burn_height: int = Field(sa_type=sa.BigInteger)
    # Digest of the terms: the same policy id with other terms is refused.
    terms_sha256: bytes = Field(sa_type=sa.LargeBinary)
    state: str
    reason: str = ""
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
    end_time: dt.datetime | None = Field(default=None, sa_type=_TIME)


class Coverage(SQLModel, table=True):
    """A policy that the chain holds, as far as the pool is concerned. Status as on chain, or REVERSED."""

    metadata = METADATA
    __tablename__ = "coverage"
    policy_id: str = Field(primary_key=True)
    onchain_id: int = Field(sa_type=sa.BigInteger)
    tier: int = Field(sa_type=sa.SmallInteger)
    token: int = Field(sa_type=sa.SmallInteger)
    amount_sats: int = Field(sa_type=sa.BigInteger)
    strike_e8: int = Field(sa_type=sa.BigInteger)
    floor_e8: int = Field(sa_type=sa.BigInteger)
    max_payout: int = Field(sa_type=sa.BigInteger)
    premium: int = Field(sa_type=sa.BigInteger)
    created_burn_height: int = Field(sa_type=sa.BigInteger)
    expiration_burn_height: int = Field(sa_type=sa.BigInteger)
    status: str
    payout: int = Field(default=0, sa_type=sa.BigInteger)
    ended_burn_height: int | None = Field(default=None, sa_type=sa.BigInteger)
    # Whether expiration in the money pays; the holder may have opted out.
    auto_settle: bool = Field(default=True)


class Decision(SQLModel, table=True):
    """The prices by which a policy will be settled, or all that expire at one height, as the oracle signed them."""

    metadata = METADATA
    __tablename__ = "decision"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    policy_id: str | None = None
    expiration_burn_height: int | None = Field(default=None, sa_type=sa.BigInteger)
    btc_price_e8: int = Field(sa_type=sa.BigInteger)
    stx_price_e8: int = Field(sa_type=sa.BigInteger)


class DecisionCursor(SQLModel, table=True):
    """The one row that says how far the oracle's receipts were read."""

    metadata = METADATA
    __tablename__ = "decision_cursor"
    name: str = Field(primary_key=True)
    cursor: str = ""


class UnknownEvent(SQLModel, table=True):
    """An event that the books could not take in; a person looks at it."""

    metadata = METADATA
    __tablename__ = "unknown_event"
    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    cause: str
    burn_height: int = Field(sa_type=sa.BigInteger)
    reason: str
    event: bytes = Field(sa_type=sa.LargeBinary)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class Reconciliation(SQLModel, table=True):
    """A report; `differences` as the API's messages in JSON."""

    metadata = METADATA
    __tablename__ = "reconciliation"
    id: str = Field(primary_key=True)
    block_hash: str
    burn_height: int = Field(sa_type=sa.BigInteger)
    differences: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)
    policies_compared: int
    accounts_compared: int
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
