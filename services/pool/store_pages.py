"""SQL of a page of events: what the books say about all of them, and what they change, each in a statement or two."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel import outbox
from kernel.clock import wall_now
from kernel.units import Tier, Token
from services.pool import store_journal, store_positions, tables
from services.pool.domain import chain_event as chain
from services.pool.domain import ledger
from services.pool.domain.collateral import ReservationState
from services.pool.domain.ledger import Entry, EntryKind
from services.pool.projection import Changes, Covered, NewDeposit, Page, Posted, PostedBefore
from services.pool.store_arrays import by_column, run, unnest


@dataclass
class _Names:
    """What events of a page are about."""

    causes: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    withdrawals: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[chain.ChainEvent]) -> _Names:
        """Of these events."""
        names = cls()
        for event in events:
            names.causes.append(event.cause.key)
            if event.backend_fee_ustx:
                names.causes.append(ledger.gas_key(event.cause.txid))
            match event.payload:
                case chain.PolicySettled(policy_id=name) | chain.PolicyExpired(policy_id=name):
                    names.ended.append(name)
                case chain.PolicyCreated(policy_id=name):
                    names.created.append(name)
                case (
                    chain.VoucherPaid(withdrawal_id=name)
                    | chain.VoucherDelayed(withdrawal_id=name)
                    | chain.VoucherVetoed(withdrawal_id=name)
                ):
                    names.withdrawals.append(name)
        return names


async def read_page(session: AsyncSession, events: Iterable[chain.ChainEvent], *, posted: bool) -> Page:
    """What the books say about events, its rows locked; also whether they were `posted` before, if asked."""
    await session.flush()
    names = _Names.of(events)
    page = Page()
    if names.ended:
        page.policies = await _policies(session, names.ended)
    if names.created:
        page.reservations = await _reservations(session, names.created)
    if names.withdrawals:
        page.withdrawals = await store_positions.lock_withdrawals(session, names.withdrawals)
    if posted:
        page.posted = await _posted(session, names.causes)
    return page


async def read_vouchers(session: AsyncSession, rows: Iterable[tables.Withdrawal], causes: Sequence[str]) -> Page:
    """A page about vouchers that are locked."""
    return Page(withdrawals={row.id: row for row in rows}, posted=await _posted(session, causes))


_POLICIES: Final = """SELECT policy_id, tier, token, max_payout, status, payout, ended_burn_height
    FROM pool.coverage WHERE policy_id = ANY($1::text[]) ORDER BY policy_id FOR UPDATE"""
_RESERVATIONS: Final = """SELECT policy_id, state
    FROM pool.reservation WHERE policy_id = ANY($1::text[]) ORDER BY policy_id FOR UPDATE"""
_POSTED: Final = """SELECT event, array_agg(cause) AS causes, bool_or(NOT EXISTS (
        SELECT FROM pool.journal_entry r WHERE r.reverses = e.id)) AS stands
    FROM pool.journal_entry e WHERE event = ANY($1::text[]) AND reverses IS NULL GROUP BY event"""


async def _policies(session: AsyncSession, names: Sequence[str]) -> dict[str, Covered]:
    rows = await run(session, _POLICIES, names)
    return {name: Covered(Tier(tier), Token(token), *rest) for name, tier, token, *rest in rows}


async def _reservations(session: AsyncSession, names: Sequence[str]) -> dict[str, ReservationState]:
    return {name: ReservationState(state) for name, state in await run(session, _RESERVATIONS, names)}


async def _posted(session: AsyncSession, causes: Sequence[str]) -> dict[str, Posted]:
    rows = await run(session, _POSTED, causes)
    return {event: Posted(frozenset(found), stands) for event, found, stands in rows}


async def write_page(session: AsyncSession, page: Page) -> None:
    """Writes what a page changed. PostedBefore, with the transaction to be taken back, where an entry is there."""
    changes = page.changes
    _, written = await asyncio.gather(_change_policies(session, page), _written(changes.entries))
    numbers = await store_journal.post(session, written) if changes.entries else []
    known = [new.entry for new, number in zip(changes.entries, numbers, strict=True) if number is None]
    if known and not await _is_gas_that_stands(session, known):
        raise PostedBefore(known[0].cause.unique)
    if changes.deposits:
        await _add_deposits(session, changes.deposits)
    if changes.messages:
        await outbox.post_many(session, tables.Outbox, changes.messages)
    if changes.unknown:
        now = wall_now()
        rows = [(cause.unique, cause.burn_height, reason, message, now) for cause, reason, message in changes.unknown]
        await run(session, _RECORD, *by_column(_UNKNOWN, rows))
    await session.flush()


async def _written(entries: Sequence[store_journal.NewEntry]) -> store_journal.Written:
    """Made while the database works on what is sent to it first."""
    await asyncio.sleep(0)
    return store_journal.Written.of(entries)


async def _change_policies(session: AsyncSession, page: Page) -> None:
    changes = page.changes
    if changes.created:
        await _put_policies(session, page)
    if changes.ended:
        await _end_policies(session, changes)
    if changes.committed:
        await run(session, _COMMIT, changes.committed, ReservationState.COMMITTED.value, wall_now())


async def _is_gas_that_stands(session: AsyncSession, entries: Sequence[Entry]) -> bool:
    """Whether an earlier page posted it all as what its transactions cost, and the chain has not taken it back."""
    if any(entry.kind is not EntryKind.GAS for entry in entries):
        return False
    posted = await _posted(session, [entry.cause.key for entry in entries])
    return all(one.stands for one in posted.values())


_COVERAGE: Final = (
    {"policy_id": "text", "onchain_id": "bigint", "tier": "smallint", "token": "smallint"}
    | dict.fromkeys(("amount_sats", "strike_e8", "floor_e8", "max_payout", "premium"), "bigint")
    | dict.fromkeys(("created_burn_height", "expiration_burn_height"), "bigint")
    | {"status": "text", "payout": "bigint", "ended_burn_height": "bigint", "auto_settle": "boolean"}
)
# Over one whose creation was withdrawn before.
_PUT: Final = f"""INSERT INTO pool.coverage ({", ".join(_COVERAGE)})
    SELECT {", ".join(_COVERAGE)} FROM {unnest("c", _COVERAGE)} ORDER BY place
    ON CONFLICT (policy_id) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in list(_COVERAGE)[1:])}"""
_ENDED: Final = {"policy_id": "text", "status": "text", "payout": "bigint", "ended_burn_height": "bigint"}
_END: Final = f"""UPDATE pool.coverage c
    SET status = e.status, payout = e.payout, ended_burn_height = e.ended_burn_height
    FROM {unnest("e", _ENDED)} WHERE c.policy_id = e.policy_id"""
_COMMIT: Final = """UPDATE pool.reservation SET state = $2, reason = '', end_time = $3
    WHERE policy_id = ANY($1::text[])"""
_UNKNOWN: Final = {
    "cause": "text",
    "burn_height": "bigint",
    "reason": "text",
    "event": "bytea",
    "create_time": "timestamptz",
}
_RECORD: Final = f"""INSERT INTO pool.unknown_event ({", ".join(_UNKNOWN)})
    SELECT {", ".join(_UNKNOWN)} FROM {unnest("u", _UNKNOWN)} ORDER BY place"""


async def _put_policies(session: AsyncSession, page: Page) -> None:
    rows = []
    for policy_id, created in page.changes.created.items():
        now, terms = page.policies[policy_id], created.policy
        rows.append(
            (
                *(policy_id, created.onchain_id, created.tier, terms.token),
                *(terms.amount_sats, terms.strike_e8, terms.floor_e8, terms.max_payout, terms.premium),
                *(terms.created_burn_height, terms.expiration_burn_height),
                *(now.status, now.payout, now.ended_burn_height, created.auto_settle),
            )
        )
    await run(session, _PUT, *by_column(_COVERAGE, rows))


async def _end_policies(session: AsyncSession, changes: Changes) -> None:
    rows = [(name, end.status, end.payout, end.ended_burn_height) for name, end in changes.ended.items()]
    await run(session, _END, *by_column(_ENDED, rows))


_DEPOSITS: Final = (
    {"id": "text", "provider": "text", "tier": "smallint", "token": "smallint", "amount": "bigint", "txid": "text"}
    | {"burn_height": "bigint", "withdrawal_id": "text", "final_market_time": "timestamptz"}
    | {"create_time": "timestamptz"}
)
_DEPOSIT: Final = f"""INSERT INTO pool.deposit
    ({", ".join(_DEPOSITS)}, state, shares, btc_round, stx_round, btc_price_e8, stx_price_e8)
    SELECT {", ".join(_DEPOSITS)}, '{store_positions.FINAL}', 0, 0, 0, 0, 0
    FROM {unnest("d", _DEPOSITS)} ORDER BY place"""


async def _add_deposits(session: AsyncSession, deposits: Sequence[NewDeposit]) -> None:
    now = wall_now()
    await run(session, _DEPOSIT, *by_column(_DEPOSITS, [_deposit_row(deposit, now) for deposit in deposits]))


def _deposit_row(deposit: NewDeposit, now: dt.datetime) -> tuple[object, ...]:
    line, cause = deposit.line, deposit.cause
    paid = (deposit.id, line.provider, line.tier, line.token, line.amount, cause.txid, cause.burn_height)
    return (*paid, deposit.withdrawal_id, deposit.market_time, now)
