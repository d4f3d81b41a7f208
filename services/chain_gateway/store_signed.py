"""SQL of quotes and vouchers that were signed: the first set of terms per id stays for ever."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from services.chain_gateway.tables import SignedQuote, SignedVoucher


async def put_first(session: AsyncSession, row: SignedQuote | SignedVoucher) -> None:
    """Stores a row unless its id has one already."""
    await session.exec(insert(type(row)).values(row.model_dump()).on_conflict_do_nothing())


async def quote(session: AsyncSession, policy_id: str) -> SignedQuote | None:
    """What was signed for a policy."""
    return await session.get(SignedQuote, policy_id)


async def voucher(session: AsyncSession, withdrawal_id: str) -> SignedVoucher | None:
    """What was signed for a withdrawal."""
    return await session.get(SignedVoucher, withdrawal_id)
