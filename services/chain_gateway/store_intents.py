"""SQL of intents, their queue and the ledger of nonces."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import notify
from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from services.chain_gateway.store_transactions import INTENT_CHANNEL
from services.chain_gateway.tables import ChainTransaction, Intent, NonceSlot, SigningAccount


async def add(session: AsyncSession, intent: Intent) -> Intent:
    """Stores an intent, or answers the one that has its key already."""
    values = intent.model_dump()
    statement = insert(Intent).values(values).on_conflict_do_nothing(index_elements=["key"])
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)
    return (await session.exec(select(Intent).where(col(Intent.key) == intent.key))).one()


async def by_key(session: AsyncSession, key: str) -> Intent | None:
    """The intent of a key."""
    return (await session.exec(select(Intent).where(col(Intent.key) == key))).first()


async def get(session: AsyncSession, intent_id: str) -> Intent | None:
    """One intent."""
    return await session.get(Intent, intent_id)


async def count_by_state(session: AsyncSession) -> dict[int, int]:
    """How many intents are open, by state."""
    statement = (
        select(col(Intent.state), sa.func.count())
        .where(col(Intent.state) <= IntentState.SUBMITTED)
        .group_by(col(Intent.state))
    )
    return {int(state): int(count) for state, count in (await session.exec(statement)).all()}


async def lock_queued(session: AsyncSession, limit: int) -> Sequence[Intent]:
    """The queued intents that go first, in order, locked."""
    statement = (
        select(Intent)
        .where(col(Intent.state) == IntentState.QUEUED)
        .order_by(col(Intent.priority), col(Intent.create_time), col(Intent.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.exec(statement)).all()


async def end(session: AsyncSession, intent_id: str, state: IntentState, reason: str) -> None:
    """Ends an intent that has not ended."""
    statement = (
        sa.update(Intent)
        .where(col(Intent.id) == intent_id, col(Intent.state) <= IntentState.SUBMITTED)
        .values(state=state, reason=reason, end_time=wall_now())
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def requeue(session: AsyncSession, intent_id: str) -> None:
    """Puts a submitted intent back into the queue: what was signed for it was provably never taken."""
    statement = (
        sa.update(Intent)
        .where(col(Intent.id) == intent_id, col(Intent.state) == IntentState.SUBMITTED)
        .values(state=IntentState.QUEUED)
    )
    await session.exec(statement)
    await notify(session, INTENT_CHANNEL)


async def take_back(session: AsyncSession, rows: Sequence[ChainTransaction]) -> None:
    """Undoes signed transactions that never left this process: nonces are free, intents queued as before.

    Those stay that another replica has handed in meanwhile, such as while this one was suspended.
    """
    statement = sa.delete(ChainTransaction).where(
        sa.tuple_(col(ChainTransaction.txid), col(ChainTransaction.sends)).in_([(row.txid, row.sends) for row in rows]),
        col(ChainTransaction.state) == TransactionState.SIGNED,
    )
    intents = (await session.exec(statement.returning(col(ChainTransaction.intent_id)))).scalars().all()
    await session.exec(sa.delete(NonceSlot).where(col(NonceSlot.intent_id).in_(intents)))
    await session.exec(sa.update(Intent).where(col(Intent.id).in_(intents)).values(state=IntentState.QUEUED))
    await notify(session, INTENT_CHANNEL)


async def declare_accounts(session: AsyncSession, addresses: Sequence[str]) -> None:
    """Makes sure that each of our accounts has its row."""
    rows = [{"address": address, "floor_nonce": 0} for address in addresses]
    await session.exec(insert(SigningAccount).values(rows).on_conflict_do_nothing())


async def lock_account(session: AsyncSession, address: str) -> SigningAccount:
    """An account's row, locked: nonces of a key are given one after the other."""
    statement = select(SigningAccount).where(col(SigningAccount.address) == address).with_for_update()
    return (await session.exec(statement)).one()


async def taken_nonces(session: AsyncSession, address: str, from_nonce: int) -> set[int]:
    """Nonces from a number on that were given to intents."""
    statement = select(col(NonceSlot.nonce)).where(
        col(NonceSlot.address) == address, col(NonceSlot.nonce) >= from_nonce
    )
    return set((await session.exec(statement)).all())


async def has_unsent(session: AsyncSession, address: str) -> bool:
    """Whether a transaction of ours may not have reached a node: nothing is signed behind it, to leave no gap."""
    statement = (
        select(col(ChainTransaction.txid))
        .where(
            col(ChainTransaction.sender) == address,
            col(ChainTransaction.intent_id).is_not(None),
            col(ChainTransaction.mined_index_hash).is_(None),
            col(ChainTransaction.state).in_((TransactionState.SIGNED, TransactionState.UNKNOWN)),
        )
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None


async def free_nonce(session: AsyncSession, intent_id: str) -> None:
    """Takes the nonce back from an intent whose transactions were provably never taken."""
    await session.exec(sa.delete(NonceSlot).where(col(NonceSlot.intent_id) == intent_id))
