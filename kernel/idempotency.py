"""Every write once: a request id is stored with its effect, in the same transaction (AIP-155).

A repeat of the same request answers what the first answered; the same id with another body is ALREADY_EXISTS.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.errors import AlreadyExists
from kernel.ids import check_request_id

ResponseT = TypeVar("ResponseT", bound=Message)


class IdempotencyRecord(SQLModel):
    """Columns of a service's `request` table; each service declares `class Request(IdempotencyRecord, table=True)`."""

    principal: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    body_sha256: bytes = Field(sa_type=sa.LargeBinary)
    response: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    create_time: dt.datetime = Field(default_factory=wall_now, sa_type=sa.DateTime(timezone=True))


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


async def claim(
    session: AsyncSession,
    table: type[IdempotencyRecord],
    principal: str,
    request: Message,
    request_id: str,
    response_type: type[ResponseT],
) -> ResponseT | None:
    """None for a new request, which the caller now carries out and ends with `complete`; else the first answer.

    A concurrent request of the same id waits here until the first commits or rolls back.
    """
    check_request_id(request_id)
    method, digest = type(request).DESCRIPTOR.full_name, _digest(request)
    row = {
        "principal": principal,
        "method": method,
        "request_id": request_id,
        "body_sha256": digest,
        "create_time": wall_now(),
    }
    statement = insert(table).values(row).on_conflict_do_nothing().returning(sa.literal(1))
    if (await session.exec(statement)).first() is not None:
        return None
    stored = await session.get(table, (principal, method, request_id))
    if stored is None or stored.body_sha256 != digest:
        raise AlreadyExists("REQUEST_ID_REUSED", "request_id was used with another body", request_id=request_id)
    return response_type.FromString(stored.response or b"")


async def complete(
    session: AsyncSession,
    table: type[IdempotencyRecord],
    principal: str,
    request: Message,
    request_id: str,
    response: Message,
) -> None:
    """Stores the answer in the transaction of its effect."""
    record = await session.get(table, (principal, type(request).DESCRIPTOR.full_name, request_id))
    if record is None:
        raise AlreadyExists("REQUEST_ID_REUSED", "request_id was not claimed in this transaction")
    record.response = response.SerializeToString(deterministic=True)
    session.add(record)
