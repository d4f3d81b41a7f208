"""settle-policy: who, on which receipt, against which published round; and request-activation."""

from __future__ import annotations

import pytest

from tests.contracts.chain import (
    BTC,
    CHAIN_ID,
    PARAMETER,
    REGISTRY,
    SBTC,
    SETTLED,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Chain,
    Principal,
    Signed,
    printed,
    refused,
)

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])


@pytest.fixture
def fallen(market: Chain) -> Chain:
    """Policy 1 in STX and policy 2 in sBTC, then BTC at 40,000 published ten blocks later."""
    market.create(STX)
    market.create(SBTC)
    market.vm.mine_burn(9)
    market.publish_both(40_000 * USD, USD)
    return market


def receipt(chain: Chain, number: int, btc_e8: int = 40_000 * USD, stx_e8: int = USD, **changes: int) -> Signed:
    """A receipt for a policy by its on-chain id."""
    return chain.receipt(chain.policy(number)["policy-id"], btc_e8, stx_e8, **changes)


def test_only_backend_and_holder_settle(fallen: Chain) -> None:
    """Nobody else settles, admin and oracle included, even with a good receipt; nor does a removed backend."""
    good = receipt(fallen, 2)
    for actor in (fallen.stranger, fallen.admin, fallen.oracle, fallen.provider):
        assert refused(fallen.settle(actor, 2, good)) == 3015
    fallen.ok(fallen.admin, PARAMETER, "remove-backend-principal", Principal(fallen.backend.address))
    assert refused(fallen.settle(fallen.backend, 2, good)) == 3015
    fallen.settle(fallen.holder, 2, good).expect()


def test_a_policy_is_settled_once(fallen: Chain) -> None:
    """A second settlement is refused, on the same receipt or another; an unknown id too."""
    fallen.settle(fallen.backend, 2, receipt(fallen, 2)).expect()
    assert refused(fallen.settle(fallen.backend, 2, receipt(fallen, 2))) == 3014
    assert refused(fallen.settle(fallen.holder, 2, receipt(fallen, 2, activation=2))) == 3014
    assert refused(fallen.settle(fallen.backend, 3, receipt(fallen, 2))) == 3013


@TOKENS
def test_bad_receipts_are_refused(fallen: Chain, token: int) -> None:
    """Another policy's receipt, activation zero, zero prices and heights outside the policy's life are refused."""
    entry = fallen.policy(token)
    other = receipt(fallen, 3 - token)
    assert refused(fallen.settle(fallen.holder, token, other)) == 3016
    assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, activation=0))) == 3017
    early, late = entry["created-burn-height"] - 1, entry["expiration-burn-height"] + 1
    for height in (early, late):
        assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, **{"burn-height": height}))) == 3018
    future = {"burn-height": fallen.height + 1}
    assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, **future))) == 3019
    assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, 0))) == 3020
    assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, 40_000 * USD, 0))) == 3020


def test_only_the_oracles_signature_for_this_purpose_counts(fallen: Chain) -> None:
    """A receipt by another key, for another kind, contract or chain, or changed afterwards, is refused."""
    good = receipt(fallen, 2)
    kind = "bithedge-activation-receipt"
    forged = [fallen.sign(one, kind, REGISTRY, good.message) for one in (fallen.backend, fallen.holder, fallen.admin)]
    forged += [
        fallen.sign(fallen.oracle, "bithedge-expiry-receipt", REGISTRY, good.message),
        fallen.sign(fallen.oracle, kind, VAULT, good.message),
        fallen.sign(fallen.oracle, kind, REGISTRY, good.message, CHAIN_ID + 1),
    ]
    for key in ("btc-price-e8", "stx-price-e8", "activation", "observed-at"):
        forged.append(Signed(good.message | {key: good.message[key] + 1}, good.signature))
    for one in forged:
        assert refused(fallen.settle(fallen.backend, 2, one)) == 3021
    fallen.ok(fallen.admin, PARAMETER, "remove-oracle-key", fallen.oracle.public_key)
    assert refused(fallen.settle(fallen.backend, 2, good)) == 3021


