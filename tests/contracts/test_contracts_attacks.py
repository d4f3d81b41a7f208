"""Thieves of one key, and people with none, against the prices: what they try, and that it gains them nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.contracts.chain import (
    BTC,
    ORACLE,
    PARAMETER,
    REGISTRY,
    SBTC,
    STX,
    STX_FEED,
    USD,
    Actor,
    Chain,
    Principal,
    Signed,
    plain,
    printed,
    refused,
)
from tests.contracts.vm import CallResult

HUGE = (1 << 128) - 1


def relay(chain: Chain, sender: Actor, signed: Signed) -> CallResult:
    """Publishes a round as somebody."""
    return chain.call(sender, ORACLE, "publish-price", signed.message, signed.signature)


def test_rounds_of_many_heights_in_one_block_do_not_add_up(chain: Chain) -> None:
    """After a gap, rounds of one height each, published at once, get no further than a single one: 10% + 2% x 20."""
    chain.publish(BTC, 1_000_000)
    start = chain.height
    chain.vm.mine_burn(20)
    price = 1_000_000
    for height in range(start + 1, start + 21):
        lower = price * 89 // 100
        one = chain.round(BTC, lower, **{"burn-height": height})
        if relay(chain, chain.backend, one).ok:
            price = lower
    assert price >= 500_000
    assert refused(relay(chain, chain.backend, chain.round(BTC, 499_999))) == 2007
    chain.publish(BTC, 500_000)
    assert refused(relay(chain, chain.backend, chain.round(BTC, 499_999))) == 2007


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_published_in_one_block_stays_near_the_last_one(chain: Chain, seed: int) -> None:
    """Both keys, rounds of any heights and prices: no latest price leaves the bound around the block before."""
    chance = Random(seed)
    chain.vm.mine_burn(20)
    chain.publish(BTC, 10**9)
    for _ in range(6):
        before = chain.read(ORACLE, "get-latest-price", BTC)
        chain.vm.mine_burn(chance.randrange(1, 12))
        for _ in range(12):
            latest = chain.read(ORACLE, "get-latest-price", BTC)
            price = latest["price-e8"] * chance.randrange(85, 116) // 100
            height = chance.randrange(latest["burn-height"], chain.height + 1)
            relay(chain, chain.backend, chain.round(BTC, price, **{"burn-height": height}))
            latest = chain.read(ORACLE, "get-latest-price", BTC)
            bound = 1_000 + 200 * (latest["burn-height"] - before["burn-height"])
            assert abs(latest["price-e8"] - before["price-e8"]) * 10_000 <= before["price-e8"] * bound


def test_the_oracles_key_rewrites_no_past_in_a_silence(market: Chain) -> None:
    """With the backend silent a thief of the oracle's key relays no round of a height at which it still spoke."""
    number = market.create(SBTC)
    market.vm.mine_burn(30)
    market.publish_both(50_000 * USD, USD)
    heard = market.height
    market.vm.mine_burn(60)
    entry = market.policy(number)
    for height in (entry["created-burn-height"], heard - 3, heard - 1):
        forged = market.round(BTC, 36_000 * USD, **{"burn-height": height})
        assert refused(relay(market, market.stranger, forged)) == 2001
    past = {"burn-height": entry["created-burn-height"] + 5}
    receipt = market.receipt(entry["policy-id"], 36_000 * USD, **past)
    for round_number in range(1, market.rounds[BTC] + 1):
        assert refused(market.settle(market.holder, number, receipt, round_number, 1)) in (2011, 2012, 2013)
    relay(market, market.stranger, market.round(BTC, 50_000 * USD, **{"burn-height": heard})).expect()


