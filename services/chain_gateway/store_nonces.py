"""SQL of the ledger of nonces: accounts, what they have in the chain, and which intent has which nonce."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database, constant
from services.chain_gateway import store_intents
from services.chain_gateway.domain.confirmation import OPEN_TRANSACTIONS, IntentState, TransactionState
from services.chain_gateway.store_outcomes import IS_OPEN
from services.chain_gateway.tables import (
    SCHEMA,
    ChainState,
    ChainTransaction,
    Intent,
    MinedNonce,
    NonceSlot,
    SigningAccount,
)

_OPEN: Final = ", ".join(str(int(state)) for state in OPEN_TRANSACTIONS)
_ANYTHING_DUE: Final = f"""
SELECT EXISTS (
    SELECT FROM {SCHEMA}.chain_transaction
    WHERE state IN ({_OPEN}) AND mined_index_hash IS NULL AND due_time <= now()
)"""

_HIGHEST_MINED: Final = (
    select(sa.func.max(col(MinedNonce.nonce)))
    .where(col(MinedNonce.sender) == col(SigningAccount.address))
    .correlate(SigningAccount)
    .scalar_subquery()
)


@dataclass(frozen=True)
class Ledger:
    """An account's nonces from its next one in the chain on. `occupied`: those of open transactions.

    `abandoned`: free ones whose intent was given up. `unsent`: whether one of them may not have reached a node.
    """

    chain_nonce: int
    occupied: frozenset[int]
    abandoned: frozenset[int]
    unsent: bool


async def declare_accounts(session: AsyncSession, addresses: Sequence[str], *, from_genesis: bool) -> None:
    """Makes sure that each of our accounts has its row.

    Where blocks are ingested from the first one of all, and none is yet, an account's nonces start at 0.
    """
    started = (await session.exec(select(col(ChainState.id)))).first() is not None
    complete = from_genesis and not started
    rows = [{"address": address, "base_nonce": 0 if complete else None, "complete": complete} for address in addresses]
    await session.exec(insert(SigningAccount).values(rows).on_conflict_do_nothing())


async def accounts(session: AsyncSession) -> Sequence[str]:
    """All accounts that are ours, or were."""
    return (await session.exec(select(col(SigningAccount.address)))).all()


async def lock_account(session: AsyncSession, address: str) -> SigningAccount | None:
    """An account's row, locked: nonces of a key are given one after the other. None while another replica does."""
    statement = select(SigningAccount).where(col(SigningAccount.address) == address).with_for_update(skip_locked=True)
    return (await session.exec(statement)).first()


async def chain_nonces(session: AsyncSession, addresses: Collection[str]) -> dict[str, int]:
    """The next nonce of each account as the canonical blocks have it; accounts of which that is unknown are left out.

    Nonces are used in order: all below the highest one that a block has are used, whoever used them.
    """
    nonce = sa.func.coalesce(_HIGHEST_MINED + 1, col(SigningAccount.base_nonce))
    statement = select(col(SigningAccount.address), nonce).where(col(SigningAccount.address).in_(addresses))
    return {address: int(nonce) for address, nonce in (await session.exec(statement)).all() if nonce is not None}


async def of_unknown_past(session: AsyncSession, addresses: Collection[str]) -> list[str]:
    """Accounts of which no block that we ingested has a transaction, while earlier blocks may have some."""
    statement = select(col(SigningAccount.address)).where(
        col(SigningAccount.address).in_(addresses), ~col(SigningAccount.complete), _HIGHEST_MINED.is_(None)
    )
    return list((await session.exec(statement)).all())


async def set_base(session: AsyncSession, address: str, nonce: int) -> None:
    """Where an account's nonces start, as nodes say."""
    account = await lock_account(session, address)
    if account is not None:
        account.base_nonce = nonce
        session.add(account)


async def ledger(session: AsyncSession, address: str) -> Ledger | None:
    """An account's nonces; None while its next one in the chain is unknown."""
    chain_nonce = (await chain_nonces(session, [address])).get(address)
    if chain_nonce is None:
        return None
    statement = select(col(ChainTransaction.nonce), col(ChainTransaction.state)).where(
        col(ChainTransaction.sender) == address,
        col(ChainTransaction.nonce) >= chain_nonce,
        IS_OPEN,
    )
    rows = (await session.exec(statement)).all()
    unsent = any(state in (TransactionState.SIGNED, TransactionState.UNKNOWN) for _, state in rows)
    occupied = {nonce for nonce, _ in rows} | await _ended(session, address, chain_nonce)
    abandoned = await _abandoned(session, address, chain_nonce)
    return Ledger(chain_nonce, frozenset(occupied), frozenset(abandoned), unsent)


