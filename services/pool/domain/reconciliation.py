"""Compares three books of the same things: the contracts, the ledger, the policy service.

All are brought to one point: the contracts say how they stand at a block; the ledger says how it stood at the last
height that was final then; what lies between, the pending events, is known. Differences that later events of the
ledger explain (the policy service reads later than the contracts) are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kernel.units import Token
from services.pool.domain.likely_cause import LikelyCause

ACTIVE: Final = "ACTIVE"
SETTLED: Final = "SETTLED"
MAX_PAYOUT_DIFFERS: Final = "MAX_PAYOUT_DIFFERS"
_OPEN_STATES: Final = frozenset({"ACTIVE", "SETTLING", "EXPIRING", "FAILED_SETTLEMENT"})


@dataclass(frozen=True)
class Sums:
    """Accounted, locked and fees of one token, base units; deltas where they are effects."""

    accounted: int = 0
    locked: int = 0
    fees: int = 0

    def plus(self, other: Sums) -> Sums:
        """Sum of both."""
        return Sums(self.accounted + other.accounted, self.locked + other.locked, self.fees + other.fees)


@dataclass(frozen=True, slots=True)
class PolicyFact:
    """What one book says of a policy. `status` is ACTIVE, SETTLED or EXPIRED; of the policy service, its state."""

    status: str
    token: Token
    max_payout: int
    payout: int


@dataclass(frozen=True)
class Contracts:
    """The contracts at the snapshot's block. `actual` is what the vault really owns; `policies` may be a page."""

    sums: Mapping[Token, Sums]
    actual: Mapping[Token, int]
    policies: Mapping[str, PolicyFact]


@dataclass(frozen=True)
class Pending:
    """The snapshot's events that were not final: their effects, and which policies they created or ended."""

    effects: Mapping[Token, Sums] = field(default_factory=dict)
    created: frozenset[str] = frozenset()
    ended: Mapping[str, PolicyFact] = field(default_factory=dict)


