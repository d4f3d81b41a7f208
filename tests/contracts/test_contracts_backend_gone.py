"""Without the backend: what a holder can do alone, what waits for another one, and what is lost without an oracle."""

from __future__ import annotations

import pytest

from tests.contracts.chain import (
    BTC,
    EXPIRED,
    ORACLE,
    PARAMETER,
    REGISTRY,
    SBTC,
    SETTLED,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Actor,
    Chain,
    Principal,
    plain,
    printed,
    refused,
)
from tests.contracts.vouchers import voucher, withdraw

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])
SILENCE = 36
FALLEN = 45_000 * USD


def relay(chain: Chain, price: int) -> None:
    """A stranger publishes what the oracle signed."""
    for feed, one in ((BTC, price), (STX_FEED, USD)):
        signed = chain.round(feed, one)
        chain.ok(chain.stranger, ORACLE, "publish-price", signed.message, signed.signature)


def requested(chain: Chain, number: int) -> int:
    """The holder asks on chain; the burn height that the oracle reads from it."""
    result = chain.call(chain.holder, REGISTRY, "request-activation", number)
    return int(printed(result, "activation-requested")[0]["burn-height"])


@TOKENS
def test_a_holder_settles_without_the_backend(market: Chain, token: int) -> None:
    """After the silence: prices by a stranger, a request and the settlement by the holder; no backend in any of it."""
    number = market.create(token)
    market.vm.mine_burn(SILENCE)
    early = market.round(BTC, FALLEN)
    assert market.error(market.stranger, ORACLE, "publish-price", early.message, early.signature) == 2001
    market.vm.mine_burn(1)
    relay(market, FALLEN)
    receipt = market.receipt(market.policy(number)["policy-id"], FALLEN, **{"burn-height": requested(market, number)})
    before = market.owned(market.holder, token)
    paid = plain(market.settle(market.holder, number, receipt).expect())
    assert market.owned(market.holder, token) == before + paid > before
    assert market.policy(number)["status"] == SETTLED


def test_a_holder_settles_after_a_pause_that_nobody_lifted(market: Chain) -> None:
    """The backend silent, settlement paused and the admin gone: the request is made in the pause and paid after it."""
    number = market.create(SBTC)
    market.ok(market.admin, PARAMETER, "pause", "settlement")
    market.vm.mine_burn(SILENCE + 1)
    relay(market, FALLEN)
    receipt = market.receipt(market.policy(number)["policy-id"], FALLEN, **{"burn-height": requested(market, number)})
    rounds = (market.rounds[BTC], market.rounds[STX_FEED])
    assert refused(market.settle(market.holder, number, receipt, *rounds)) == 3001
    market.vm.mine_burn(144 - SILENCE - 1)
    market.settle(market.holder, number, receipt, *rounds).expect()


@TOKENS
def test_a_late_receipt_of_a_request_in_time_is_honoured(market: Chain, token: int) -> None:
    """Asked in the last block of the policy, signed and settled a day later, at the price of then."""
    number = market.create(token)
    market.vm.mine_burn(144)
    relay(market, FALLEN)
    at = requested(market, number)
    assert at == market.policy(number)["expiration-burn-height"]
    rounds = (market.rounds[BTC], market.rounds[STX_FEED])
    market.vm.mine_burn(144)
    assert market.error(market.holder, REGISTRY, "request-activation", number) == 3010
    receipt = market.receipt(market.policy(number)["policy-id"], FALLEN, **{"burn-height": at})
    market.settle(market.holder, number, receipt, *rounds).expect()


def test_a_new_backend_takes_over(market: Chain) -> None:
    """The admin removes the lost backend at once and adds another after the delay; deposits, till then stuck, leave."""
    market.set("admin.delay-blocks", 144)
    stuck = voucher(market, STX, 1_000)
    market.ok(market.admin, PARAMETER, "remove-backend-principal", Principal(market.backend.address))
    assert refused(withdraw(market, stuck)) == 4016
    successor = Actor("successor")
    adding = ("add-backend-principal", Principal(successor.address))
    assert market.ok(market.admin, PARAMETER, *adding) is False
    market.vm.mine_burn(144)
    assert market.ok(market.admin, PARAMETER, *adding) is True
    terms = stuck.message | {"expiry-burn-height": market.height}
    withdraw(market, market.sign(successor, "bithedge-voucher", VAULT, terms)).expect()


@TOKENS
def test_without_a_backend_nothing_is_paid_at_expiration(market: Chain, token: int) -> None:
    """In the money at the end, with the oracle's receipt in hand: neither holder nor stranger can present it."""
    number = market.create(token)
    expiration = market.policy(number)["expiration-burn-height"]
    market.vm.mine_burn(144 + 7)
    receipt = market.expiry_receipt(expiration, FALLEN)
    for actor in (market.holder, market.stranger):
        assert refused(market.expire(actor, [number], receipt)) == 3015
    market.vm.mine_burn(1008)
    result = market.call(market.stranger, REGISTRY, "expire-abandoned-policies", [number])
    assert plain(result.expect())[0]["status"] == EXPIRED
    assert market.policy(number)["payout"] == 0


def test_a_sparing_backend_can_be_used_against_itself(market: Chain) -> None:
    """A price every 35 blocks keeps relays out, but a request within two blocks of it finds the round it needs."""
    number = market.create(SBTC)
    market.vm.mine_burn(SILENCE - 1)
    market.publish(BTC, FALLEN)
    round_number = market.rounds[BTC]
    other = market.round(BTC, FALLEN)
    assert market.error(market.stranger, ORACLE, "publish-price", other.message, other.signature) == 2001
    market.vm.mine_burn(2)
    receipt = market.receipt(market.policy(number)["policy-id"], FALLEN, **{"burn-height": requested(market, number)})
    market.settle(market.holder, number, receipt, round_number, 0).expect()


@TOKENS
def test_without_an_oracle_the_collateral_goes_back_to_the_pool(market: Chain, token: int) -> None:
    """No receipt, no payment: a week after the end anybody frees the collateral, and it is free capital again."""
    number = market.create(token)
    before = market.pool(token)
    market.ok(market.admin, PARAMETER, "remove-oracle-key", market.oracle.public_key)
    receipt = market.receipt(market.policy(number)["policy-id"], FALLEN)
    assert refused(market.settle(market.holder, number, receipt)) == 3021
    market.vm.mine_burn(144 + 1009)
    market.call(market.stranger, REGISTRY, "expire-abandoned-policies", [number]).expect()
    assert market.pool(token) == before | {"locked": 0}
