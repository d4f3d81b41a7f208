"""liquidity-pool-vault: deposits, vouchers, who may move money, fees and excess."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.chain import (
    CHAIN_ID,
    PARAMETER,
    REGISTRY,
    SBTC,
    STX,
    VAULT,
    Chain,
    Principal,
    Signed,
    plain,
    printed,
    refused,
)
from tests.contracts.vm import SBTC_CONTRACT
from tests.contracts.vouchers import voucher, withdraw

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])


@TOKENS
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_a_deposit_is_accounted_and_told(chain: Chain, token: int, tier: int) -> None:
    """A deposit moves exactly its amount from the provider and raises `accounted` by it."""
    purse = chain.owned(chain.provider, token)
    result = chain.deposit(token, 12_345, tier)
    assert printed(result, "deposit") == [
        {
            "provider": chain.provider.address,
            "token": token,
            "tier": tier,
            "amount": 12_345,
            "accounted": 12_345,
            "locked": 0,
        }
    ]
    assert chain.pool(token) == {"accounted": 12_345, "balance": 12_345, "fees": 0, "locked": 0}
    assert chain.pool(3 - token) == {"accounted": 0, "balance": 0, "fees": 0, "locked": 0}
    assert chain.owned(chain.provider, token) == purse - 12_345


def test_bad_deposits_are_refused(chain: Chain) -> None:
    """Unknown tokens and tiers, nothing, more than the provider owns, and a pause."""
    for token, tier, amount, error in (
        (0, 1, 5, 4004),
        (3, 1, 5, 4004),
        (STX, 0, 5, 4005),
        (STX, 4, 5, 4005),
        (STX, 1, 0, 4006),
        (SBTC, 1, 0, 4006),
        (STX, 1, 10**16, 4007),
        (SBTC, 1, 10**13, 4007),
    ):
        assert refused(chain.deposit(token, amount, tier)) == error
    chain.ok(chain.admin, PARAMETER, "pause", "deposits")
    assert refused(chain.deposit(STX, 5)) == 4003
    chain.ok(chain.admin, PARAMETER, "unpause", "deposits")
    chain.deposit(STX, 5).expect()


@TOKENS
def test_a_voucher_pays_its_amount_once(market: Chain, token: int) -> None:
    """A voucher pays the provider, lowers `accounted`, is told, and is then used."""
    before, purse = market.pool(token), market.owned(market.provider, token)
    signed = voucher(market, token, 1_000)
    assert market.read(VAULT, "is-voucher-used", signed.message["voucher-id"]) is False
    result = withdraw(market, signed)
    assert plain(result.expect()) is True
    assert printed(result, "withdrawal") == [
        {
            "voucher-id": signed.message["voucher-id"],
            "provider": market.provider.address,
            "token": token,
            "amount": 1_000,
            "accounted": before["accounted"] - 1_000,
            "locked": 0,
        }
    ]
    assert market.owned(market.provider, token) == purse + 1_000
    assert market.pool(token)["balance"] == market.pool(token)["accounted"] == before["accounted"] - 1_000
    assert market.read(VAULT, "is-voucher-used", signed.message["voucher-id"]) is True
    assert refused(withdraw(market, signed)) == 4015
    again = voucher(market, token, 1, **{"voucher-id": signed.message["voucher-id"]})
    assert refused(withdraw(market, again)) == 4015


def test_bad_vouchers_are_refused(market: Chain) -> None:
    """Another wallet, unknown token, nothing, too late, and any signature but the backend's for this purpose."""
    good = voucher(market, STX, 1_000)
    assert refused(withdraw(market, good, market.stranger)) == 4013
    assert refused(withdraw(market, voucher(market, 3, 1_000))) == 4004
    assert refused(withdraw(market, voucher(market, STX, 0))) == 4006
    late = {"expiry-burn-height": market.height - 1}
    assert refused(withdraw(market, voucher(market, STX, 1, **late))) == 4014
    forged = [market.sign(one, "bithedge-voucher", VAULT, good.message) for one in (market.oracle, market.provider)]
    forged.append(market.sign(market.backend, "bithedge-quote", VAULT, good.message))
    forged.append(market.sign(market.backend, "bithedge-voucher", REGISTRY, good.message))
    forged.append(market.sign(market.backend, "bithedge-voucher", VAULT, good.message, CHAIN_ID + 1))
    forged.append(Signed(good.message | {"amount": 1_001}, good.signature))
    forged.append(Signed(good.message | {"token": SBTC}, good.signature))
    forged.append(Signed(good.message | {"voucher-id": bytes(16)}, good.signature))
    for one in forged:
        assert refused(withdraw(market, one)) == 4016
    market.ok(market.admin, PARAMETER, "pause", "withdrawals")
    assert refused(withdraw(market, good)) == 4003
    market.ok(market.admin, PARAMETER, "unpause", "withdrawals")
    withdraw(market, good).expect()
    now = {"expiry-burn-height": market.height}
    withdraw(market, voucher(market, STX, 1, **now)).expect()


