"""What never changes of a policy once the chain has it, as each book says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kernel.ids import resource_name
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference

LEDGER_DIFFERS: Final = "TERMS_DIFFER_IN_LEDGER"
SERVICE_DIFFERS: Final = "TERMS_DIFFER_IN_SERVICE"


class Terms(NamedTuple):
    """What was paid for. Amounts are base units of the policy's token, prices USD e8, heights burn heights."""

    onchain_id: int
    holder_principal: str
    tier: int
    protected_amount_sats: int
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    btc_price_usd_e8: int
    stx_price_usd_e8: int
    premium_base_units: int
    fee_base_units: int
    auto_settle: bool
    quote_burn_height: int
    quote_expiration_burn_height: int
    expiration_burn_height: int
    created_burn_height: int
    grace_blocks: int


class Disagreement(NamedTuple):
    """A term of a policy that the contracts and another book say differently."""

    policy_id: str
    term: str
    contracts_say: str
    book_says: str


def compare_terms(ledger: Iterable[Disagreement], service: Iterable[Disagreement]) -> list[Difference]:
    """One difference for each policy and book, with every term that differs by its name."""
    cause = LikelyCause.CHANGED_BY_HAND
    return [
        *(Difference(LEDGER_DIFFERS, name, chain, said, "", cause) for name, chain, said in _by_policy(ledger)),
        *(Difference(SERVICE_DIFFERS, name, chain, "", said, cause) for name, chain, said in _by_policy(service)),
    ]


def _by_policy(disagreements: Iterable[Disagreement]) -> list[tuple[str, str, str]]:
    found: dict[str, list[Disagreement]] = {}
    for one in disagreements:
        found.setdefault(one.policy_id, []).append(one)
    return [
        (
            resource_name("policies", policy_id),
            ", ".join(f"{one.term} {one.contracts_say}" for one in terms),
            ", ".join(f"{one.term} {one.book_says}" for one in terms),
        )
        for policy_id, terms in found.items()
    ]
