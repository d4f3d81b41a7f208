"""Reconciliation: the ledger as it stood at a height, compared with contracts and policy service, and stored."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import FailedPrecondition
from kernel.units import Token
from services.pool import store, store_coverage, store_reports, tables
from services.pool.convert_reports import difference_json
from services.pool.domain import ledger
from services.pool.domain.reconciliation import ACTIVE, Contracts, Ledger, Pending, PolicyFact, Sums, compare


async def reconcile(
    session: AsyncSession,
    report_id: str,
    block_hash: str,
    contracts: Contracts,
    pending: Pending,
    final_burn_height: int,
    burn_height: int,
    policies: Mapping[str, PolicyFact],
    policies_burn_height: int,
) -> tables.Reconciliation:
    """The report of this name, made now or before.

    FailedPrecondition BOOKS_BEHIND while ledger or policy service have not taken in what was final at the snapshot,
    or the policy service is further than the ledger.
    """
    stored = await store_reports.get_report(session, report_id)
    if stored is not None:
        return stored
    projected = (await store.read_cursor(session, lock=True)).projected_burn_height
    if min(projected, policies_burn_height) < final_burn_height or projected < policies_burn_height:
        raise FailedPrecondition(
            "BOOKS_BEHIND",
            "the books have not followed the chain to the snapshot yet",
            final_burn_height=final_burn_height,
            ledger=projected,
            policies=policies_burn_height,
        )
    booked = await ledger_at(session, final_burn_height)
    differences = compare(contracts, pending, booked, policies)
    row = tables.Reconciliation(
        id=report_id,
        block_hash=block_hash,
        burn_height=burn_height,
        differences=[difference_json(difference) for difference in differences],
        policies_compared=len({*contracts.policies, *booked.policies, *policies}),
        accounts_compared=3 * len(contracts.sums),
    )
    session.add(row)
    return row


async def ledger_at(session: AsyncSession, burn_height: int) -> Ledger:
    """The ledger as it stood when the events up to `burn_height` were in it."""
    return await _ledger_policies(session, burn_height, _sums(await store.balances_at(session, burn_height)))


def _sums(balances: Mapping[tuple[str, Token], int]) -> dict[Token, Sums]:
    sums = {token: Sums() for token in Token}
    for (account, token), balance in balances.items():
        if account == ledger.vault_cash(token):
            sums[token] = sums[token].plus(Sums(accounted=balance))
        elif account == ledger.platform_fees(token):
            sums[token] = sums[token].plus(Sums(fees=-balance))
        elif account.startswith("locked_collateral/"):
            sums[token] = sums[token].plus(Sums(locked=-balance))
    return sums


async def _ledger_policies(session: AsyncSession, burn_height: int, sums: Mapping[Token, Sums]) -> Ledger:
    policies: dict[str, PolicyFact] = {}
    later: dict[str, PolicyFact] = {}
    for row in await store_coverage.all_coverage(session):
        now = PolicyFact(row.status, Token(row.token), row.max_payout, row.payout)
        ended_later = row.ended_burn_height is not None and row.ended_burn_height > burn_height
        if row.created_burn_height > burn_height:
            later[row.policy_id] = now
            continue
        if ended_later:
            later[row.policy_id] = now
        then = PolicyFact(ACTIVE, now.token, now.max_payout, 0) if ended_later else now
        policies[row.policy_id] = then
    return Ledger(sums, policies, later)
