"""Contracts, policy service and ledger side by side, page by page in the order of policies' ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Token
from services.pool import (
    store,
    store_closings,
    store_coverage,
    store_position_rows,
    store_reports,
    store_stage,
    store_terms,
)
from services.pool.domain import ledger
from services.pool.domain.position_rows import compare_rows
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
from services.pool.domain.terms import compare_terms
from services.pool.store_coverage import Cover
from services.pool.store_stage import Book

_PAGE: Final = 5_000


@dataclass(frozen=True)
class Snapshot:
    """What contracts and policy service say, and at which heights they say it; of each policy, their staged pages.

    The policy service goes on while its pages are read: all of them are at `policies_burn_height` at least, and at
    `policies_latest_burn_height` at most.
    """

    block_hash: str
    contracts: Contracts
    pending: Pending
    final_burn_height: int
    burn_height: int
    policies_burn_height: int
    policies_latest_burn_height: int


@dataclass(frozen=True)
class Compared:
    """The differences, and how many policies were looked at."""

    differences: Sequence[Difference]
    policies: int


class Books:
    """One snapshot beside the ledger as it stood at its final height, and rows beside accounts at `burn_height`.

    Everything is read in the session's transaction, which must see one moment: one of `Database.snapshot`, or one that
    holds the cursor and all tiers.
    """

    def __init__(
        self,
        session: AsyncSession,
        report_id: str,
        snapshot: Snapshot,
        burn_height: int,
        faults: Sequence[tuple[str, str]],
    ) -> None:
        self._session = session
        self._report_id = report_id
        self._snapshot = snapshot
        self._burn_height = burn_height
        self._faults = faults

    async def compare(self, covered: Mapping[Token, int], page: int = _PAGE) -> Compared:
        """Sums first, then policy by policy, then positions; `page` is how many policies are held at a time.

        Of a kind, the first 500 policies are told: what is held does not grow with the books.
        """
        found = await self._sums(covered)
        told: Counter[str] = Counter()
        after, number, more = "", 0, True
        while more:
            covers = await store_coverage.covers_after(self._session, after, page)
            chain = await store_stage.facts_after(self._session, self._report_id, Book.CONTRACTS, after, page)
            service = await store_stage.facts_after(self._session, self._report_id, Book.POLICIES, after, page)
            # Ids are 32 hexadecimal digits: the database and we sort them alike, whatever its collation.
            books = ([cover.policy_id for cover in covers], list(chain), list(service))
            names = set().union(*books)
            ends = [book[-1] for book in books if len(book) == page]
            more = bool(ends)
            if more:
                after = min(ends)
                names = {name for name in names if name <= after}
            number += len(names)
            for difference in self._policies(sorted(names), covers, chain, service):
                told[difference.kind] += 1
                if told[difference.kind] <= store_reports.MOST_OF_A_KIND:
                    found.append(difference)
        found += await self._terms()
        return Compared([*found, *await self._positions(), *await self._rows()], number)

    async def compare_again(
        self, covered: Mapping[Token, int], policies: Collection[str], rows: Collection[str]
    ) -> list[Difference]:
        """As `compare`, of these policies, and rows by their resource names, alone."""
        covers = await store_coverage.covers_of(self._session, policies)
        chain = await store_stage.facts_of(self._session, self._report_id, Book.CONTRACTS, policies)
        service = await store_stage.facts_of(self._session, self._report_id, Book.POLICIES, policies)
        found = [*await self._sums(covered), *self._policies(sorted(policies), covers, chain, service)]
        return [*found, *await self._terms_of(policies), *await self._positions(), *await self._rows(rows)]

    async def _sums(self, covered: Mapping[Token, int]) -> list[Difference]:
        balances = await store_closings.balances_at(self._session, self._snapshot.final_burn_height)
        return [*compare_sums(self._snapshot.contracts, covered, self._snapshot.pending, _sums(balances))]

    def _policies(
        self,
        names: Iterable[str],
        covers: Iterable[Cover],
        chain: Mapping[str, PolicyFact],
        service: Mapping[str, PolicyFact],
    ) -> Iterator[Difference]:
        booked = _booked(covers, self._snapshot.final_burn_height)
        contracts = replace(self._snapshot.contracts, policies=chain)
        return compare_policies(names, contracts, self._snapshot.pending, booked, service)

    async def _terms(self) -> list[Difference]:
        """Of 500 policies in each book at most; a policy whose creation is not final yet has no terms to compare."""
        most, created = store_reports.MOST_OF_A_KIND, self._snapshot.pending.created
        final = self._snapshot.final_burn_height
        return compare_terms(
            await store_terms.ledger_differs(self._session, self._report_id, final, created, most),
            await store_terms.service_differs(self._session, self._report_id, created, most),
        )

    async def _terms_of(self, policies: Collection[str]) -> list[Difference]:
        looked_at = set(policies) - self._snapshot.pending.created
        final = self._snapshot.final_burn_height
        return compare_terms(
            await store_terms.ledger_differs_of(self._session, self._report_id, final, looked_at),
            await store_terms.service_differs_of(self._session, self._report_id, looked_at),
        )

    async def _positions(self) -> tuple[Difference, ...]:
        positions = await store_reports.read_positions(self._session, self._burn_height, self._faults)
        return compare_positions(await store.balances(self._session), positions)

    async def _rows(self, of: Collection[str] | None = None) -> list[Difference]:
        """Deposits and withdrawals beside what was written for them: all, or these."""
        most = store_reports.MOST_OF_A_KIND
        names = await store_position_rows.differing(self._session, most) if of is None else of
        lines = await store_position_rows.lines_of(self._session, names) if names else []
        return compare_rows(lines, await store_position_rows.without_shares(self._session, most))


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
