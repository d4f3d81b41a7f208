"""Creation at its bounds, and what refuses it beside the quote's own terms."""

from __future__ import annotations

import pytest

from kernel.units import Token, max_payout, minimum_premium, payout
from tests.contracts.chain import (
    BTC,
    PARAMETER,
    REGISTRY,
    SBTC,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Actor,
    Chain,
    Principal,
    refused,
)

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])


@TOKENS
def test_terms_on_every_bound_are_accepted(market: Chain, token: int) -> None:
    """Strike, floor, duration, premium, price move and time of payment may each lie exactly on their bound."""
    height = market.height
    market.create(token, **{"strike-price-e8": 23_500 * USD, "floor-price-e8": 14_100 * USD})
    strike, floor = 51_500 * USD, 41_000 * USD
    prices = {"strike-price-e8": strike, "floor-price-e8": floor}
    most = max_payout(Token(token), 10_000_000, strike, floor, USD, 3000)
    now = payout(Token(token), 10_000_000, strike, floor, 50_000 * USD, USD, most)
    least = minimum_premium(now, most, 500, 10)
    market.create(token, **prices, premium=least)
    market.create(token, **{"strike-price-e8": 50_000 * USD, "floor-price-e8": 49_000 * USD})
    market.create(token, **{"btc-price-e8": 51_546 * USD})
    market.create(token, **{"expiration-burn-height": height + 18})
    market.create(token, **{"expiration-burn-height": height + 4320})
    quote = market.quote(token)
    market.vm.mine_burn(6)
    market.pay_quote(market.holder, quote).expect()
    assert market.read(REGISTRY, "get-policy-counter") == 7


@TOKENS
def test_the_fee_may_be_zero(market: Chain, token: int) -> None:
    """A quote without a platform fee can be paid."""
    market.create(token, fee=0)
    assert market.pool(token)["fees"] == 0


@TOKENS
def test_a_policy_id_is_used_once(market: Chain, token: int) -> None:
    """A paid quote cannot be paid again, nor can another quote under its policy id."""
    quote = market.quote(token)
    market.pay_quote(market.holder, quote).expect()
    assert refused(market.pay_quote(market.holder, quote)) == 3005
    again = market.quote(token, **{"policy-id": quote.message["policy-id"], "premium": 10**9})
    assert refused(market.pay_quote(market.holder, again)) == 3005


def test_prices_must_be_published_and_fresh(chain: Chain) -> None:
    """Without a BTC price, or for STX an STX price, of the last 6 burn blocks nothing is sold."""
    chain.deposit(STX, 10**11).expect()
    chain.deposit(SBTC, 10**8).expect()
    assert refused(chain.pay_quote(chain.holder, chain.quote(SBTC))) == 2008
    chain.publish(BTC, 50_000 * USD)
    assert refused(chain.pay_quote(chain.holder, chain.quote(STX))) == 2008
    chain.create(SBTC)
    chain.vm.mine_burn(3)
    chain.publish(STX_FEED, USD)
    chain.vm.mine_burn(3)
    chain.create(SBTC)
    chain.vm.mine_burn(1)
    assert refused(chain.pay_quote(chain.holder, chain.quote(SBTC))) == 2009
    chain.publish(BTC, 50_000 * USD)
    chain.vm.mine_burn(3)
    assert refused(chain.pay_quote(chain.holder, chain.quote(STX))) == 2009


def test_a_pause_stops_creation_alone(market: Chain) -> None:
    """While creation is paused nothing is sold; deposits go on; then it is sold again."""
    market.ok(market.admin, PARAMETER, "pause", "creation")
    assert refused(market.pay_quote(market.holder, market.quote(SBTC))) == 3001
    market.deposit(SBTC, 1).expect()
    market.ok(market.admin, PARAMETER, "unpause", "creation")
    market.create(SBTC)


def test_a_removed_backend_key_signs_no_more_quotes(market: Chain) -> None:
    """Removing a backend principal voids the quotes it signed before."""
    quote = market.quote(SBTC)
    market.ok(market.admin, PARAMETER, "remove-backend-principal", Principal(market.backend.address))
    assert refused(market.pay_quote(market.holder, quote)) == 3009


@TOKENS
def test_collateral_must_be_free(chain: Chain, token: int) -> None:
    """What is locked never exceeds what is accounted less fees, to the base unit; the premium counts, not the fee."""
    chain.publish(BTC, 50_000 * USD)
    chain.publish(STX_FEED, USD)
    quote = chain.quote(token)
    collateral = max_payout(Token(token), 10_000_000, 48_000 * USD, 36_000 * USD, USD, 3000)
    chain.deposit(token, collateral - quote.message["premium"] - 1).expect()
    assert refused(chain.pay_quote(chain.holder, quote)) == 4009
    chain.deposit(token, 1).expect()
    chain.pay_quote(chain.holder, quote).expect()
    pool = chain.pool(token)
    assert pool["locked"] == collateral == pool["accounted"] - pool["fees"]


@TOKENS
def test_issuance_is_capped_per_policy_and_per_day(market: Chain, token: int) -> None:
    """New collateral is capped per policy, and per token and day of 144 burn blocks."""
    name = "stx" if token == STX else "sbtc"
    collateral = market.policy(market.create(token))["max-payout"]
    market.set(f"issuance.max-per-policy-{name}", collateral - 1)
    assert refused(market.pay_quote(market.holder, market.quote(token))) == 4019
    market.set(f"issuance.max-per-policy-{name}", collateral)
    market.set(f"issuance.max-per-day-{name}", 3 * collateral - 1)
    market.create(token)
    assert refused(market.pay_quote(market.holder, market.quote(token))) == 4020
    assert market.read(VAULT, "get-issued", token, market.height // 144) == 2 * collateral
    market.vm.mine_burn(144 - market.height % 144)
    market.publish(BTC, 50_000 * USD)
    market.publish(STX_FEED, USD)
    market.create(token)
    assert market.read(VAULT, "get-issued", token, market.height // 144) == collateral


@TOKENS
def test_a_holder_who_cannot_pay_gets_nothing(market: Chain, token: int) -> None:
    """Premium and fee must be affordable together; one base unit short leaves no policy."""
    poor = Actor("poor")
    quote = market.quote(token, holder=Principal(poor.address))
    price = quote.message["premium"] + quote.message["fee"]
    (market.vm.mint_stx if token == STX else market.vm.mint_sbtc)(poor.address, price - 1)
    assert refused(market.pay_quote(poor, quote)) == 4007
    assert market.read(REGISTRY, "get-policy-by-policy-id", quote.message["policy-id"]) is None
    (market.vm.mint_stx if token == STX else market.vm.mint_sbtc)(poor.address, 1)
    market.pay_quote(poor, quote).expect()
    assert market.owned(poor, token) == 0


def test_a_policy_must_end_after_its_creation(market: Chain) -> None:
    """A quote that is paid at its expiration height buys nothing."""
    market.set("balanced.duration-min-blocks", 1)
    quote = market.quote(SBTC, **{"expiration-burn-height": market.height + 1})
    late = market.quote(SBTC, **{"expiration-burn-height": market.height + 1})
    market.pay_quote(market.holder, quote).expect()
    market.vm.mine_burn(1)
    assert refused(market.pay_quote(market.holder, late)) == 3010