async def _ended(session: AsyncSession, address: str, chain_nonce: int) -> set[int]:
    """Nonces of transactions that were final before a deeper reorganisation: only these same bytes fill them again."""
    return {row.nonce for row in await withdrawn_ends(session, address, chain_nonce)}


async def withdrawn_ends(session: AsyncSession, address: str, chain_nonce: int) -> Sequence[ChainTransaction]:
    """Transactions that had ended final and are in the chain no more."""
    statement = (
        select(ChainTransaction)
        .where(
            col(ChainTransaction.sender) == address,
            col(ChainTransaction.nonce) >= chain_nonce,
            col(ChainTransaction.state).in_((TransactionState.CONFIRMED, TransactionState.ABORTED)),
        )
        .order_by(col(ChainTransaction.nonce))
    )
    return (await session.exec(statement)).all()


async def _abandoned(session: AsyncSession, address: str, chain_nonce: int) -> set[int]:
    statement = (
        select(col(ChainTransaction.nonce))
        .join(Intent, col(Intent.id) == col(ChainTransaction.intent_id))
        .where(
            col(Intent.state) == constant(IntentState.SUBMITTED),
            col(Intent.give_up_reason) != constant(""),
            col(ChainTransaction.sender) == address,
            col(ChainTransaction.nonce) >= chain_nonce,
        )
    )
    return set((await session.exec(statement)).all())


async def give(session: AsyncSession, address: str, intents: Mapping[int, str | None]) -> None:
    """Gives free nonces of an account, each to an intent or to nobody."""
    if not intents:
        return
    rows = [{"address": address, "nonce": nonce, "intent_id": intent_id} for nonce, intent_id in intents.items()]
    statement = insert(NonceSlot).values(rows)
    taken = {"intent_id": statement.excluded.intent_id}
    await session.exec(statement.on_conflict_do_update(index_elements=["address", "nonce"], set_=taken))


async def highest_fees(session: AsyncSession, address: str, nonces: Sequence[int]) -> dict[int, int]:
    """The highest fee of anything that was signed for each of these nonces; those that had nothing are left out."""
    statement = (
        select(col(ChainTransaction.nonce), sa.func.max(col(ChainTransaction.fee_ustx)))
        .where(col(ChainTransaction.sender) == address, col(ChainTransaction.nonce).in_(nonces))
        .group_by(col(ChainTransaction.nonce))
    )
    return {nonce: int(fee) for nonce, fee in (await session.exec(statement)).all()}


async def take_back(session: AsyncSession, rows: Sequence[ChainTransaction]) -> None:
    """Undoes signed transactions that never left this process: nonces are free, intents queued as before.

    Those stay that another replica has handed in meanwhile, such as while this one was suspended.
    """
    statement = sa.delete(ChainTransaction).where(
        sa.tuple_(col(ChainTransaction.txid), col(ChainTransaction.sends)).in_([(row.txid, row.sends) for row in rows]),
        col(ChainTransaction.state) == TransactionState.SIGNED,
    )
    intents = (await session.exec(statement.returning(col(ChainTransaction.intent_id)))).scalars().all()
    queued = [intent_id for intent_id in intents if intent_id is not None]
    await free(session, queued)
    await store_intents.requeue(session, queued)


async def free(session: AsyncSession, intent_ids: Collection[str]) -> None:
    """Takes nonces back from intents."""
    statement = sa.update(NonceSlot).where(col(NonceSlot.intent_id).in_(intent_ids)).values(intent_id=None)
    await session.exec(statement)


async def anything_due(database: Database) -> bool:
    """Whether `claim_due` would find anything that no other replica has locked."""
    return bool(await database.value(_ANYTHING_DUE))


async def claim_due(session: AsyncSession, until: dt.datetime, limit: int) -> Sequence[ChainTransaction]:
    """Transactions in no block whose turn it is, by nonce; no other replica works on them before `until`."""
    due = (
        select(col(ChainTransaction.txid))
        .where(
            IS_OPEN,
            col(ChainTransaction.mined_index_hash).is_(None),
            col(ChainTransaction.due_time) <= sa.func.now(),
        )
        .order_by(col(ChainTransaction.due_time))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = sa.update(ChainTransaction).where(col(ChainTransaction.txid).in_(due)).values(due_time=until)
    rows = (await session.exec(statement.returning(ChainTransaction))).scalars().all()
    return sorted(rows, key=lambda row: (row.sender, row.nonce, -row.fee_ustx))