@TOKENS
def test_a_published_round_must_agree(fallen: Chain, token: int) -> None:
    """The oracle's key alone sets no price: a round near in height and within 3% must have been published."""
    btc, stx = fallen.rounds[BTC], fallen.rounds[STX_FEED]
    good = receipt(fallen, token)
    assert refused(fallen.settle(fallen.holder, token, good, btc + 1, stx)) == 2011
    assert refused(fallen.settle(fallen.holder, token, good, 1, stx)) == 2012
    for price in (38_800 * USD - 1, 41_200 * USD + 1):
        assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token, price), btc, stx)) == 2013
    if token == STX:
        assert refused(fallen.settle(fallen.holder, token, good, btc, stx + 1)) == 2011
        assert refused(fallen.settle(fallen.holder, token, good, btc, 1)) == 2012
        for price in (USD * 97 // 100 - 1, USD * 103 // 100 + 1):
            off = receipt(fallen, token, 40_000 * USD, price)
            assert refused(fallen.settle(fallen.holder, token, off, btc, stx)) == 2013
    fallen.vm.mine_burn(3)
    assert refused(fallen.settle(fallen.holder, token, receipt(fallen, token), btc, stx)) == 2012
    last = receipt(fallen, token, 38_800 * USD, USD * 97 // 100, **{"burn-height": fallen.height - 1})
    fallen.settle(fallen.holder, token, last, btc, stx if token == STX else 0).expect()


@TOKENS
def test_out_of_the_money_is_refused(market: Chain, token: int) -> None:
    """A receipt at or above the strike settles nothing; one unit of price below may."""
    number = market.create(token)
    market.publish_both(48_000 * USD, USD)
    for price in (48_000 * USD, 48_001 * USD):
        assert refused(market.settle(market.backend, number, receipt(market, number, price))) == 3022
    market.settle(market.backend, number, receipt(market, number, 47_999 * USD)).expect()


@TOKENS
def test_the_payout_stops_at_the_floor(fallen: Chain, token: int) -> None:
    """At and below the floor an sBTC policy pays max-payout, whatever the price; an STX policy at most that."""
    fallen.vm.mine_burn(1)
    fallen.publish_both(30_000 * USD, USD * 60 // 100)
    entry = fallen.policy(token)
    fallen.settle(fallen.holder, token, receipt(fallen, token, 30_000 * USD, USD * 60 // 100)).expect()
    assert fallen.policy(token)["payout"] == entry["max-payout"]
    assert fallen.pool(token)["locked"] == 0


def test_an_activation_in_time_is_settled_late(fallen: Chain) -> None:
    """The receipt's height decides: after the expiration it still settles while the policy is active."""
    entry = fallen.policy(2)
    good = receipt(fallen, 2)
    rounds = (fallen.rounds[BTC], fallen.rounds[STX_FEED])
    fallen.vm.mine_burn(entry["expiration-burn-height"] + 20 - fallen.height)
    fallen.settle(fallen.holder, 2, good, *rounds).expect()
    assert fallen.policy(2)["status"] == SETTLED


def test_a_receipt_at_the_last_height_settles(fallen: Chain) -> None:
    """The expiration height itself is still in time."""
    entry = fallen.policy(2)
    fallen.vm.mine_burn(entry["expiration-burn-height"] - fallen.height - 1)
    fallen.publish_both(40_000 * USD, USD)
    assert fallen.height == entry["expiration-burn-height"]
    fallen.settle(fallen.holder, 2, receipt(fallen, 2)).expect()


def test_a_settlement_pause_only_delays(fallen: Chain) -> None:
    """While settlement is paused nothing settles; when it has lapsed the same receipt does."""
    good = receipt(fallen, 2)
    rounds = (fallen.rounds[BTC], fallen.rounds[STX_FEED])
    fallen.ok(fallen.admin, PARAMETER, "pause", "settlement")
    assert refused(fallen.settle(fallen.backend, 2, good, *rounds)) == 3001
    assert refused(fallen.settle(fallen.holder, 2, good, *rounds)) == 3001
    fallen.vm.mine_burn(144)
    fallen.settle(fallen.holder, 2, good, *rounds).expect()


def test_other_pauses_do_not_stop_settlement(fallen: Chain) -> None:
    """A holder is paid while creation, deposits and withdrawals are paused."""
    for kind in ("creation", "deposits", "withdrawals"):
        fallen.ok(fallen.admin, PARAMETER, "pause", kind)
    fallen.settle(fallen.holder, 1, receipt(fallen, 1)).expect()


def test_a_holder_requests_activation_on_chain(fallen: Chain) -> None:
    """Only the holder, while active and not after expiration; each request is numbered and told with its height."""
    entry = fallen.policy(2)
    for expected in (1, 2):
        result = fallen.call(fallen.holder, REGISTRY, "request-activation", 2)
        assert printed(result, "activation-requested") == [
            {
                "id": 2,
                "policy-id": entry["policy-id"],
                "holder": fallen.holder.address,
                "request": expected,
                "burn-height": fallen.height,
            }
        ]
    assert fallen.error(fallen.backend, REGISTRY, "request-activation", 2) == 3015
    assert fallen.error(fallen.holder, REGISTRY, "request-activation", 3) == 3013
    fallen.settle(fallen.holder, 2, receipt(fallen, 2)).expect()
    assert fallen.error(fallen.holder, REGISTRY, "request-activation", 2) == 3014
    fallen.vm.mine_burn(fallen.policy(1)["expiration-burn-height"] - fallen.height)
    fallen.ok(fallen.holder, REGISTRY, "request-activation", 1)
    fallen.vm.mine_burn(1)
    assert fallen.error(fallen.holder, REGISTRY, "request-activation", 1) == 3010