@TOKENS
def test_only_free_capital_leaves(market: Chain, token: int) -> None:
    """Collateral and fees stay, to the base unit; what is sent to the vault from outside does not count."""
    market.create(token)
    pool = market.pool(token)
    send_outside(market, token, 777)
    free = pool["accounted"] - pool["fees"] - pool["locked"]
    assert refused(withdraw(market, voucher(market, token, free + 1))) == 4010
    withdraw(market, voucher(market, token, free)).expect()
    assert market.pool(token)["accounted"] == pool["fees"] + pool["locked"]


@TOKENS
def test_a_voucher_beyond_the_days_cap_waits(market: Chain, token: int) -> None:
    """A thief of the backend key takes a day's cap at most: more is announced, and paid only after the delay."""
    market.set(f"withdrawal.max-per-day-{'stx' if token == STX else 'sbtc'}", 1_000)
    withdraw(market, voucher(market, token, 600)).expect()
    large = voucher(market, token, 401)
    before = market.pool(token)
    result = withdraw(market, large)
    assert plain(result.expect()) is False
    ready = market.height + 144
    assert printed(result, "withdrawal-delayed") == [
        {
            "voucher-id": large.message["voucher-id"],
            "provider": market.provider.address,
            "token": token,
            "amount": 401,
            "ready-burn-height": ready,
        }
    ]
    assert market.pool(token) == before
    assert market.read(VAULT, "get-ready-burn-height", large.message["voucher-id"]) == ready
    market.vm.mine_burn(143)
    assert refused(withdraw(market, large)) == 4021
    withdraw(market, voucher(market, token, 1_000)).expect()
    market.vm.mine_burn(1)
    assert plain(withdraw(market, large).expect()) is True
    assert refused(withdraw(market, large)) == 4015
    assert market.pool(token)["accounted"] == before["accounted"] - 1_401


def test_a_waiting_voucher_can_be_vetoed_and_lapses(market: Chain) -> None:
    """The admin alone vetoes; a vetoed voucher is never paid; one not collected within a day lapses."""
    market.set("withdrawal.max-per-day-stx", 1)
    vetoed, forgotten = voucher(market, STX, 5), voucher(market, STX, 6)
    for one in (vetoed, forgotten):
        assert plain(withdraw(market, one).expect()) is False
    assert market.error(market.backend, VAULT, "veto-voucher", vetoed.message["voucher-id"]) == 4017
    result = market.call(market.admin, VAULT, "veto-voucher", vetoed.message["voucher-id"])
    assert printed(result, "voucher-vetoed") == [{"voucher-id": vetoed.message["voucher-id"]}]
    assert market.error(market.admin, VAULT, "veto-voucher", vetoed.message["voucher-id"]) == 4015
    market.vm.mine_burn(144)
    assert refused(withdraw(market, vetoed)) == 4015
    market.vm.mine_burn(145)
    assert refused(withdraw(market, forgotten)) == 4014


