"""From deposit to the end of a policy, in both tokens, with every event on the way."""

from __future__ import annotations

import pytest

from kernel.units import Token, max_payout, payout
from tests.contracts.chain import ACTIVE, EXPIRED, REGISTRY, SBTC, SETTLED, STX, USD, Chain, plain, printed

FRESH = {
    "grace-blocks": 6,
    "settlement-pause-counter": 0,
    "status": ACTIVE,
    "payout": 0,
    "settlement-btc-price-e8": 0,
    "settlement-stx-price-e8": 0,
    "settlement-burn-height": 0,
}
"""What an entry says at creation besides its terms."""
TOKENS = pytest.mark.parametrize("token", [STX, SBTC])


@TOKENS
def test_creation_takes_premium_and_fee_and_locks_the_collateral(market: Chain, token: int) -> None:
    """A paid quote moves premium + fee to the vault, locks max-payout and stores the whole entry."""
    before, purse = market.pool(token), market.owned(market.holder, token)
    signed = market.quote(token)
    result = market.pay_quote(market.holder, signed)
    assert plain(result.expect()) == 1
    terms = signed.message | {"holder": market.holder.address}
    collateral = max_payout(
        Token(token), terms["amount-sats"], terms["strike-price-e8"], terms["floor-price-e8"], 1 * USD, 3000
    )
    paid = terms["premium"] + terms["fee"]
    entry = terms | {"max-payout": collateral, "created-burn-height": market.height} | FRESH
    assert printed(result, "policy-created") == [entry | {"id": 1}]
    assert printed(result, "collateral-locked") == [
        {
            "token": token,
            "premium": terms["premium"],
            "fee": terms["fee"],
            "collateral": collateral,
            "accounted": before["accounted"] + paid,
            "locked": collateral,
        }
    ]
    assert market.policy(1) == entry
    assert market.read(REGISTRY, "get-policy-by-policy-id", terms["policy-id"]) == entry
    assert market.read(REGISTRY, "get-policies", [1, 2]) == [entry, None]
    assert market.read(REGISTRY, "get-policy-counter") == 1
    assert market.owned(market.holder, token) == purse - paid
    assert market.pool(token) == {
        "accounted": before["accounted"] + paid,
        "balance": before["balance"] + paid,
        "fees": terms["fee"],
        "locked": collateral,
    }


@TOKENS
@pytest.mark.parametrize("by_holder", [True, False])
def test_settlement_pays_and_releases_at_once(market: Chain, token: int, by_holder: bool) -> None:
    """Settling pays exactly the payout, frees all collateral, and says so in both contracts' events."""
    number = market.create(token)
    entry, before, purse = market.policy(number), market.pool(token), market.owned(market.holder, token)
    market.vm.mine_burn(10)
    market.publish_both(40_000 * USD, 1 * USD)
    signed = market.receipt(entry["policy-id"], 40_100 * USD, USD + 1)
    sender = market.holder if by_holder else market.backend
    result = market.settle(sender, number, signed)
    expected = payout(
        Token(token), entry["amount-sats"], entry["strike-price-e8"], entry["floor-price-e8"],
        40_100 * USD, USD + 1, entry["max-payout"],
    )  # fmt: skip
    assert plain(result.expect()) == expected > 0
    told = {key: entry[key] for key in ("policy-id", "holder", "token", "max-payout")}
    paid = {"id": number, "payout": expected, "released": entry["max-payout"] - expected}
    prices = {"btc-price-e8": 40_100 * USD, "stx-price-e8": USD + 1}
    receipt = {"receipt-burn-height": market.height, "observed-at": 1_600_000_000, "activation": 1}
    assert printed(result, "policy-settled") == [told | paid | prices | receipt]
    assert printed(result, "payout") == [
        {
            "holder": market.holder.address,
            "token": token,
            "payout": expected,
            "collateral": entry["max-payout"],
            "accounted": before["accounted"] - expected,
            "locked": 0,
        }
    ]
    assert market.policy(number) == entry | {
        "status": SETTLED,
        "payout": expected,
        "settlement-btc-price-e8": 40_100 * USD,
        "settlement-stx-price-e8": USD + 1,
        "settlement-burn-height": market.height,
    }
    assert market.owned(market.holder, token) == purse + expected
    assert market.pool(token)["locked"] == 0
    assert market.pool(token)["balance"] == market.pool(token)["accounted"] == before["accounted"] - expected


@TOKENS
def test_expiry_out_of_the_money_releases_the_collateral(market: Chain, token: int) -> None:
    """A policy out of the money at its expiration expires, pays nothing and frees its collateral."""
    number = market.create(token)
    entry, before = market.policy(number), market.pool(token)
    market.vm.mine_burn(144 + 7)
    signed = market.expiry_receipt(entry["expiration-burn-height"], 50_000 * USD)
    result = market.expire(market.backend, [number], signed)
    assert plain(result.expect()) == [{"id": number, "status": EXPIRED, "error": 0}]
    assert printed(result, "policy-expired") == [
        {
            "id": number,
            "policy-id": entry["policy-id"],
            "holder": market.holder.address,
            "token": token,
            "max-payout": entry["max-payout"],
            "btc-price-e8": 50_000 * USD,
        }
    ]
    assert printed(result, "collateral-released") == [
        {"token": token, "collateral": entry["max-payout"], "accounted": before["accounted"], "locked": 0}
    ]
    assert market.policy(number)["status"] == EXPIRED
    assert market.pool(token) == before | {"locked": 0}
