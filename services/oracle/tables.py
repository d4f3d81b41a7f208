"""Tables of the schema `oracle`. Prices are USD e8; `round` is the market time of the round in Unix seconds."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, MetaData, SQLModel

from kernel.clock import wall_now
from kernel.lease import LeaseRecord
from kernel.outbox import OutboxRecord

METADATA = MetaData(schema="oracle")
_TIME = sa.DateTime(timezone=True)


class Outbox(OutboxRecord, table=True):
    """Workflows to start."""

    metadata = METADATA
    __tablename__ = "outbox"


class Lease(LeaseRecord, table=True):
    """Who aggregates and publishes."""

    metadata = METADATA
    __tablename__ = "lease"


class RoundRow(SQLModel, table=True):
    """One aggregate of one feed. Written once, in ascending order, never changed."""

    metadata = METADATA
    __tablename__ = "round"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    round: int = Field(primary_key=True, sa_type=sa.BigInteger)
    status: str
    reason: str
    price_usd_e8: int = Field(sa_type=sa.BigInteger)
    confidence_usd_e8: int = Field(sa_type=sa.BigInteger)
    observe_time: dt.datetime | None = Field(sa_type=_TIME)
    first_observe_time: dt.datetime | None = Field(sa_type=_TIME)
    burn_height: int = Field(sa_type=sa.BigInteger)
    synthetic: bool
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class ObservationRow(SQLModel, table=True):
    """One observation of one round, in the order in which it came; `rejection` is empty when it was used."""

    metadata = METADATA
    __tablename__ = "observation"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    round: int = Field(primary_key=True, sa_type=sa.BigInteger)
    position: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    source: str
    price_usd_e8: int = Field(sa_type=sa.BigInteger)
    observe_time: dt.datetime = Field(sa_type=_TIME)
    rejection: str
    simulated: bool
    # Null in rounds of releases that did not weigh votes.
    vote_ppm: int | None = None


class CandleRow(SQLModel, table=True):
    """OK rounds of one feed in one span, folded in the transaction that stores them; times in Unix seconds."""

    metadata = METADATA
    __tablename__ = "candle"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    span_seconds: int = Field(primary_key=True, sa_type=sa.Integer)
    start_seconds: int = Field(primary_key=True, sa_type=sa.BigInteger)
    open_usd_e8: int = Field(sa_type=sa.BigInteger)
    high_usd_e8: int = Field(sa_type=sa.BigInteger)
    low_usd_e8: int = Field(sa_type=sa.BigInteger)
    close_usd_e8: int = Field(sa_type=sa.BigInteger)
    count: int = Field(sa_type=sa.Integer)
    first_round: int = Field(sa_type=sa.BigInteger)
    last_round: int = Field(sa_type=sa.BigInteger)
    price_seconds: Decimal = Field(sa_type=sa.Numeric(38, 0))
    covered_seconds: int = Field(sa_type=sa.BigInteger)


class VolatilityRow(SQLModel, table=True):
    """The volatility of a feed as it was estimated on a market day; fields as those of `VolatilityEstimate`."""

    metadata = METADATA
    __tablename__ = "volatility"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    day: dt.date = Field(primary_key=True)
    close_to_close_30d: float = Field(sa_type=sa.Double)
    close_to_close_90d: float = Field(sa_type=sa.Double)
    ewma: float = Field(sa_type=sa.Double)
    parkinson_30d: float = Field(sa_type=sa.Double)
    source: str
    as_of: dt.datetime = Field(sa_type=_TIME)


class PublicationRow(SQLModel, table=True):
    """A round on its way to the chain. Inserted before it is signed; at most one PENDING per feed.

    `observe_seconds` is the signed observation time in Unix seconds.
    """

    metadata = METADATA
    __tablename__ = "publication"

    feed: int = Field(primary_key=True, sa_type=sa.SmallInteger)
    round: int = Field(primary_key=True, sa_type=sa.BigInteger)
    state: str
    cause: str
    price_usd_e8: int = Field(sa_type=sa.BigInteger)
    confidence_usd_e8: int = Field(sa_type=sa.BigInteger)
    observe_seconds: int = Field(sa_type=sa.BigInteger)
    burn_height: int = Field(sa_type=sa.BigInteger)
    signature: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    txid: str = ""
    reason: str = ""
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
    end_time: dt.datetime | None = Field(default=None, sa_type=_TIME)


class ReceiptRow(SQLModel, table=True):
    """A signed receipt under its purpose: `activation/{policy id}/{n}` or `expiry/{height}`.

    At most one in the money per policy; an expiry's is neither in nor out of it. `btc_rounds` and `stx_rounds` are
    what its prices were made from. `number` follows the order of commits.
    """

    metadata = METADATA
    __tablename__ = "receipt"

    purpose: str = Field(primary_key=True)
    policy_id: str | None = None
    activation_number: int | None = Field(default=None, sa_type=sa.BigInteger)
    strike_price_usd_e8: int | None = Field(default=None, sa_type=sa.BigInteger)
    request_market_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    in_the_money: bool | None = None
    btc_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    stx_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    observe_seconds: int = Field(sa_type=sa.BigInteger)
    burn_height: int = Field(sa_type=sa.BigInteger)
    btc_rounds: list[int] = Field(sa_type=ARRAY(sa.BigInteger))
    stx_rounds: list[int] = Field(sa_type=ARRAY(sa.BigInteger))
    signature: bytes = Field(sa_type=sa.LargeBinary)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)
    number: int | None = Field(default=None, sa_column=sa.Column(sa.BigInteger, sa.Identity()))


class CursorRow(SQLModel, table=True):
    """How far a stream of chain events was read."""

    metadata = METADATA
    __tablename__ = "cursor"

    stream: str = Field(primary_key=True)
    cursor: str


class PolicyTermsRow(SQLModel, table=True):
    """Terms of a policy on chain that say when it is in the money; `settlement_token` as the contract has it."""

    metadata = METADATA
    __tablename__ = "policy_terms"

    policy_id: str = Field(primary_key=True)
    strike_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    floor_price_usd_e8: int = Field(sa_type=sa.BigInteger)
    protected_amount_sats: int = Field(sa_type=sa.BigInteger)
    settlement_token: int


class ActivationRequestRow(SQLModel, table=True):
    """A request to activate made on chain; `outcome` is empty until it is answered: SIGNED, or why not."""

    metadata = METADATA
    __tablename__ = "activation_request"

    policy_id: str = Field(primary_key=True)
    activation_number: int = Field(primary_key=True, sa_type=sa.BigInteger)
    burn_height: int = Field(sa_type=sa.BigInteger)
    market_time: dt.datetime = Field(sa_type=_TIME)
    outcome: str = ""
