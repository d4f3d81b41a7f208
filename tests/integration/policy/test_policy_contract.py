"""Quotes against the real contracts: what the service quotes, `create-policy-entry` accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kernel.errors import InvalidArgument
from kernel.pricing import PastVolatility
from kernel.units import BPS, SATS_PER_BTC, Tier, Token
from services.policy.domain.parameters import Parameters
from services.policy.domain.quote import Market, Quote, make_quote
from services.policy.domain.tiers import Terms, nearest_passing
from tests.contracts.chain import BTC, PARAMETER, REGISTRY, SBTC, STX, STX_FEED, USD, Chain
from tests.contracts.vm import VM
from tests.integration.policy.stand_ins import PARAMETERS

SPOT, STX_PRICE = 50_000 * USD, 1 * USD
# Terms far outside every tier on each side, so that each tier is quoted at its own corners.
LOW = Terms(SATS_PER_BTC // 100, 1, 1, Token.STX, 1, True)
HIGH = replace(LOW, strike_price_usd_e8=10**15, floor_price_usd_e8=10**15, duration_blocks=10**6)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """The contracts with prices and a pool."""
    with VM() as vm:
        chain = Chain(vm).start()
        chain.publish(BTC, SPOT)
        chain.publish(STX_FEED, STX_PRICE)
        chain.deposit(STX, 10**14).expect()
        chain.deposit(SBTC, 10**10).expect()
        yield chain


def on_chain(chain: Chain) -> Parameters:
    """The parameters as the contract has them."""
    return Parameters({name: chain.read(PARAMETER, "get-parameter", name) for name in PARAMETERS})


def market(btc: int, published_btc: int, stx: int = STX_PRICE) -> Market:
    """A spot beside the published price."""
    past = PastVolatility(0.6, 0.6, 0.6, 0.6)
    return Market(btc, stx, 1, 1, past, published_btc, STX_PRICE)


def corners(parameters: Parameters, spot: int, token: Token) -> list[Terms]:
    """For each tier the terms at its lower and its upper corner, as refusals name them."""
    found = []
    for bounds in parameters.tiers():
        for wish in (LOW, HIGH):
            terms = nearest_passing(bounds, replace(wish, token=token), spot, parameters.price_move_bps)
            assert terms is not None
            found.append(terms)
    return found


def pay(chain: Chain, quote: Quote) -> int:
    """Pays a quote on chain; the max payout that the contract computed."""
    terms, height = quote.terms, chain.height
    number = chain.create(
        int(terms.token),
        **{
            "tier": int(quote.admission.bounds.tier),
            "amount-sats": terms.protected_amount_sats,
            "strike-price-e8": terms.strike_price_usd_e8,
            "floor-price-e8": terms.floor_price_usd_e8,
            "btc-price-e8": quote.market.btc_price_usd_e8,
            "stx-price-e8": quote.market.stx_price_usd_e8 if terms.token is Token.STX else 0,
            "premium": quote.premium,
            "fee": quote.fee,
            "expiration-burn-height": height + terms.duration_blocks,
        },
    )
    return int(chain.read(REGISTRY, "get-policy", number)["max-payout"])


def test_the_stand_ins_parameters_are_the_contracts(chain: Chain) -> None:
    """What the other tests quote with are the contract's own defaults."""
    assert on_chain(chain).values == PARAMETERS


@pytest.mark.parametrize("token", list(Token))
@pytest.mark.parametrize("spot_bps", [9_950, 10_000, 10_050])
def test_quotes_at_every_corner_are_accepted(chain: Chain, token: Token, spot_bps: int) -> None:
    """Each tier's corners, with the spot as far from the published price as the publisher lets it be."""
    parameters, spot = on_chain(chain), SPOT * spot_bps // BPS
    tiers = set()
    for terms in corners(parameters, spot, token):
        quote = make_quote(terms, market(spot, SPOT), parameters)
        assert pay(chain, quote) == quote.max_payout_base_units
        tiers.add(quote.admission.bounds.tier)
    assert tiers == set(Tier)


def test_a_deep_put_costs_what_the_contract_asks_for(chain: Chain) -> None:
    """With a published price far below the spot the contract's minimum decides, and is accepted to the unit."""
    parameters = on_chain(chain)
    terms = replace(LOW, strike_price_usd_e8=55_000 * USD, floor_price_usd_e8=45_000 * USD, duration_blocks=18)
    quote = make_quote(terms, market(51_500 * USD, SPOT), parameters)
    assert quote.breakdown.minimum_applies
    assert pay(chain, quote) == quote.max_payout_base_units
    with pytest.raises(InvalidArgument):
        make_quote(replace(terms, strike_price_usd_e8=57_000 * USD), market(51_500 * USD, SPOT), parameters)