def test_filling_in_old_rounds_is_no_sign_of_life(chain: Chain) -> None:
    """A backend that only fills in old rounds counts as silent: it cannot keep others from relaying new ones."""
    chain.vm.mine_burn(5)
    chain.publish(BTC, 1_000, round=100)
    for number in range(1, 5):
        chain.vm.mine_burn(9)
        old = {"round": number, "burn-height": chain.height - 20, "observed-at": number}
        assert plain(relay(chain, chain.backend, chain.round(BTC, 1_000, **old)).expect()) is False
    chain.vm.mine_burn(1)
    assert plain(relay(chain, chain.stranger, chain.round(BTC, 1_000, round=101)).expect()) is True


@pytest.mark.parametrize("field", ["round", "observed-at"])
def test_an_absurd_number_does_not_end_a_feed(chain: Chain, field: str) -> None:
    """A round of the greatest number or time, signed with a stolen key, is superseded once the silence has passed."""
    relay(chain, chain.backend, chain.round(BTC, 1_000, **{field: HUGE})).expect()
    chain.vm.mine_burn(36)
    assert plain(relay(chain, chain.backend, chain.round(BTC, 1_000)).expect()) is False
    chain.vm.mine_burn(1)
    honest = chain.round(BTC, 1_000)
    assert plain(relay(chain, chain.backend, honest).expect()) is True
    assert chain.read(ORACLE, "get-latest-price", BTC) == honest.message
    assert plain(relay(chain, chain.backend, chain.round(BTC, 1_000)).expect()) is True


def test_an_absurd_price_does_not_end_a_feed(chain: Chain) -> None:
    """A price of nearly nothing is left again after 45 blocks, although no percentage of it leads back."""
    chain.publish(BTC, 50_000 * USD)
    chain.vm.mine_burn(45)
    chain.publish(BTC, 1)
    chain.vm.mine_burn(44)
    assert refused(relay(chain, chain.backend, chain.round(BTC, 50_000 * USD))) == 2007
    chain.vm.mine_burn(1)
    chain.publish(BTC, 50_000 * USD)
    assert chain.read(ORACLE, "get-fresh-price", BTC) == 50_000 * USD


def test_no_contract_in_between_borrows_authority(market: Chain) -> None:
    """Backend and holder, lured into a contract, neither publish, settle, expire, request nor withdraw through it."""
    number = market.create(SBTC)
    market.publish_both(45_000 * USD, USD)
    registry, oracle = market.vm.contract(REGISTRY), market.vm.contract(ORACLE)
    code = f"""
        (define-public (publish (m {{ feed: (string-ascii 8), round: uint, price-e8: uint, confidence-e8: uint,
            observed-at: uint, burn-height: uint }}) (s (buff 65))) (contract-call? '{oracle} publish-price m s))
        (define-public (settle (id uint) (r {{ policy-id: (buff 16), activation: uint, btc-price-e8: uint,
            stx-price-e8: uint, observed-at: uint, burn-height: uint }}) (s (buff 65)))
          (contract-call? '{registry} settle-policy id r s u{market.rounds[BTC]} u{market.rounds[STX_FEED]}))
        (define-public (expire (ids (list 200 uint)) (r {{ expiration-burn-height: uint, btc-price-e8: uint,
            stx-price-e8: uint, observed-at: uint }}) (s (buff 65)))
          (contract-call? '{registry} expire-policies ids r s))
        (define-public (request (id uint)) (contract-call? '{registry} request-activation id))"""
    market.vm.deploy(market.stranger.address, "lure", code)
    entry = market.policy(number)
    receipt = market.receipt(entry["policy-id"], 45_000 * USD)
    for actor in (market.backend, market.holder):
        assert market.error(actor, "lure", "settle", number, receipt.message, receipt.signature) == 3015
    one = market.round(BTC, 45_000 * USD)
    assert market.error(market.backend, "lure", "publish", one.message, one.signature) == 2001
    assert market.error(market.holder, "lure", "request", number) == 3015
    market.vm.mine_burn(entry["expiration-burn-height"] + 7 - market.height)
    last = market.expiry_receipt(entry["expiration-burn-height"], 45_000 * USD)
    assert market.error(market.backend, "lure", "expire", [number], last.message, last.signature) == 3015
    assert market.policy(number) == entry


