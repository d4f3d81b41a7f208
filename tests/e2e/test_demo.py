"""The demo's scenario, end to end, as a person runs it."""

from __future__ import annotations

from typing import Any

from kernel.units import Token, max_payout, payout


def _by_scenario(demo: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {policy["scenario"]: policy for policy in demo["policies"]}


def test_the_eight_policies_end_as_their_stories_say(demo: dict[str, Any]) -> None:
    """States on and off the chain, and what each was paid."""
    policies = _by_scenario(demo)
    states = {scenario: (policy["state"], policy["onchain_state"]) for scenario, policy in policies.items()}
    settled, open_ = ("SETTLED", "SETTLED"), ("ACTIVE", "ACTIVE")
    assert states == {
        "a": settled,
        "b": settled,
        "c": ("EXPIRED", "EXPIRED"),
        "d": settled,
        "e": ("FAILED_CREATION", "NONE"),
        "f": settled,
        "g": open_,
        "h": open_,
    }
    assert 0 < policies["a"]["payout"] < policies["a"]["max_payout"]
    assert policies["b"]["payout"] == policies["b"]["max_payout"]
    assert policies["c"]["payout"] == 0
    assert policies["d"]["payout"] > 0
    assert {policies["f"]["token"], policies["h"]["token"]} == {"STX"}


def test_every_payout_is_the_formula_of_the_fields_beside_it(demo: dict[str, Any]) -> None:
    """Recomputed from strike, floor, amount and settlement prices alone."""
    for policy in demo["policies"]:
        token = Token.STX if policy["token"] == "STX" else Token.SBTC
        expected = 0
        if policy["state"] == "SETTLED":
            expected = payout(
                token,
                policy["protected_amount_sats"],
                policy["strike_price_usd_e8"],
                policy["floor_price_usd_e8"],
                policy["settlement_price_usd_e8"],
                policy["settlement_stx_price_usd_e8"],
                policy["max_payout"],
            )
        assert policy["payout"] == expected, policy["scenario"]


def test_the_collateral_is_the_largest_payout(demo: dict[str, Any]) -> None:
    """For sBTC, from the terms alone."""
    for policy in demo["policies"]:
        if policy["token"] == "sBTC":
            terms = (policy["protected_amount_sats"], policy["strike_price_usd_e8"], policy["floor_price_usd_e8"])
            assert policy["max_payout"] == max_payout(Token.SBTC, *terms, 0, 0), policy["scenario"]


def test_the_books_agree(demo: dict[str, Any]) -> None:
    """Vault, ledger and open policies, per token; and the reconciliation found nothing."""
    assert demo["reconciliation"]["differences"] == 0
    for name, books in demo["pool"].items():
        open_payouts = sum(
            policy["max_payout"]
            for policy in demo["policies"]
            if policy["token"] == name and policy["onchain_state"] == "ACTIVE"
        )
        assert books["chain_locked"] == books["ledger_locked"] == open_payouts > 0
        assert books["vault_balance"] >= books["vault_accounted"] == books["ledger_balance"]
    assert demo["assertions"] >= 10 * demo["burn_blocks"] > 0


def test_every_user_transaction_is_named(demo: dict[str, Any]) -> None:
    """Each policy on chain names the transaction that created it, each ended one also the one that ended it."""
    for policy in demo["policies"]:
        expected = {"SETTLED": 2, "EXPIRED": 2, "ACTIVE": 1, "FAILED_CREATION": 0}[policy["state"]]
        assert len(policy["txids"]) == expected, policy["scenario"]
