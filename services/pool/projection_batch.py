"""Policies that end in one answer, taken into the books by a few statements; what is not plain goes one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
from services.pool import store_coverage, store_journal, tables
from services.pool.domain import chain_event as chain
from services.pool.domain import ledger
from services.pool.domain.ledger import Entry
from services.pool.store_journal import NewEntry


class NotPlain(Exception):
    """Something in the batch needs to be judged by itself; nothing is kept of it."""


async def apply_ends(session: AsyncSession, events: Sequence[chain.ChainEvent]) -> None:
    """Ends policies, each for the first time; NotPlain where one is not so."""
    ended = {
        event.payload.policy_id: event
        for event in events
        if isinstance(event.payload, chain.PolicySettled | chain.PolicyExpired)
    }
    rows = await store_coverage.lock_coverages(session, list(ended))
    relevant = sum(not isinstance(event.payload, chain.Irrelevant) for event in events)
    if not len(rows) == len(ended) == relevant:
        raise NotPlain
    entries = [NewEntry(_end(row, ended[row.policy_id])) for row in rows]
    if None in await store_journal.post_entries(session, entries):
        raise NotPlain
    await store_journal.post_entries(session, [NewEntry(entry) for entry in _gas(events)])
    await store_coverage.end_coverages(session, rows)


def _end(row: tables.Coverage, event: chain.ChainEvent) -> Entry:
    payload, tier, token = event.payload, Tier(row.tier), Token(row.token)
    if not isinstance(payload, chain.PolicySettled | chain.PolicyExpired) or row.status != store_coverage.ACTIVE:
        raise NotPlain
    if (payload.token, payload.max_payout) != (token, row.max_payout):
        raise NotPlain
    row.ended_burn_height = event.cause.burn_height
    if isinstance(payload, chain.PolicyExpired):
        row.status, row.payout = "EXPIRED", 0
        return ledger.policy_expired(event.cause, tier, token, row.max_payout)
    row.status, row.payout = "SETTLED", payload.payout
    return ledger.policy_settled(event.cause, tier, token, payload.payout, row.max_payout)


def _gas(events: Iterable[chain.ChainEvent]) -> list[Entry]:
    """One entry per transaction of ours."""
    entries = {}
    for event in events:
        if event.backend_fee_ustx and event.cause.txid not in entries:
            cause = replace(event.cause, key=f"{event.cause.txid}/gas", subject="")
            entries[event.cause.txid] = ledger.gas(cause, event.backend_fee_ustx)
    return list(entries.values())