@dataclass(frozen=True)
class Booked:
    """Policies of the ledger at the snapshot's final height; `later` is how those stand that changed after it."""

    policies: Mapping[str, PolicyFact]
    later: Mapping[str, PolicyFact] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One thing that two books say differently; `kind` is stable. `healed`: the reconciliation put it right."""

    kind: str
    subject: str
    contracts_say: str
    ledger_says: str
    policies_say: str
    cause: LikelyCause
    healed: bool = False


def compare_sums(
    contracts: Contracts, covered: Mapping[Token, int], pending: Pending, booked: Mapping[Token, Sums]
) -> Iterator[Difference]:
    """Every difference of the vault's accounts.

    `covered` is what the registry's open policies claim, base units; `booked` is the ledger's at the snapshot's final
    height.
    """
    for token in Token:
        yield from _compare_token(token, contracts, covered.get(token, 0), pending, booked.get(token, Sums()))


def compare_policies(
    policy_ids: Iterable[str],
    contracts: Contracts,
    pending: Pending,
    booked: Booked,
    policies: Mapping[str, PolicyFact],
) -> Iterator[Difference]:
    """Every difference of these policies; `booked` has at least those of them that the ledger knows."""
    for policy_id in policy_ids:
        yield from _compare_with_ledger(policy_id, contracts, pending, booked)
        yield from _compare_with_service(policy_id, contracts, pending, booked, policies.get(policy_id))


def _compare_token(
    token: Token, contracts: Contracts, covered: int, pending: Pending, booked: Sums
) -> Iterator[Difference]:
    said = contracts.sums.get(token, Sums())
    expected = booked.plus(pending.effects.get(token, Sums()))
    for kind, chain, books in (
        ("ACCOUNTED_DIFFERS", said.accounted, expected.accounted),
        ("LOCKED_DIFFERS", said.locked, expected.locked),
        ("FEES_DIFFER", said.fees, expected.fees),
    ):
        if chain != books:
            yield Difference(kind, token.name, str(chain), str(books), "", LikelyCause.EVENT_MISSED)
    actual = contracts.actual.get(token, 0)
    if actual < said.accounted:
        cause = LikelyCause.VAULT_OWNS_LESS
        yield Difference("VAULT_SHORT", token.name, f"{actual} of {said.accounted}", str(expected.accounted), "", cause)
    if actual > said.accounted:
        cause = LikelyCause.SENT_TO_VAULT
        yield Difference("VAULT_EXCESS", token.name, str(actual - said.accounted), "", "", cause)
    if covered != said.locked:
        cause = LikelyCause.CONTRACTS_DISAGREE
        yield Difference(
            "COLLATERAL_DIFFERS", token.name, f"{said.locked} for {covered}", str(expected.locked), "", cause
        )


def _text(fact: PolicyFact | None) -> str:
    return "" if fact is None else f"{fact.status} max_payout {fact.max_payout} payout {fact.payout}"


def _compare_with_ledger(
    policy_id: str, contracts: Contracts, pending: Pending, ledger: Booked
) -> Iterator[Difference]:
    chain, booked = contracts.policies.get(policy_id), ledger.policies.get(policy_id)
    if chain is None and booked is None:
        return
    subject = f"policies/{policy_id}"
    if chain is None:
        yield Difference("POLICY_NOT_ON_CHAIN", subject, "", _text(booked), "", LikelyCause.CREATION_WITHDRAWN)
        return
    if policy_id in pending.created:
        return
    if booked is None:
        cause = LikelyCause.EVENT_MISSED
        yield Difference("POLICY_MISSING_IN_LEDGER", subject, _text(chain), "", "", cause)
        return
    expected = pending.ended.get(policy_id, booked)
    if chain != expected:
        kind = _kind(chain, expected)
        # No event changes it.
        cause = LikelyCause.CHANGED_BY_HAND if kind == MAX_PAYOUT_DIFFERS else LikelyCause.EVENT_MISSED
        yield Difference(kind, subject, _text(chain), _text(expected), "", cause)


def _kind(chain: PolicyFact, other: PolicyFact) -> str:
    if (chain.token, chain.max_payout) != (other.token, other.max_payout):
        return MAX_PAYOUT_DIFFERS
    return "STATE_DIFFERS" if chain.status != other.status else "PAYOUT_DIFFERS"


def _compare_with_service(
    policy_id: str, contracts: Contracts, pending: Pending, ledger: Booked, said: PolicyFact | None
) -> Iterator[Difference]:
    chain, later = contracts.policies.get(policy_id), ledger.later.get(policy_id)
    subject, booked = f"policies/{policy_id}", ledger.policies.get(policy_id)
    if policy_id in pending.created:
        return
    if said is None:
        if chain is not None:
            cause = LikelyCause.SERVICE_MISSED_EVENT
            yield Difference("POLICY_MISSING_IN_SERVICE", subject, _text(chain), _text(booked), "", cause)
        return
    if chain is None:
        if later is None and said.status in _OPEN_STATES:
            cause = LikelyCause.SERVICE_AHEAD
            yield Difference("POLICY_NOT_ON_CHAIN", subject, "", _text(booked), _text(said), cause)
        return
    possible = [fact for fact in (chain, booked, later) if fact is not None]
    if not any(_agrees(said, fact) for fact in possible):
        cause = LikelyCause.SERVICE_MISSED_EVENT
        yield Difference(_service_kind(said, chain), subject, _text(chain), _text(booked), _text(said), cause)


def _agrees(said: PolicyFact, fact: PolicyFact) -> bool:
    if (said.token, said.max_payout) != (fact.token, fact.max_payout):
        return False
    if fact.status == ACTIVE:
        return said.status in _OPEN_STATES
    return said.status == fact.status and (fact.status != SETTLED or said.payout == fact.payout)


def _service_kind(said: PolicyFact, chain: PolicyFact) -> str:
    if (said.token, said.max_payout) != (chain.token, chain.max_payout):
        return MAX_PAYOUT_DIFFERS
    return "PAYOUT_DIFFERS" if said.status == chain.status else "STATE_DIFFERS"
