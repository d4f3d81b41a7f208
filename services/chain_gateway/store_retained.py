"""SQL of what was asked for and is kept for good: signed quotes and vouchers, and settlements, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.chain_gateway.tables import Intent, SignedQuote, SignedVoucher


async def signed_quotes(session: AsyncSession, after: str, limit: int) -> Sequence[SignedQuote]:
    """Signed quotes after a policy's id, in the order of ids."""
    statement = select(SignedQuote).where(col(SignedQuote.policy_id) > after).order_by(col(SignedQuote.policy_id))
    return (await session.exec(statement.limit(limit))).all()


async def signed_vouchers(session: AsyncSession, after: str, limit: int) -> Sequence[SignedVoucher]:
    """Signed vouchers after a withdrawal's id, in the order of ids."""
    named = col(SignedVoucher.withdrawal_id)
    return (await session.exec(select(SignedVoucher).where(named > after).order_by(named).limit(limit))).all()


async def intents_of(session: AsyncSession, contract: str, function: str, after: str, limit: int) -> Sequence[Intent]:
    """Intents of one function after an id, in the order of ids, which is that of their creation."""
    statement = (
        select(Intent)
        .where(col(Intent.contract) == contract, col(Intent.function) == function, col(Intent.id) > after)
        .order_by(col(Intent.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()
