"""Reconciliation: silence where the books agree, a stable kind where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel.units import Token
from services.pool.domain.reconciliation import (
    Booked,
    Contracts,
    Pending,
    PolicyFact,
    Sums,
    compare_policies,
    compare_sums,
)

_OPEN = PolicyFact("ACTIVE", Token.STX, 100, 0)
_SETTLED = PolicyFact("SETTLED", Token.STX, 50, 20)
_CONTRACTS = Contracts(
    sums={Token.STX: Sums(1_000, 100, 10)}, actual={Token.STX: 1_000}, policies={"a": _OPEN, "b": _SETTLED}
)
_SUMS = {Token.STX: Sums(1_000, 100, 10)}
_LEDGER = Booked(policies={"a": _OPEN, "b": _SETTLED})
_SERVICE = {"a": replace(_OPEN, status="SETTLING"), "b": _SETTLED}


def _kinds(
    contracts: Contracts = _CONTRACTS,
    pending: Pending | None = None,
    ledger: Booked = _LEDGER,
    service: dict[str, PolicyFact] = _SERVICE,
) -> list[str]:
    pending = pending or Pending()
    names = sorted({*contracts.policies, *ledger.policies, *service})
    covered = {Token.STX: sum(fact.max_payout for fact in contracts.policies.values() if fact.status == "ACTIVE")}
    found = (
        *compare_sums(contracts, covered, pending, _SUMS),
        *compare_policies(names, contracts, pending, ledger, service),
    )
    return [difference.kind for difference in found]


def test_books_that_agree_have_no_difference() -> None:
    """An open policy may be ACTIVE or on its way to an end in the policy service."""
    assert _kinds() == []


def test_pending_events_explain_what_the_books_do_not_have_yet() -> None:
    """A creation and a settlement that are not final yet are no differences."""
    created = PolicyFact("ACTIVE", Token.STX, 70, 0)
    settled = PolicyFact("SETTLED", Token.STX, 100, 60)
    contracts = Contracts(
        {Token.STX: Sums(1_000 + 8 - 60, 70, 11)}, {Token.STX: 948}, {"a": settled, "b": _SETTLED, "c": created}
    )
    pending = Pending({Token.STX: Sums(8 - 60, 70 - 100, 1)}, frozenset({"c"}), {"a": settled})
    assert _kinds(contracts, pending) == []
    assert _kinds(contracts, pending, service=_SERVICE | {"c": replace(created, status="PENDING_CREATION")}) == []


def test_a_policy_service_that_reads_later_is_no_difference() -> None:
    """What the ledger knows to have happened after the snapshot explains a later state."""
    settled = PolicyFact("SETTLED", Token.STX, 100, 60)
    created = PolicyFact("ACTIVE", Token.STX, 70, 0)
    ledger = replace(_LEDGER, later={"a": settled, "c": created})
    assert _kinds(ledger=ledger, service={"a": settled, "b": _SETTLED, "c": created}) == []
    assert _kinds(service={"a": settled, "b": _SETTLED}) == ["STATE_DIFFERS"]


@pytest.mark.parametrize(
    ("contracts", "kinds"),
    [
        (replace(_CONTRACTS, sums={Token.STX: Sums(999, 100, 10)}), ["ACCOUNTED_DIFFERS", "VAULT_EXCESS"]),
        (replace(_CONTRACTS, sums={Token.STX: Sums(1_000, 90, 10)}), ["LOCKED_DIFFERS", "COLLATERAL_DIFFERS"]),
        (replace(_CONTRACTS, sums={Token.STX: Sums(1_000, 100, 11)}), ["FEES_DIFFER"]),
        (replace(_CONTRACTS, actual={Token.STX: 999}), ["VAULT_SHORT"]),
        (replace(_CONTRACTS, actual={Token.STX: 1_001}), ["VAULT_EXCESS"]),
        (replace(_CONTRACTS, policies={"a": _OPEN}), ["POLICY_NOT_ON_CHAIN"]),
        (replace(_CONTRACTS, policies={"a": _OPEN, "b": replace(_SETTLED, payout=21)}), ["PAYOUT_DIFFERS"] * 2),
        (replace(_CONTRACTS, policies={"a": _OPEN, "b": replace(_SETTLED, status="EXPIRED")}), ["STATE_DIFFERS"]),
        (replace(_CONTRACTS, policies={"a": _OPEN, "b": replace(_SETTLED, max_payout=51)}), ["MAX_PAYOUT_DIFFERS"]),
        (replace(_CONTRACTS, policies={"a": _OPEN, "b": _SETTLED, "c": _SETTLED}), ["POLICY_MISSING_IN_LEDGER"]),
    ],
)
def test_each_difference_of_the_contracts_has_its_kind(contracts: Contracts, kinds: list[str]) -> None:
    """A single altered figure is reported under its own kind."""
    found = _kinds(contracts)
    assert set(kinds) <= set(found)
    assert found


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ({"b": _SETTLED}, "POLICY_MISSING_IN_SERVICE"),
        ({"a": _OPEN, "b": replace(_SETTLED, payout=21)}, "PAYOUT_DIFFERS"),
        ({"a": replace(_OPEN, max_payout=99), "b": _SETTLED}, "MAX_PAYOUT_DIFFERS"),
        ({"a": replace(_OPEN, status="FAILED_CREATION"), "b": _SETTLED}, "STATE_DIFFERS"),
        ({"a": _OPEN, "b": _SETTLED, "c": _OPEN}, "POLICY_NOT_ON_CHAIN"),
    ],
)
def test_each_difference_of_the_policy_service_has_its_kind(service: dict[str, PolicyFact], kind: str) -> None:
    """A single altered policy is reported once, under its own kind."""
    assert _kinds(service=service) == [kind]