def test_a_pause_of_withdrawals_holds_nothing_for_ever(market: Chain) -> None:
    """Nobody lifts it, and once it has lapsed a voucher is paid; one announced before has lapsed and is signed anew."""
    market.set("withdrawal.max-per-day-stx", 10)
    waiting = voucher(market, STX, 11)
    assert plain(withdraw(market, waiting).expect()) is False
    market.ok(market.admin, PARAMETER, "pause", "withdrawals")
    market.vm.mine_burn(1007)
    assert refused(withdraw(market, voucher(market, STX, 1))) == 4003
    market.vm.mine_burn(1)
    withdraw(market, voucher(market, STX, 1)).expect()
    assert refused(withdraw(market, waiting)) == 4014
    assert plain(withdraw(market, voucher(market, STX, 11)).expect()) is False


def test_only_the_registry_moves_collateral(market: Chain) -> None:
    """Backend, admin, oracle and holders cannot lock, release or pay by hand."""
    number = market.create(STX)
    collateral = market.policy(number)["max-payout"]
    calls: list[tuple[Any, ...]] = [
        ("lock-collateral-aggregate", STX, 1, 1, 1),
        ("release-collateral-aggregate", STX, collateral),
        ("pay-policy", STX, Principal(market.holder.address), 1, collateral),
    ]
    for actor in (market.admin, market.backend, market.oracle, market.holder):
        for function, *args in calls:
            assert market.error(actor, VAULT, function, *args) == 4001


@TOKENS
def test_fees_are_the_admins_and_no_more(market: Chain, token: int) -> None:
    """withdraw-fees pays at most the fees, lowers fees and accounted alike, and is the admin's alone."""
    market.create(token)
    pool = market.pool(token)
    to = Principal(market.stranger.address)
    assert market.error(market.backend, VAULT, "withdraw-fees", token, 1, to) == 4017
    assert market.error(market.admin, VAULT, "withdraw-fees", token, pool["fees"] + 1, to) == 4018
    assert market.error(market.admin, VAULT, "withdraw-fees", token, 0, to) == 4006
    assert market.error(market.admin, VAULT, "withdraw-fees", 3, 1, to) == 4004
    itself = Principal(market.vm.contract(VAULT))
    assert market.error(market.admin, VAULT, "withdraw-fees", token, 1, itself) == 4008
    purse = market.owned(market.stranger, token)
    result = market.call(market.admin, VAULT, "withdraw-fees", token, pool["fees"], to)
    accounted = pool["accounted"] - pool["fees"]
    event = {"recipient": to.text, "token": token, "amount": pool["fees"], "accounted": accounted, "fees": 0}
    assert printed(result, "fees-withdrawn") == [event]
    assert market.owned(market.stranger, token) == purse + pool["fees"]
    assert market.pool(token) == pool | {"accounted": accounted, "fees": 0, "balance": accounted}


@TOKENS
def test_excess_alone_can_be_skimmed(market: Chain, token: int) -> None:
    """What was sent to the vault outside its functions, and nothing else, goes to the admin's recipient."""
    before = market.pool(token)
    to = Principal(market.admin.address)
    assert market.error(market.admin, VAULT, "skim-excess", token, to) == 4006
    send_outside(market, token, 777)
    assert market.pool(token) == before | {"balance": before["balance"] + 777}
    assert market.error(market.backend, VAULT, "skim-excess", token, to) == 4017
    result = market.call(market.admin, VAULT, "skim-excess", token, to)
    assert printed(result, "excess-skimmed") == [{"recipient": to.text, "token": token, "amount": 777}]
    assert market.pool(token) == before


def send_outside(chain: Chain, token: int, amount: int) -> None:
    """Sends a token to the vault past its functions."""
    vault = chain.vm.contract(VAULT)
    if token == STX:
        chain.vm.transfer(chain.stranger.address, vault, amount).expect()
        return
    code = f"(define-public (send) (contract-call? '{SBTC_CONTRACT} transfer u{amount} tx-sender '{vault} none))"
    chain.vm.deploy(chain.stranger.address, "sender", code)
    chain.ok(chain.stranger, "sender", "send")
