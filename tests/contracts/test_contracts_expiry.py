"""expire-policies: each id on its own, in the money or not, when due, opted out, refused; 200 at once."""

from __future__ import annotations

import pytest

from tests.contracts.chain import (
    ACTIVE,
    CHAIN_ID,
    EXPIRED,
    PARAMETER,
    REGISTRY,
    SBTC,
    SETTLED,
    STX,
    USD,
    VAULT,
    Chain,
    Principal,
    plain,
    printed,
    refused,
)

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])


def to_due(chain: Chain, number: int) -> int:
    """Mines to the first height at which the policy is due; answers its expiration height."""
    entry = chain.policy(number)
    expiration = int(entry["expiration-burn-height"])
    chain.vm.mine_burn(expiration + entry["grace-blocks"] + 1 - chain.height)
    return expiration


def test_a_mixed_batch_gives_each_id_its_own_end(market: Chain) -> None:
    """In the money, opted out, out of the money, other height, settled before, unknown, repeated: one call, no harm."""
    in_stx = market.create(STX)
    in_sbtc = market.create(SBTC)
    opted_out = market.create(SBTC, **{"auto-settle": False})
    out_stx = market.create(STX, **{"strike-price-e8": 40_000 * USD, "floor-price-e8": 30_000 * USD})
    later = market.create(SBTC, **{"expiration-burn-height": market.height + 145})
    settled = market.create(SBTC)
    market.publish_both(40_000 * USD, USD)
    market.settle(market.holder, settled, market.receipt(market.policy(settled)["policy-id"], 40_000 * USD)).expect()
    before = {token: market.pool(token) for token in (STX, SBTC)}
    purse = {token: market.owned(market.holder, token) for token in (STX, SBTC)}
    expiration = to_due(market, in_stx)
    ids = [in_stx, 99, in_sbtc, opted_out, out_stx, later, settled, in_stx, 0]
    result = market.expire(market.backend, ids, market.expiry_receipt(expiration, 45_000 * USD, USD))
    ends = [SETTLED, ACTIVE, SETTLED, EXPIRED, EXPIRED, ACTIVE, ACTIVE, ACTIVE, ACTIVE]
    errors = [0, 3013, 0, 0, 0, 3023, 3014, 3014, 3013]
    results = [(one["id"], one["status"], one["error"]) for one in plain(result.expect())]
    assert results == list(zip(ids, ends, errors, strict=True))
    assert [one["id"] for one in printed(result, "policy-settled")] == [in_stx, in_sbtc]
    assert [one["activation"] for one in printed(result, "policy-settled")] == [0, 0]
    assert [one["receipt-burn-height"] for one in printed(result, "policy-settled")] == [expiration] * 2
    assert [one["id"] for one in printed(result, "policy-expired")] == [opted_out, out_stx]
    refusals = [{"id": one, "error": error} for one, error in zip(ids, errors, strict=True) if error]
    assert printed(result, "policy-refused") == refusals
    entries = {one: market.policy(one) for one in (in_stx, in_sbtc, opted_out, out_stx, later)}
    released = printed(result, "collateral-released")
    assert [(one["token"], one["collateral"]) for one in released] == [
        (STX, entries[out_stx]["max-payout"]),
        (SBTC, entries[opted_out]["max-payout"]),
    ]
    for token, paid in ((STX, in_stx), (SBTC, in_sbtc)):
        payout = entries[paid]["payout"]
        assert payout > 0
        assert market.owned(market.holder, token) == purse[token] + payout
        assert market.pool(token)["accounted"] == before[token]["accounted"] - payout
    assert market.pool(STX)["locked"] == 0
    assert market.pool(SBTC)["locked"] == entries[later]["max-payout"]
    assert entries[opted_out]["payout"] == 0
    assert entries[later]["status"] == ACTIVE


@TOKENS
def test_grace_is_that_of_the_creation(market: Chain, token: int) -> None:
    """A later change of the grace parameter touches only new policies; the last block of grace is refused."""
    number = market.create(token)
    market.set("expiry.grace-blocks", 1)
    entry = market.policy(number)
    market.vm.mine_burn(entry["expiration-burn-height"] + 6 - market.height)
    receipt = market.expiry_receipt(entry["expiration-burn-height"], 50_000 * USD)
    assert plain(market.expire(market.backend, [number], receipt).expect())[0]["error"] == 3024
    assert market.policy(number) == entry
    market.vm.mine_burn(1)
    assert plain(market.expire(market.backend, [number], receipt).expect())[0]["status"] == EXPIRED


