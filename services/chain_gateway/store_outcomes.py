"""SQL of ends: what final blocks decide for transactions and intents."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import constant, notify
from kernel.log import get_logger
from services.chain_gateway import metrics
from services.chain_gateway.domain import confirmation, outcome
from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from services.chain_gateway.domain.outcome import Attempt, Place
from services.chain_gateway.tables import ChainTransaction, Intent, MinedNonce, NonceSlot

INTENT_CHANNEL: Final = "chain_gateway_intent"
IS_OPEN: Final = col(ChainTransaction.state).in_([constant(state) for state in confirmation.OPEN_TRANSACTIONS])
"""A transaction has not ended: those that are open have indexes of their own."""


async def settle_final(session: AsyncSession, final_burn_height: int) -> None:
    """Ends every transaction whose nonce is decided at or below a final burn height, and its intent with it."""
    final = await _newly_final(session, final_burn_height)
    if final:
        await _settle(session, final)


async def settle_late(session: AsyncSession, address: str) -> None:
    """The same for what was signed for a nonce that was final already: a block came between looking and storing."""
    final = (
        select(col(MinedNonce.nonce), col(MinedNonce.txid))
        .where(col(MinedNonce.sender) == address, col(MinedNonce.final))
        .order_by(col(MinedNonce.nonce).desc())
        .limit(1)
    )
    highest = (await session.exec(final)).first()
    if highest is None:
        return
    late = select(col(ChainTransaction.txid)).where(
        IS_OPEN,
        col(ChainTransaction.sender) == address,
        col(ChainTransaction.nonce) <= highest[0],
    )
    if (await session.exec(late.limit(1))).first() is not None:
        await _settle(session, {Place(address, highest[0]): highest[1]})


async def _settle(session: AsyncSession, final: dict[Place, str]) -> None:
    rows = {row.txid: row for row in await _open_up_to(session, final)}
    verdict = outcome.judge(map(_attempt, rows.values()), final)
    for txid in verdict.won:
        row = rows[txid]
        row.state = confirmation.moved(row.state, confirmation.final_state(row.node_status))
        if row.intent_id is not None:
            await _end_by(session, row.intent_id, row)
    for txid in verdict.lost:
        rows[txid].state = confirmation.moved(rows[txid].state, TransactionState.REPLACED)
    session.add_all(rows.values())
    await session.flush()
    await _after_loss(session, verdict.losers | await _given_up(session))
    await notify(session, INTENT_CHANNEL)


async def _newly_final(session: AsyncSession, final_burn_height: int) -> dict[Place, str]:
    statement = (
        sa.update(MinedNonce)
        .where(~col(MinedNonce.final), col(MinedNonce.burn_height) <= final_burn_height)
        .values(final=True)
        .returning(col(MinedNonce.sender), col(MinedNonce.nonce), col(MinedNonce.txid))
    )
    return {Place(sender, nonce): txid for sender, nonce, txid in (await session.exec(statement)).all()}


async def _open_up_to(session: AsyncSession, final: Collection[Place]) -> Sequence[ChainTransaction]:
    """The transactions that have not ended at these nonces and below, locked."""
    statement = (
        select(ChainTransaction).where(IS_OPEN, _up_to(final)).order_by(col(ChainTransaction.txid)).with_for_update()
    )
    return (await session.exec(statement)).all()


def _up_to(final: Collection[Place]) -> sa.ColumnElement[bool]:
    highest = {sender: max(place.nonce for place in final if place.sender == sender) for sender, _ in final}
    return sa.or_(
        *(
            sa.and_(col(ChainTransaction.sender) == sender, col(ChainTransaction.nonce) <= nonce)
            for sender, nonce in highest.items()
        )
    )


def _attempt(row: ChainTransaction) -> Attempt:
    return Attempt(row.txid, Place(row.sender, row.nonce), row.intent_id, row.mined_index_hash is not None)


async def _given_up(session: AsyncSession) -> set[str]:
    """Intents that were given up, all of whose nonces are decided."""
    decided = (
        select(sa.func.coalesce(sa.func.max(col(MinedNonce.nonce)), -1))
        .where(col(MinedNonce.sender) == col(ChainTransaction.sender), col(MinedNonce.final))
        .correlate(ChainTransaction)
        .scalar_subquery()
    )
    undecided = sa.exists().where(
        col(ChainTransaction.intent_id) == col(Intent.id), col(ChainTransaction.nonce) > decided
    )
    statement = select(col(Intent.id)).where(
        col(Intent.state) == constant(IntentState.SUBMITTED), col(Intent.give_up_reason) != constant(""), ~undecided
    )
    return set((await session.exec(statement)).all())


async def _end_by(session: AsyncSession, intent_id: str, final: ChainTransaction) -> None:
    intent = await session.get(Intent, intent_id, with_for_update=True, populate_existing=True)
    if intent is None or IntentState(intent.state).ended:
        return
    intent.state, intent.reason, intent.end_time = confirmation.intent_end(final.node_status), "", wall_now()
    if intent.state == IntentState.ABORTED:
        intent.contract_error = confirmation.contract_error(final.result)
        intent.reason = final.node_status
    session.add(intent)
    await session.flush()


async def _after_loss(session: AsyncSession, intent_ids: Collection[str]) -> None:
    """Another transaction has the nonce of each of these intents finally."""
    for intent_id in sorted(intent_ids):
        intent = await session.get(Intent, intent_id, with_for_update=True, populate_existing=True)
        if intent is None or IntentState(intent.state).ended:
            continue
        intent.state = outcome.loser_state(bool(intent.give_up_reason))
        if intent.state == IntentState.CANCELLED:
            intent.reason, intent.end_time = intent.give_up_reason, wall_now()
        else:
            metrics.LOST_NONCES.inc()
            get_logger().warning("another transaction took the nonce of an intent", intent=intent_id)
            intent.reason = "NONCE_TAKEN"
        session.add(intent)
        await session.exec(sa.update(NonceSlot).where(col(NonceSlot.intent_id) == intent_id).values(intent_id=None))
    await session.flush()
