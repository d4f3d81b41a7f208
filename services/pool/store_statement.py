"""SQL of statements by period: what entries changed in a tier, and how the tier stood before them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool.domain import ledger
from services.pool.domain.ledger import EntryKind
from services.pool.domain.statement import Holding, Movement

_CHANGES: Final = """
    SELECT e.id, e.burn_height, e.kind,
        coalesce((SELECT -sum(p.amount) FROM pool.posting p
            WHERE p.entry_id = e.id AND p.token = :token AND p.account IN (:free, :locked)), 0) AS capital,
        coalesce((SELECT sum(l.shares_delta) FROM pool.statement_line l
            WHERE l.entry_id = e.id AND l.tier = :tier AND l.token = :token), 0) AS all_shares,
        coalesce((SELECT sum(l.shares_delta) FROM pool.statement_line l
            WHERE l.entry_id = e.id AND l.tier = :tier AND l.token = :token AND l.provider = :provider), 0) AS shares
    FROM pool.journal_entry e"""
_MOVEMENTS: Final = sa.text(
    f"""SELECT * FROM ({_CHANGES} WHERE e.burn_height > :start AND e.burn_height <= :end) c
    WHERE capital <> 0 OR all_shares <> 0 ORDER BY burn_height, id"""
)
# What stands now, less all that came after the height.
_HOLDING: Final = sa.text(
    f"""SELECT
        coalesce((SELECT sum(-balance) FROM pool.account_balance
            WHERE token = :token AND account IN (:free, :locked)), 0) - coalesce(sum(capital), 0) AS capital,
        coalesce((SELECT shares FROM pool.tier_shares WHERE tier = :tier AND token = :token), 0)
            - coalesce(sum(all_shares), 0) AS all_shares,
        coalesce((SELECT shares FROM pool.share_balance
            WHERE tier = :tier AND token = :token AND provider = :provider), 0) - coalesce(sum(shares), 0) AS shares
    FROM ({_CHANGES} WHERE e.burn_height > :start) c"""
)


async def holding_at(session: AsyncSession, provider: str, tier: Tier, token: Token, height: int) -> Holding:
    """How a provider and the tier stood when the events up to a height were in the books."""
    values = _values(provider, tier, token) | {"start": height}
    row = (await (await session.connection()).execute(_HOLDING, values)).one()
    return Holding(int(row.shares), int(row.all_shares), int(row.capital))


async def movements_between(
    session: AsyncSession, provider: str, tier: Tier, token: Token, start: int, end: int
) -> list[Movement]:
    """What entries of the heights after `start` up to `end` changed, in the order of the books."""
    values = _values(provider, tier, token) | {"start": start, "end": end}
    rows = await (await session.connection()).execute(_MOVEMENTS, values)
    return [Movement(EntryKind(row.kind), int(row.capital), int(row.all_shares), int(row.shares)) for row in rows]


def _values(provider: str, tier: Tier, token: Token) -> dict[str, Any]:
    return {
        "provider": provider,
        "tier": int(tier),
        "token": int(token),
        "free": ledger.free_capital(tier, token),
        "locked": ledger.locked_collateral(tier, token),
    }
