"""SQL of reservations and of the policies that the pool covers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import constant
from kernel.units import Tier, Token
from services.pool import tables
from services.pool.domain.collateral import Refusal, ReservationState, ReservationTerms, UnpaidCounts
from services.pool.store_arrays import run

ACTIVE = "ACTIVE"
REVERSED = "REVERSED"


async def lock_principal(session: AsyncSession, principal: str) -> None:
    """Serialises the reservations of one principal until the end of the transaction. Taken before a tier's lock."""
    key = sa.func.hashtextextended(f"pool reservation {principal}", 0)
    await session.exec(select(sa.func.pg_advisory_xact_lock(key)))


async def get_reservation(session: AsyncSession, policy_id: str, *, lock: bool = False) -> tables.Reservation | None:
    """The reservation of a policy, locked if asked."""
    statement = select(tables.Reservation).where(col(tables.Reservation.policy_id) == policy_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.exec(statement)).first()


async def count_unpaid(session: AsyncSession, holder: str, tier: Tier, token: Token) -> UnpaidCounts:
    """HELD reservations of one principal, and in one tier and token."""
    held = select(sa.func.count()).where(col(tables.Reservation.state) == constant(ReservationState.HELD))
    of_principal = held.where(col(tables.Reservation.holder) == holder)
    in_tier = held.where(col(tables.Reservation.tier) == int(tier), col(tables.Reservation.token) == int(token))
    return UnpaidCounts(int((await session.exec(of_principal)).one()), int((await session.exec(in_tier)).one()))


def add_reservation(
    session: AsyncSession, terms: ReservationTerms, terms_sha256: bytes, refusal: Refusal
) -> tables.Reservation:
    """Stores a new reservation: HELD, or REFUSED for a reason."""
    state = ReservationState.HELD if refusal is Refusal.NONE else ReservationState.REFUSED
    row = tables.Reservation(
        policy_id=terms.policy_id,
        holder=terms.holder,
        tier=int(terms.tier),
        token=int(terms.token),
        max_payout=terms.max_payout,
        quote_expiration_burn_height=terms.quote_expiration_burn_height,
        terms_sha256=terms_sha256,
        state=str(state),
        reason=str(refusal),
        end_time=None if state is ReservationState.HELD else wall_now(),
    )
    session.add(row)
    return row


async def end_reservation(
    session: AsyncSession, policy_id: str, state: ReservationState, reason: str
) -> ReservationState | None:
    """Ends a policy's reservation in `state`; the state it was in, None if there is none."""
    row = await get_reservation(session, policy_id, lock=True)
    if row is None:
        return None
    before = ReservationState(row.state)
    row.state, row.reason, row.end_time = str(state), reason, wall_now()
    session.add(row)
    return before


async def release_unpaid(session: AsyncSession, delivered_burn_height: int) -> int:
    """Releases what is HELD for quotes whose last height is final without their creation; how many."""
    statement = (
        sa.update(tables.Reservation)
        .where(col(tables.Reservation.state) == constant(ReservationState.HELD))
        .where(col(tables.Reservation.quote_expiration_burn_height) <= delivered_burn_height)
        .values(state=ReservationState.RELEASED.value, reason="QUOTE_NOT_PAID", end_time=wall_now())
        .returning(col(tables.Reservation.policy_id))
    )
    return len((await session.exec(statement)).all())


async def reserved_by_token(session: AsyncSession) -> dict[Token, int]:
    """Sum of HELD reservations per token."""
    statement = (
        select(tables.Reservation.token, sa.func.sum(col(tables.Reservation.max_payout)))
        .where(col(tables.Reservation.state) == constant(ReservationState.HELD))
        .group_by(col(tables.Reservation.token))
    )
    return {Token(token): int(amount) for token, amount in (await session.exec(statement)).all()}


async def get_coverage(session: AsyncSession, policy_id: str) -> tables.Coverage | None:
    """A covered policy, locked."""
    statement = select(tables.Coverage).where(col(tables.Coverage.policy_id) == policy_id).with_for_update()
    return (await session.exec(statement.execution_options(populate_existing=True))).first()


class Cover(NamedTuple):
    """What reconciliation compares of a policy that is or was covered."""

    policy_id: str
    status: str
    token: Token
    max_payout: int
    payout: int
    created_burn_height: int
    ended_burn_height: int | None


async def covers_after(session: AsyncSession, policy_id: str, limit: int) -> list[Cover]:
    """The first of those that follow this id, in the order of their ids."""
    rows = await run(session, _COVERS, policy_id, REVERSED, limit)
    return [Cover(name, status, Token(token), *rest) for name, status, token, *rest in rows]


async def covers_of(session: AsyncSession, ids: Collection[str]) -> list[Cover]:
    """Those of these policies, in the order of their ids."""
    rows = await run(session, _COVERS_OF, list(ids), REVERSED)
    return [Cover(name, status, Token(token), *rest) for name, status, token, *rest in rows]


_COVERS_OF: Final = f"""SELECT {", ".join(Cover._fields)} FROM pool.coverage
    WHERE policy_id = ANY($1::text[]) AND status <> $2 ORDER BY policy_id"""
_COVERS: Final = f"""SELECT {", ".join(Cover._fields)} FROM pool.coverage
    WHERE policy_id > $1 AND status <> $2 ORDER BY policy_id LIMIT $3"""
