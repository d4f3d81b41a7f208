"""Tables of the backend keys and of what they may sign, in the schema `chain_gateway`."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from kernel.clock import wall_now
from services.chain_gateway.tables import METADATA

_BIG: Final = sa.BigInteger
_BYTES: Final = sa.LargeBinary
_TIME: Final[Any] = sa.DateTime(timezone=True)


class BackendKey(SQLModel, table=True):
    """A key that some replica holds or held. `state` is a number of KeyState; one key at the most is preferred."""

    metadata = METADATA
    __tablename__ = "backend_key"
    address: str = Field(primary_key=True)
    state: int
    update_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class BackendKeyChange(SQLModel, table=True):
    """A change of a key's state and who asked for it; empty for what a process did at its first start."""

    metadata = METADATA
    __tablename__ = "backend_key_change"
    id: str = Field(primary_key=True)
    address: str
    old_state: int | None = None
    state: int
    principal: str = ""
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=_TIME)


class SigningAudit(SQLModel, table=True):
    """What the signing policy said of a subject: allowed, with an empty `reason`, or refused for one, `attempts` times.

    `subject` names the cause: `intents/{id}`, `policies/{id}`, `withdrawals/{id}`, `fillers/{account}/{nonce}`. `what`
    is a name of the signing policy, `ustx` and `sats` the value that the signature would move at the most.
    """

    metadata = METADATA
    __tablename__ = "signing_audit"
    subject: str = Field(primary_key=True)
    reason: str = Field(primary_key=True)
    account: str
    what: str
    ustx: int = Field(sa_type=_BIG)
    sats: int = Field(sa_type=_BIG)
    content_sha256: bytes = Field(sa_type=_BYTES)
    detail: str = ""
    attempts: int = Field(default=1, sa_type=_BIG)
    create_time: dt.datetime = Field(sa_type=_TIME)
    last_time: dt.datetime = Field(sa_type=_TIME)


class SigningDay(SQLModel, table=True):
    """The value allowed in one UTC day, by `what` it was for."""

    metadata = METADATA
    __tablename__ = "signing_day"
    day: dt.date = Field(primary_key=True)
    what: str = Field(primary_key=True)
    ustx: int = Field(sa_type=_BIG)
    sats: int = Field(sa_type=_BIG)
