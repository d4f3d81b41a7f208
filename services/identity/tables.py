"""Tables of the schema `identity`."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlmodel import Field, MetaData, SQLModel

METADATA = MetaData(schema="identity")
_TIME = sa.DateTime(timezone=True)


class ChallengeRow(SQLModel, table=True):
    """A challenge; `peer` is the host that asked for it, `attempts` the signatures tried on it."""

    metadata = METADATA
    __tablename__ = "challenge"

    id: str = Field(primary_key=True)
    principal: str
    peer: str
    nonce: str
    message: str
    issue_time: dt.datetime = Field(sa_type=_TIME)
    expire_time: dt.datetime = Field(sa_type=_TIME)
    attempts: int = 0
    consume_time: dt.datetime | None = Field(default=None, sa_type=_TIME)


class SessionRow(SQLModel, table=True):
    """A session; `end_time` and `end_cause` are set when it was deleted or revoked."""

    metadata = METADATA
    __tablename__ = "session"

    id: str = Field(primary_key=True)
    principal: str
    create_time: dt.datetime = Field(sa_type=_TIME)
    expire_time: dt.datetime = Field(sa_type=_TIME)
    end_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
    end_cause: str = ""


class RefreshTokenRow(SQLModel, table=True):
    """A refresh token by its hash; `spend_time` is set when it was traded for its successor."""

    metadata = METADATA
    __tablename__ = "refresh_token"

    token_sha256: bytes = Field(primary_key=True, sa_type=sa.LargeBinary)
    session_id: str
    expire_time: dt.datetime = Field(sa_type=_TIME)
    spend_time: dt.datetime | None = Field(default=None, sa_type=_TIME)
