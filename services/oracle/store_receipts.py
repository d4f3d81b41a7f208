"""SQL of receipts: one per purpose, at most one in the money per policy."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.oracle.tables import ReceiptRow


def activation_purpose(policy_id: str, activation_number: int) -> str:
    """Key of an activation's receipt."""
    return f"activation/{policy_id}/{activation_number}"


def expiry_purpose(expiration_burn_height: int) -> str:
    """Key of an expiration height's receipt."""
    return f"expiry/{expiration_burn_height}"


async def lock_receipts(session: AsyncSession, subject: str) -> None:
    """Serializes the making of receipts for one policy, or one height, until the transaction ends."""
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"oracle receipt {subject}", 0))
    await session.exec(sa.select(lock))  # type: ignore[call-overload]


async def receipt(session: AsyncSession, purpose: str) -> ReceiptRow | None:
    """The receipt of a purpose."""
    return await session.get(ReceiptRow, purpose)


async def receipt_in_the_money(session: AsyncSession, policy_id: str) -> ReceiptRow | None:
    """The one receipt in the money of a policy."""
    statement = select(ReceiptRow).where(ReceiptRow.policy_id == policy_id, col(ReceiptRow.in_the_money) == sa.true())
    return (await session.exec(statement)).first()


async def deciding_receipts(session: AsyncSession, after: int, limit: int) -> Sequence[ReceiptRow]:
    """Receipts of expirations, and of activations in the money, with a number above `after`, in order."""
    statement = (
        select(ReceiptRow)
        .where(col(ReceiptRow.number) > after, col(ReceiptRow.in_the_money).is_not(False))
        .order_by(col(ReceiptRow.number))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def insert_receipt(session: AsyncSession, row: ReceiptRow) -> None:
    """Stores a receipt; IntegrityError if its purpose, or its policy's place in the money, is taken.

    Numbers are given one transaction at a time: whoever has read up to one has read all below it.
    """
    await lock_receipts(session, "numbers")
    session.add(row)
    await session.flush()
