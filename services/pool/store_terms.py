"""SQL of policies' terms: where ledger or policy service say other than the contracts, and what puts the ledger right.

A term that a book does not tell is NULL, and differs from nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from services.pool import store_coverage
from services.pool.domain.terms import Disagreement, Terms
from services.pool.store_arrays import run
from services.pool.store_stage import Book

# What the ledger keeps of a policy's terms, and under which name.
KEPT: Final = {
    "onchain_id": "onchain_id",
    "tier": "tier",
    "protected_amount_sats": "amount_sats",
    "strike_price_usd_e8": "strike_e8",
    "floor_price_usd_e8": "floor_e8",
    "premium_base_units": "premium",
    "auto_settle": "auto_settle",
    "expiration_burn_height": "expiration_burn_height",
    "created_burn_height": "created_burn_height",
}


async def ledger_differs(
    session: AsyncSession, report_id: str, final_burn_height: int, not_of: Collection[str], limit: int
) -> list[Disagreement]:
    """Of the first `limit` policies of which it does, the terms that the ledger says differently.

    Only of those that it created at `final_burn_height` or before; of none that `not_of` names.
    """
    return await _differ(session, _LEDGER, report_id, final_burn_height, list(not_of), limit)


async def ledger_differs_of(
    session: AsyncSession, report_id: str, final_burn_height: int, policies: Collection[str]
) -> list[Disagreement]:
    """As `ledger_differs`, of these policies alone."""
    return await _differ(session, _LEDGER_OF, report_id, final_burn_height, list(policies))


async def service_differs(
    session: AsyncSession, report_id: str, not_of: Collection[str], limit: int
) -> list[Disagreement]:
    """Of the first `limit` policies of which it does, the terms that the policy service says differently.

    Of none that `not_of` names.
    """
    return await _differ(session, _SERVICE, report_id, list(not_of), limit)


async def service_differs_of(session: AsyncSession, report_id: str, policies: Collection[str]) -> list[Disagreement]:
    """As `service_differs`, of these policies alone."""
    return await _differ(session, _SERVICE_OF, report_id, list(policies))


async def put_right(session: AsyncSession, report_id: str, final_burn_height: int, policies: Collection[str]) -> None:
    """Gives the ledger's rows of these policies the contracts' token, largest payout and, where told, terms."""
    await run(session, _PUT_RIGHT, report_id, final_burn_height, list(policies))


async def _differ(session: AsyncSession, statement: str, *values: object) -> list[Disagreement]:
    return [Disagreement(*row) for row in await run(session, statement, *values)]


def _disagreements(book: str, names: Mapping[str, str], which: str) -> str:
    """By policy and term; `which` says of which policies."""
    differs = " OR ".join(f"c.{term} <> b.{name}" for term, name in names.items())
    terms = ", ".join(
        f"({place}, '{term}', (contracts).{term}::text, (book).{name}::text)"
        for place, (term, name) in enumerate(names.items())
    )
    return f"""SELECT policy_id, term, contracts_say, book_says
    FROM (
        SELECT policy_id, c AS contracts, b AS book FROM pool.reconciliation_fact c JOIN {book} b USING (policy_id)
        WHERE c.reconciliation_id = $1 AND c.book = '{Book.CONTRACTS}' AND ({differs}) AND {which}
    ) differing, LATERAL (VALUES {terms}) AS said (place, term, contracts_say, book_says)
    WHERE contracts_say <> book_says ORDER BY policy_id, place"""


_BOOKED: Final = f"b.status <> '{store_coverage.REVERSED}' AND b.created_burn_height <= $2"
_TOLD: Final = f"b.reconciliation_id = $1 AND b.book = '{Book.POLICIES}'"
_ALL: Final = "policy_id <> ALL(${}::text[]) ORDER BY policy_id LIMIT ${}"
# Said of both, so that either is looked up.
_THESE: Final = "c.policy_id = ANY(${0}::text[]) AND b.policy_id = ANY(${0}::text[])"
_OF_SERVICE: Final = {term: term for term in Terms._fields}
_LEDGER: Final = _disagreements("pool.coverage", KEPT, f"{_BOOKED} AND {_ALL.format(3, 4)}")
_LEDGER_OF: Final = _disagreements("pool.coverage", KEPT, f"{_BOOKED} AND {_THESE.format(3)}")
_SERVICE: Final = _disagreements("pool.reconciliation_fact", _OF_SERVICE, f"{_TOLD} AND {_ALL.format(2, 3)}")
_SERVICE_OF: Final = _disagreements("pool.reconciliation_fact", _OF_SERVICE, f"{_TOLD} AND {_THESE.format(2)}")
# What every page tells, and the books compare with the rest of a policy.
_TOLD_WITH_STATE: Final = {"token": "token", "max_payout": "max_payout"}
_PUT: Final = ", ".join(f"{name} = coalesce(c.{term}, b.{name})" for term, name in (KEPT | _TOLD_WITH_STATE).items())
_PUT_RIGHT: Final = f"""UPDATE pool.coverage b SET {_PUT}
    FROM pool.reconciliation_fact c
    WHERE c.reconciliation_id = $1 AND c.book = '{Book.CONTRACTS}' AND c.policy_id = b.policy_id
    AND {_BOOKED} AND {_THESE.format(3)}"""
