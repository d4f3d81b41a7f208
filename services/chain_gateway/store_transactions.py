"""SQL of transactions and of what the chain says of them: mined, withdrawn."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import constant, driver_connection, notify
from services.chain_gateway import store_outcomes
from services.chain_gateway.domain import confirmation
from services.chain_gateway.domain.confirmation import TransactionState
from services.chain_gateway.tables import ChainTransaction, MinedNonce

INTENT_CHANNEL: Final = store_outcomes.INTENT_CHANNEL


_KNOWN: Final = "SELECT txid FROM chain_gateway.chain_transaction WHERE txid = ANY($1::text[])"
_NOTE_NONCES: Final = """
INSERT INTO chain_gateway.mined_nonce (sender, nonce, txid, index_hash, stacks_height, burn_height, final)
SELECT used.*, false
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
    AS used (sender, nonce, txid, index_hash, stacks_height, burn_height)
WHERE EXISTS (SELECT FROM chain_gateway.signing_account WHERE address = used.sender)
    OR EXISTS (
        SELECT FROM chain_gateway.chain_transaction AS followed
        WHERE followed.sender = used.sender AND followed.nonce = used.nonce
    )
ON CONFLICT (sender, nonce) DO UPDATE SET
    txid = excluded.txid,
    index_hash = excluded.index_hash,
    stacks_height = excluded.stacks_height,
    burn_height = excluded.burn_height,
    final = excluded.final
"""


@dataclass(frozen=True)
class Mined:
    """What a block says of one transaction; `result` is a Clarity literal."""

    txid: str
    status: str
    result: str
    index_hash: str
    stacks_height: int
    burn_height: int


class NonceUse(NamedTuple):
    """Which transaction of a block used a nonce of an account; fields as the columns of `mined_nonce`."""

    sender: str
    nonce: int
    txid: str
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
    connection = await driver_connection(session)
    return {row[0] for row in await connection.fetch(_KNOWN, txids)}


async def note_mined(session: AsyncSession, mined: Sequence[Mined]) -> None:
    """Notes the transactions that we know among those of blocks."""
    by_txid = {one.txid: one for one in mined}
    statement = (
        select(ChainTransaction)
        .where(col(ChainTransaction.txid) == sa.any_(_array(sa.Text, list(by_txid))))
        .order_by(col(ChainTransaction.txid))
        .with_for_update()
    )
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


def _array(kind: type[Any], values: Sequence[object]) -> sa.BindParameter[Any]:
    return sa.bindparam(None, values, type_=ARRAY(kind))


async def note_nonces(session: AsyncSession, uses: Sequence[NonceUse]) -> None:
    """Notes who used the nonces of our accounts, and those of users' transactions that we follow."""
    if not uses:
        return
    await (await driver_connection(session)).execute(_NOTE_NONCES, *zip(*uses, strict=True))


async def withdraw_mined_above(session: AsyncSession, stacks_height: int) -> None:
    """Transactions of withdrawn blocks wait again; what had ended stays so, for a person to judge."""
    await session.exec(sa.delete(MinedNonce).where(col(MinedNonce.stacks_height) > stacks_height))
    statement = (
        sa.update(ChainTransaction)
        .where(col(ChainTransaction.mined_stacks_height) > stacks_height)
        .where(col(ChainTransaction.state) == constant(TransactionState.PENDING))
        .values(
            node_status="pending",
            result="",
            mined_index_hash=None,
            mined_stacks_height=None,
            mined_burn_height=None,
            waiting_stacks_height=None,
            due_time=wall_now(),
        )
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def finalize(session: AsyncSession, final_burn_height: int) -> None:
    """Ends every transaction that the final blocks decide, and its intent with it."""
    await store_outcomes.settle_final(session, final_burn_height)


async def lock_open(session: AsyncSession, txid: str) -> ChainTransaction | None:
    """A transaction, locked, if it has not ended and is in no block; None otherwise."""
    row = await session.get(ChainTransaction, txid, with_for_update=True, populate_existing=True)
    if row is None or row.mined_index_hash is not None or row.state not in confirmation.OPEN_TRANSACTIONS:
        return None
    return row


async def update_open(
    session: AsyncSession, txid: str, state: TransactionState, reason: str, due_time: dt.datetime
) -> ChainTransaction | None:
    """Stores what became of an attempt to send or to look, unless the transaction has ended or a block has it."""
    row = await lock_open(session, txid)
    if row is None:
        return None
    row.state, row.reason, row.due_time = confirmation.moved(row.state, state), reason, due_time
    row.node_status = "pending" if state in (TransactionState.ACCEPTED, TransactionState.PENDING) else ""
    session.add(row)
    await session.flush()
    await notify(session, INTENT_CHANNEL)
    return row


async def see_waiting(session: AsyncSession, txids: Sequence[str], due_time: dt.datetime) -> None:
    """Transactions that a node still has in its mempool; those that ended or that a block has stay as they are."""
    chosen = (
        select(col(ChainTransaction.txid))
        .where(
            col(ChainTransaction.txid).in_(txids),
            col(ChainTransaction.state).in_((TransactionState.ACCEPTED, TransactionState.PENDING)),
            col(ChainTransaction.mined_index_hash).is_(None),
        )
        .order_by(col(ChainTransaction.txid))
        .with_for_update()
    )
    statement = sa.update(ChainTransaction).where(col(ChainTransaction.txid).in_(chosen))
    await session.exec(statement.values(state=TransactionState.PENDING, node_status="pending", due_time=due_time))


async def has_successor(session: AsyncSession, row: ChainTransaction) -> bool:
    """Whether one with a higher fee is followed at the same nonce: that one is to be sent."""
    statement = select(col(ChainTransaction.txid)).where(
        col(ChainTransaction.sender) == row.sender,
        col(ChainTransaction.nonce) == row.nonce,
        col(ChainTransaction.fee_ustx) > row.fee_ustx,
        store_outcomes.IS_OPEN,
    )
    return (await session.exec(statement.limit(1))).first() is not None


async def accept(session: AsyncSession, txids: Sequence[str], due_time: dt.datetime, stacks_height: int) -> None:
    """Signed transactions that a node has taken at a height; those that a block has meanwhile stay as they are."""
    chosen = (
        select(col(ChainTransaction.txid))
        .where(
            col(ChainTransaction.txid).in_(txids),
            col(ChainTransaction.state) == TransactionState.SIGNED,
            col(ChainTransaction.mined_index_hash).is_(None),
        )
        .order_by(col(ChainTransaction.txid))
        .with_for_update()
    )
    statement = (
        sa.update(ChainTransaction)
        .where(col(ChainTransaction.txid).in_(chosen))
        .values(
            state=TransactionState.ACCEPTED,
            node_status="pending",
            due_time=due_time,
            waiting_stacks_height=stacks_height,
        )
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def count_open(session: AsyncSession) -> int:
    """Transactions that have not ended."""
    statement = select(sa.func.count()).select_from(ChainTransaction).where(store_outcomes.IS_OPEN)
    return int((await session.exec(statement)).one())