def test_a_settlement_pause_extends_grace_by_its_length(market: Chain) -> None:
    """Blocks paused since creation are added to grace; pauses before creation are not."""
    market.ok(market.admin, PARAMETER, "pause", "settlement")
    market.vm.mine_burn(3)
    market.ok(market.admin, PARAMETER, "unpause", "settlement")
    market.vm.mine_burn(4)
    market.publish_both(50_000 * USD, USD)
    number = market.create(SBTC)
    entry = market.policy(number)
    assert entry["settlement-pause-counter"] == 3
    market.ok(market.admin, PARAMETER, "pause", "settlement")
    market.vm.mine_burn(10)
    receipt = market.expiry_receipt(entry["expiration-burn-height"], 50_000 * USD)
    assert refused(market.expire(market.backend, [number], receipt)) == 3001
    assert market.error(market.stranger, REGISTRY, "expire-abandoned-policies", [number]) == 3001
    market.ok(market.admin, PARAMETER, "unpause", "settlement")
    market.vm.mine_burn(entry["expiration-burn-height"] + 6 + 10 - market.height)
    assert plain(market.expire(market.backend, [number], receipt).expect())[0]["error"] == 3024
    market.vm.mine_burn(1)
    assert plain(market.expire(market.backend, [number], receipt).expect())[0]["status"] == EXPIRED


def test_expiry_needs_backend_and_oracle_together(market: Chain) -> None:
    """Not the holder, admin or oracle; not a receipt of another key, kind, contract, chain, or with a zero price."""
    number = market.create(SBTC)
    expiration = to_due(market, number)
    good = market.expiry_receipt(expiration, 50_000 * USD)
    for actor in (market.holder, market.admin, market.oracle, market.stranger):
        assert refused(market.expire(actor, [number], good)) == 3015
    kind = "bithedge-expiry-receipt"
    for one in (
        market.sign(market.backend, kind, REGISTRY, good.message),
        market.sign(market.oracle, "bithedge-activation-receipt", REGISTRY, good.message),
        market.sign(market.oracle, kind, VAULT, good.message),
        market.sign(market.oracle, kind, REGISTRY, good.message, CHAIN_ID + 1),
    ):
        assert refused(market.expire(market.backend, [number], one)) == 3021
    for btc, stx in ((0, USD), (50_000 * USD, 0), (0, 0)):
        assert refused(market.expire(market.backend, [number], market.expiry_receipt(expiration, btc, stx))) == 3020
    market.ok(market.admin, PARAMETER, "remove-backend-principal", Principal(market.backend.address))
    assert refused(market.expire(market.backend, [number], good)) == 3015
    assert market.policy(number)["status"] == ACTIVE


def test_long_abandoned_policies_expire_without_a_receipt(market: Chain) -> None:
    """1,008 blocks after expiration anyone frees the collateral, also of one in the money; no block earlier."""
    ids = [market.create(STX), market.create(SBTC)]
    entry = market.policy(ids[0])
    market.vm.mine_burn(entry["expiration-burn-height"] + 1008 - market.height)
    early = market.call(market.stranger, REGISTRY, "expire-abandoned-policies", ids)
    assert [one["error"] for one in plain(early.expect())] == [3024, 3024]
    market.vm.mine_burn(1)
    result = market.call(market.stranger, REGISTRY, "expire-abandoned-policies", [*ids, 9])
    assert [(one["status"], one["error"]) for one in plain(result.expect())] == [(2, 0), (2, 0), (0, 3013)]
    assert [one["btc-price-e8"] for one in printed(result, "policy-expired")] == [0, 0]
    assert market.pool(STX)["locked"] == market.pool(SBTC)["locked"] == 0


def test_an_empty_batch_does_nothing(market: Chain) -> None:
    """No ids: no results, no events."""
    result = market.expire(market.backend, [], market.expiry_receipt(1, USD))
    assert plain(result.expect()) == []
    assert not result.events