def test_the_oracles_key_alone_gains_no_more_than_the_tolerance(market: Chain) -> None:
    """A holder who stole the oracle's key settles within 3% of a published round of the policy's life, or not."""
    number = market.create(SBTC)
    entry = market.policy(number)
    market.vm.mine_burn(20)
    market.publish_both(47_000 * USD, USD)
    for height in range(entry["created-burn-height"], market.height + 1):
        forged = market.receipt(entry["policy-id"], 36_000 * USD, **{"burn-height": height})
        for number_of_round in range(1, market.rounds[BTC] + 1):
            assert refused(market.settle(market.holder, number, forged, number_of_round, 1)) in (2012, 2013)
    assert market.policy(number) == entry
    lowest = market.receipt(entry["policy-id"], 47_000 * USD * 97 // 100)
    payout = 10_000_000 * (48_000 - 45_590) // 45_590
    assert plain(market.settle(market.holder, number, lowest).expect()) == payout


@pytest.mark.parametrize("token", [STX, SBTC])
def test_the_same_id_two_hundred_times_is_paid_once(market: Chain, token: int) -> None:
    """A batch that names one policy two hundred times pays it once and frees its collateral once."""
    number, other = market.create(token), market.create(token, **{"expiration-burn-height": market.height + 300})
    entry, before, purse = market.policy(number), market.pool(token), market.owned(market.holder, token)
    expiration = entry["expiration-burn-height"]
    market.vm.mine_burn(expiration + 7 - market.height)
    result = market.expire(market.backend, [number] * 200, market.expiry_receipt(expiration, 45_000 * USD))
    assert [one["error"] for one in plain(result.expect())] == [0] + [3014] * 199
    payout = market.policy(number)["payout"]
    assert market.owned(market.holder, token) == purse + payout > purse
    assert market.pool(token)["accounted"] == before["accounted"] - payout
    assert market.pool(token)["locked"] == market.policy(other)["max-payout"]


def test_a_stranger_raises_no_refusals(market: Chain) -> None:
    """Naming policies as abandoned that are not is answered, but prints nothing that services would act upon."""
    number = market.create(SBTC)
    result = market.call(market.stranger, REGISTRY, "expire-abandoned-policies", [number, 0, HUGE])
    assert [one["error"] for one in plain(result.expect())] == [3024, 3013, 3013]
    assert printed(result, "policy-refused") == []
    assert not result.events


def test_short_pauses_do_not_hold_settlement_back(chain: Chain) -> None:
    """A pause lifted in its own block counts as one block: it cannot be set anew in the next."""
    for _ in range(3):
        chain.ok(chain.admin, PARAMETER, "pause", "settlement")
        chain.ok(chain.admin, PARAMETER, "unpause", "settlement")
        for _ in range(2):
            assert chain.error(chain.admin, PARAMETER, "pause", "settlement") == 1008
            chain.vm.mine_burn(1)


def test_a_stolen_admin_key_moves_in_no_faster_than_the_delay(chain: Chain) -> None:
    """With a delay a thief of the admin's key can neither add keys nor hand over at once; the admin cancels."""
    chain.set("admin.delay-blocks", 144)
    thief = Principal(chain.stranger.address)
    assert chain.ok(chain.admin, PARAMETER, "propose-admin", thief) is False
    chain.vm.mine_burn(143)
    assert chain.ok(chain.admin, PARAMETER, "propose-admin", thief) is False
    assert chain.error(chain.stranger, PARAMETER, "accept-admin") == 1009
    assert chain.read(PARAMETER, "get-proposed-admin") is None
    chain.vm.mine_burn(1)
    assert chain.ok(chain.admin, PARAMETER, "propose-admin", thief) is True
    assert chain.ok(chain.admin, PARAMETER, "propose-admin", Principal(chain.admin.address)) is True
    assert chain.error(chain.stranger, PARAMETER, "accept-admin") == 1009
