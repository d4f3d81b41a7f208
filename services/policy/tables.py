"""Tables of schema `policy`. Columns of `policy` and `policy_history` are named as the domain's fields."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from kernel.idempotency import IdempotencyRecord
from kernel.lease import LeaseRecord
from kernel.outbox import OutboxRecord

SCHEMA: Final = "policy"
METADATA: Final = sa.MetaData(schema=SCHEMA)
CHANGES_CHANNEL: Final = "policy_changes"


def _time() -> Any:
    return Field(sa_type=sa.DateTime(timezone=True))


def _time_or_none() -> Any:
    return Field(default=None, sa_type=sa.DateTime(timezone=True))


def _big(default: int = 0) -> Any:
    return Field(default=default, sa_type=sa.BigInteger)


class PolicyRow(SQLModel, table=True):
    """One policy; see domain.policy.Policy."""

    metadata = METADATA
    __tablename__ = "policy"

    id: str = Field(primary_key=True)
    holder_principal: str
    token: int = Field(sa_type=sa.SmallInteger)
    tier: int = Field(sa_type=sa.SmallInteger)
    protected_amount_sats: int = _big()
    strike_price_usd_e8: int = _big()
    floor_price_usd_e8: int = _big()
    btc_price_usd_e8: int = _big()
    stx_price_usd_e8: int = _big()
    premium_base_units: int = _big()
    fee_base_units: int = _big()
    max_payout_base_units: int = _big()
    auto_settle: bool
    quote_burn_height: int = _big()
    quote_expiration_burn_height: int = _big()
    expiration_burn_height: int = _big()
    state: str
    create_time: dt.datetime = _time()
    update_time: dt.datetime = _time()
    version: int = _big(1)
    quote_btc_round: int = _big()
    quote_stx_round: int = _big()
    breakdown: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    counterparty_principal: str = ""
    quote_signature: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    prepared_transaction: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    # NULL until it is on chain.
    onchain_id: int | None = Field(default=None, sa_type=sa.BigInteger)
    onchain_state: str = "NONE"
    onchain_burn_height: int = _big()
    creation_burn_height: int = _big()
    grace_blocks: int = _big()
    confirm_time: dt.datetime | None = _time_or_none()
    creation_txid: str = ""
    last_status_txid: str = ""
    activation_number: int = _big()
    activation_burn_height: int = _big()
    unjudged_activation: bool = False
    settlement_run: int = _big()
    payout_base_units: int = _big()
    settlement_btc_price_usd_e8: int = _big()
    settlement_stx_price_usd_e8: int = _big()
    settlement_time: dt.datetime | None = _time_or_none()
    expiry_checked_burn_height: int = _big()
    due_burn_height: int = _big()
    expiry_batch_id: str = ""
    reason: str = ""


class HistoryRow(SQLModel, table=True):
    """One line of a policy's history; append-only, by a trigger. `from_state` is NULL at birth."""

    metadata = METADATA
    __tablename__ = "policy_history"

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    policy_id: str
    version: int = _big()
    from_state: str | None = None
    to_state: str
    actor: str
    cause: str
    time: dt.datetime = _time()
    txid: str = ""
    burn_height: int = _big()


class ActivationRow(SQLModel, table=True):
    """One recorded activation; see domain.activation.Activation."""

    metadata = METADATA
    __tablename__ = "activation"

    policy_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=sa.BigInteger)
    state: str
    request_time: dt.datetime = _time()
    request_market_time: dt.datetime = _time()
    request_burn_height: int = _big()
    btc_round: int = _big()
    stx_round: int = _big()
    receipt: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    receive_time: dt.datetime | None = _time_or_none()


class ExpiryBatchRow(SQLModel, table=True):
    """Policies of one expiration height that one transaction shall end, as they were claimed."""

    metadata = METADATA
    __tablename__ = "expiry_batch"

    id: str = Field(primary_key=True)
    expiration_burn_height: int = _big()
    policy_ids: list[str] = Field(sa_type=sa.ARRAY(sa.Text))
    create_time: dt.datetime = _time()
    release_time: dt.datetime | None = _time_or_none()
    release_reason: str = ""
    # Until the tip of the chain has decided its policies, or it was released.
    in_flight: bool = True


class StatRow(SQLModel, table=True):
    """One platform figure, without the changes of `stat_delta` that are not folded into it yet."""

    metadata = METADATA
    __tablename__ = "stat"

    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    value: int = _big()


class StatDeltaRow(SQLModel, table=True):
    """One change of a figure. Appended, so that transitions never wait for each other's counters."""

    metadata = METADATA
    __tablename__ = "stat_delta"

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    kind: str
    key: str
    delta: int = _big()


class FeedRow(SQLModel, table=True):
    """One change of a policy, or a notice without one, for its holder's feed; `kind` is empty where none is told.

    `number` is given after the commit, in the order of commits; `once` names a notice that must not come twice.
    """

    metadata = METADATA
    __tablename__ = "feed"

    id: int | None = Field(default=None, primary_key=True, sa_type=sa.BigInteger)
    principal: str
    policy_id: str
    kind: str = ""
    time: dt.datetime = _time()
    burn_height: int = _big()
    txid: str = ""
    token: int = Field(sa_type=sa.SmallInteger)
    amount: int = _big()
    once: str | None = None
    number: int | None = Field(default=None, sa_type=sa.BigInteger)


class NoticeCursorRow(SQLModel, table=True):
    """Up to which height or price a kind of notice was given."""

    metadata = METADATA
    __tablename__ = "notice_cursor"

    name: str = Field(primary_key=True)
    value: int = _big()


class ProjectionRow(SQLModel, table=True):
    """How far one projector (`FINAL`, `TIP`) has followed the gateway's events, and the tip it last saw."""

    metadata = METADATA
    __tablename__ = "projection"

    name: str = Field(primary_key=True)
    cursor: str = ""
    delivered_burn_height: int = _big()
    tip_burn_height: int = _big()
    tip_market_time: dt.datetime | None = _time_or_none()
    tip_refresh_time: dt.datetime | None = _time_or_none()
    # Why creation is stopped after a reorganisation deeper than finality; empty in normal work.
    stop_reason: str = ""


class Outbox(OutboxRecord, table=True):
    """What must start or wake a workflow."""

    metadata = METADATA
    __tablename__ = "outbox"


class Lease(LeaseRecord, table=True):
    """Which replica projects and sweeps."""

    metadata = METADATA
    __tablename__ = "lease"


class Request(IdempotencyRecord, table=True):
    """Requests with their answers."""

    metadata = METADATA
    __tablename__ = "request"
