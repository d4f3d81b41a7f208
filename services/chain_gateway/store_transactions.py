"""SQL of transactions: what the chain says of them, and the ends of their intents, which follow from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import notify
from services.chain_gateway.domain import confirmation
from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from services.chain_gateway.tables import ChainTransaction, Intent

INTENT_CHANNEL: Final = "chain_gateway_intent"


@dataclass(frozen=True)
class Mined:
    """What a block says of one transaction; `result` is a Clarity literal."""

    txid: str
    status: str
    result: str
    index_hash: str
    stacks_height: int
    burn_height: int


async def get(session: AsyncSession, txid: str) -> ChainTransaction | None:
    """One transaction."""
    return await session.get(ChainTransaction, txid)


async def add_if_new(session: AsyncSession, row: ChainTransaction) -> bool:
    """Stores a transaction unless it is known; whether it was new."""
    statement = insert(ChainTransaction).values(row.model_dump()).on_conflict_do_nothing()
    return (await session.exec(statement.returning(col(ChainTransaction.txid)))).first() is not None


async def of_intent(session: AsyncSession, intent_id: str) -> Sequence[ChainTransaction]:
    """The transactions of an intent, oldest first."""
    statement = (
        select(ChainTransaction)
        .where(col(ChainTransaction.intent_id) == intent_id)
        .order_by(col(ChainTransaction.create_time), col(ChainTransaction.txid))
    )
    return (await session.exec(statement)).all()


async def known(session: AsyncSession, txids: Sequence[str]) -> set[str]:
    """Which of many transactions went through us."""
    wanted = sa.func.any(sa.cast(txids, ARRAY(sa.Text)))
    return set((await session.exec(select(ChainTransaction.txid).where(col(ChainTransaction.txid) == wanted))).all())


async def note_mined(session: AsyncSession, mined: Sequence[Mined]) -> None:
    """Notes the transactions that we know among those of a block."""
    by_txid = {one.txid: one for one in mined}
    statement = select(ChainTransaction).where(col(ChainTransaction.txid).in_(by_txid)).with_for_update()
    rows = (await session.exec(statement)).all()
    for row in rows:
        one = by_txid[row.txid]
        if row.state not in (TransactionState.CONFIRMED, TransactionState.ABORTED):
            row.state = confirmation.moved(row.state, TransactionState.PENDING)
        row.node_status, row.result = one.status, one.result
        row.mined_index_hash = one.index_hash
        row.mined_stacks_height, row.mined_burn_height = one.stacks_height, one.burn_height
        session.add(row)
    if rows:
        await session.flush()
        await notify(session, INTENT_CHANNEL)


async def accept(session: AsyncSession, txids: Sequence[str], due_time: dt.datetime) -> None:
    """Signed transactions that a node has taken; those that a block has meanwhile stay as they are."""
    statement = (
        sa.update(ChainTransaction)
        .where(
            col(ChainTransaction.txid).in_(txids),
            col(ChainTransaction.state) == TransactionState.SIGNED,
            col(ChainTransaction.mined_index_hash).is_(None),
        )
        .values(state=TransactionState.ACCEPTED, node_status="pending", due_time=due_time)
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def withdraw_mined_above(session: AsyncSession, stacks_height: int) -> None:
    """Transactions of withdrawn blocks wait again; what had ended stays so, for a person to judge."""
    statement = (
        sa.update(ChainTransaction)
        .where(col(ChainTransaction.mined_stacks_height) > stacks_height)
        .where(col(ChainTransaction.state) == TransactionState.PENDING)
        .values(
            node_status="pending",
            result="",
            mined_index_hash=None,
            mined_stacks_height=None,
            mined_burn_height=None,
            due_time=wall_now(),
        )
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def finalize(session: AsyncSession, final_burn_height: int) -> None:
    """Ends every transaction mined at or below a final burn height, and its intent with it."""
    statement = (
        select(ChainTransaction)
        .where(
            col(ChainTransaction.state) == TransactionState.PENDING,
            col(ChainTransaction.mined_burn_height) <= final_burn_height,
        )
        .with_for_update()
    )
    rows = (await session.exec(statement)).all()
    for row in rows:
        row.state = confirmation.moved(row.state, confirmation.final_state(row.node_status))
        session.add(row)
        await session.flush()
        await _supersede(session, row)
        if row.intent_id is not None:
            await _end_intent(session, row)
    if rows:
        await notify(session, INTENT_CHANNEL)


async def _supersede(session: AsyncSession, final: ChainTransaction) -> None:
    """Whatever else was signed for the same nonce can never be mined now."""
    statement = (
        sa.update(ChainTransaction)
        .where(
            col(ChainTransaction.sender) == final.sender,
            col(ChainTransaction.nonce) == final.nonce,
            col(ChainTransaction.txid) != final.txid,
            col(ChainTransaction.state).in_(confirmation.OPEN_TRANSACTIONS),
        )
        .values(state=TransactionState.REPLACED)
    )
    await session.exec(statement)


async def _end_intent(session: AsyncSession, final: ChainTransaction) -> None:
    intent = await session.get(Intent, final.intent_id, with_for_update=True)
    if intent is None or IntentState(intent.state).ended:
        return
    intent.state = confirmation.intent_end(final.node_status)
    if intent.state == IntentState.ABORTED:
        intent.contract_error = confirmation.contract_error(final.result)
        intent.reason = final.node_status
    intent.end_time = wall_now()
    session.add(intent)
    await session.flush()


async def due(session: AsyncSession, now: dt.datetime, limit: int) -> Sequence[ChainTransaction]:
    """Transactions in no block whose turn it is to be sent or looked at, in the order of their nonces."""
    statement = (
        select(ChainTransaction)
        .where(
            col(ChainTransaction.state).in_(confirmation.OPEN_TRANSACTIONS),
            col(ChainTransaction.mined_index_hash).is_(None),
            col(ChainTransaction.due_time) <= now,
        )
        .order_by(col(ChainTransaction.sender), col(ChainTransaction.nonce), col(ChainTransaction.fee_ustx).desc())
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def lock_open(session: AsyncSession, txid: str) -> ChainTransaction | None:
    """A transaction, locked, if it has not ended and is in no block; None otherwise."""
    row = await session.get(ChainTransaction, txid, with_for_update=True, populate_existing=True)
    if row is None or row.mined_index_hash is not None or row.state not in confirmation.OPEN_TRANSACTIONS:
        return None
    return row


async def count_open(session: AsyncSession) -> int:
    """Transactions that have not ended."""
    statement = (
        select(sa.func.count())
        .select_from(ChainTransaction)
        .where(col(ChainTransaction.state).in_(confirmation.OPEN_TRANSACTIONS))
    )
    return int((await session.exec(statement)).one())
