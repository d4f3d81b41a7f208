"""Contracts, policy service and ledger side by side, policies page by page of the ledger in the order of their ids."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Token
from services.pool import store, store_coverage, store_reports
from services.pool.domain import ledger
from services.pool.domain.positions import compare_positions
from services.pool.domain.reconciliation import (
    ACTIVE,
    Booked,
    Contracts,
    Difference,
    Pending,
    PolicyFact,
    Sums,
    compare_policies,
    compare_sums,
)
from services.pool.store_coverage import Cover

_PAGE: Final = 5_000


@dataclass(frozen=True)
class Snapshot:
    """What contracts and policy service say, and at which heights they say it."""

    block_hash: str
    contracts: Contracts
    pending: Pending
    final_burn_height: int
    burn_height: int
    policies: Mapping[str, PolicyFact]
    policies_burn_height: int


@dataclass(frozen=True)
class Compared:
    """Every difference, and how many policies were looked at."""

    differences: Sequence[Difference]
    policies: int


async def compare_books(
    session: AsyncSession,
    snapshot: Snapshot,
    burn_height: int,
    faults: Sequence[tuple[str, str]],
    page: int = _PAGE,
) -> Compared:
    """The snapshot beside the ledger as it stood at its final height, and rows beside accounts at `burn_height`.

    `page` is how many of the ledger's policies are held at a time. Sums first, then policy by policy, then positions.
    """
    balances = await store.balances_at(session, snapshot.final_burn_height)
    found = list(compare_sums(snapshot.contracts, snapshot.pending, _sums(balances)))
    policies = await _compare_policies(session, snapshot, page, found)
    positions = await store_reports.read_positions(session, burn_height, faults)
    found.extend(compare_positions(await store.balances(session), positions))
    return Compared(found, policies)


async def _compare_policies(session: AsyncSession, snapshot: Snapshot, page: int, found: list[Difference]) -> int:
    """Adds the differences of policies to `found`; how many policies there are."""
    # Ids are 32 hexadecimal digits: the database and we sort them alike, whatever its collation.
    others = sorted({*snapshot.contracts.policies, *snapshot.policies})
    after, start, number, more = "", 0, 0, True
    while more:
        covers = await store_coverage.covers_after(session, after, page)
        more = len(covers) == page
        after = covers[-1].policy_id if covers else after
        end = bisect_right(others, after) if more else len(others)
        booked = _booked(covers, snapshot.final_burn_height)
        names = sorted({*booked.policies, *others[start:end]})
        found.extend(compare_policies(names, snapshot.contracts, snapshot.pending, booked, snapshot.policies))
        start, number = end, number + len(names)
    return number


def _booked(covers: Iterable[Cover], burn_height: int) -> Booked:
    policies: dict[str, PolicyFact] = {}
    later: dict[str, PolicyFact] = {}
    for cover in covers:
        now = PolicyFact(cover.status, cover.token, cover.max_payout, cover.payout)
        ended_later = cover.ended_burn_height is not None and cover.ended_burn_height > burn_height
        if cover.created_burn_height > burn_height:
            later[cover.policy_id] = now
            continue
        if ended_later:
            later[cover.policy_id] = now
        policies[cover.policy_id] = PolicyFact(ACTIVE, now.token, now.max_payout, 0) if ended_later else now
    return Booked(policies, later)


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
