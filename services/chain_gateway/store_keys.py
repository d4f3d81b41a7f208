"""SQL of the backend keys' states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.ids import new_id
from services.chain_gateway.domain.key_rotation import KeyState
from services.chain_gateway.store_outcomes import IS_OPEN
from services.chain_gateway.tables import SCHEMA, ChainTransaction, SignedQuote, SignedVoucher
from services.chain_gateway.tables_keys import BackendKey, BackendKeyChange

_LOCK: Final = 0x5167_4E4B
_STATES: Final = f"SELECT address, state FROM {SCHEMA}.backend_key ORDER BY address"


async def declare(session: AsyncSession, addresses: Sequence[str]) -> None:
    """Makes sure that each key has its row: ACTIVE, and where no key is preferred the first of them PREFERRED."""
    # Replicas with different keys may start at once; only one of them finds no preferred key.
    await session.exec(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))  # type: ignore[call-overload]
    rows = [{"address": address, "state": KeyState.ACTIVE, "update_time": wall_now()} for address in addresses]
    added = insert(BackendKey).values(rows).on_conflict_do_nothing().returning(col(BackendKey.address))
    for address in (await session.exec(added)).scalars().all():
        session.add(BackendKeyChange(id=new_id(), address=address, state=KeyState.ACTIVE))
    keys = {key.address: key for key in await lock_all(session)}
    if any(key.state == KeyState.PREFERRED for key in keys.values()):
        return
    active = [keys[address] for address in addresses if keys[address].state == KeyState.ACTIVE]
    if active:
        change(session, active[0], KeyState.PREFERRED)


async def lock_all(session: AsyncSession) -> Sequence[BackendKey]:
    """All keys, locked, in the order of their accounts."""
    return (await session.exec(select(BackendKey).order_by(col(BackendKey.address)).with_for_update())).all()


async def all_keys(session: AsyncSession) -> Sequence[BackendKey]:
    """All keys in the order of their accounts."""
    return (await session.exec(select(BackendKey).order_by(col(BackendKey.address)))).all()


async def states(database: Database) -> dict[str, KeyState]:
    """The states of all keys by account, in the order of their accounts."""
    return {address: KeyState(state) for address, state in await database.rows(_STATES)}


async def takes_work(session: AsyncSession, address: str) -> bool:
    """Whether nothing here keeps a key from new work; that stays so until the transaction ends."""
    statement = select(col(BackendKey.state)).where(col(BackendKey.address) == address).with_for_update(read=True)
    state = (await session.exec(statement)).first()
    return state is None or KeyState(state).takes_work


def change(session: AsyncSession, key: BackendKey, state: KeyState, principal: str = "") -> None:
    """Moves a locked key to another state, and notes who did it."""
    old = BackendKeyChange(id=new_id(), address=key.address, old_state=key.state, state=state, principal=principal)
    key.state, key.update_time = state, wall_now()
    session.add_all([key, old])


async def open_transactions(session: AsyncSession, address: str) -> int:
    """Transactions of a key that have not ended."""
    statement = (
        select(sa.func.count()).select_from(ChainTransaction).where(col(ChainTransaction.sender) == address, IS_OPEN)
    )
    return int((await session.exec(statement)).one())


async def signatures_until(session: AsyncSession, address: str) -> int:
    """The last burn height at which a quote or voucher of a key can be used; 0 when it signed none."""
    latest = 0
    for table in (SignedQuote, SignedVoucher):
        statement = select(sa.func.max(col(table.expiration_burn_height))).where(col(table.signer) == address)
        latest = max(latest, (await session.exec(statement)).one() or 0)
    return latest
