"""A thief of the backend key against the vault: vouchers and quotes of their own, and the limits they meet."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from tests.contracts.chain import (
    PARAMETER,
    REGISTRY,
    SBTC,
    STX,
    USD,
    VAULT,
    Chain,
    Principal,
    Signed,
    plain,
    refused,
)
from tests.contracts.vm import VMError
from tests.contracts.vouchers import voucher, withdraw

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])
HUGE = (1 << 128) - 1


def cap_withdrawals(chain: Chain, token: int, amount: int) -> None:
    """Limits what vouchers may take at once per day."""
    chain.set(f"withdrawal.max-per-day-{'stx' if token == STX else 'sbtc'}", amount)


@TOKENS
def test_an_announced_voucher_cannot_be_exchanged(market: Chain, token: int) -> None:
    """Another provider or amount, signed later under the id of an announced voucher, does not inherit its delay."""
    cap_withdrawals(market, token, 10)
    honest = voucher(market, token, 1_000)
    assert plain(withdraw(market, honest).expect()) is False
    taken: dict[str, Any] = {"provider": Principal(market.stranger.address), "amount": 1_000_000}
    for changes in (taken, {"amount": 1_001}, {"amount": 1}, {"expiry-burn-height": HUGE}):
        forged = market.sign(market.backend, "bithedge-voucher", VAULT, honest.message | changes)
        sender = market.stranger if changes is taken else market.provider
        assert refused(withdraw(market, forged, sender)) == 4022
    before, purse = market.pool(token), market.owned(market.stranger, token)
    market.vm.mine_burn(144)
    for changes in (taken, {"amount": 1_001}):
        forged = market.sign(market.backend, "bithedge-voucher", VAULT, honest.message | changes)
        sender = market.stranger if changes is taken else market.provider
        assert refused(withdraw(market, forged, sender)) == 4022
    assert (market.pool(token), market.owned(market.stranger, token)) == (before, purse)
    assert plain(withdraw(market, honest).expect()) is True


def test_an_announced_voucher_of_a_removed_key_is_worthless(market: Chain) -> None:
    """Removing the stolen key within the delay stops everything announced with it, without a veto for each."""
    cap_withdrawals(market, STX, 10)
    announced = [voucher(market, STX, 1_000) for _ in range(3)]
    for one in announced:
        assert plain(withdraw(market, one).expect()) is False
    market.ok(market.admin, PARAMETER, "remove-backend-principal", Principal(market.backend.address))
    market.vm.mine_burn(144)
    for one in announced:
        assert refused(withdraw(market, one)) == 4016


@TOKENS
def test_a_thief_takes_one_cap_per_day_of_burn_blocks(market: Chain, token: int) -> None:
    """Many small vouchers together stay within the day's cap; the next day, counted in 144 blocks, begins anew."""
    cap_withdrawals(market, token, 1_000)
    market.vm.mine_burn(144 - market.height % 144)
    start = market.pool(token)["accounted"]
    for day in (1, 2):
        for _ in range(12):
            withdraw(market, voucher(market, token, 100)).expect()
        assert start - market.pool(token)["accounted"] == day * 1_000
        market.vm.mine_burn(143)
        assert plain(withdraw(market, voucher(market, token, 1)).expect()) is False
        market.vm.mine_burn(1)


@TOKENS
def test_a_thief_sells_himself_one_cap_per_day_of_burn_blocks(market: Chain, token: int) -> None:
    """The collateral of new policies stays within the day's cap up to its last block, whoever signs the quotes."""
    market.vm.mine_burn(144 - market.height % 144)
    market.publish_both(50_000 * USD, USD)
    first = market.create(token)
    collateral = market.policy(first)["max-payout"]
    market.set(f"issuance.max-per-day-{'stx' if token == STX else 'sbtc'}", 2 * collateral + 1)
    market.create(token)
    assert refused(market.pay_quote(market.holder, market.quote(token))) == 4020
    market.vm.mine_burn(143 - market.height % 144)
    market.publish_both(50_000 * USD, USD)
    assert market.height % 144 == 0
    market.create(token)


@TOKENS
def test_a_contract_in_between_withdraws_nothing(market: Chain, token: int) -> None:
    """A provider lured into a contract loses no voucher through it."""
    code = f"""
        (define-public (take (v {{ voucher-id: (buff 16), provider: principal, token: uint, amount: uint,
            expiry-burn-height: uint }}) (s (buff 65)))
          (contract-call? '{market.vm.contract(VAULT)} withdraw-from-pool v s))"""
    market.vm.deploy(market.stranger.address, "lure", code)
    signed = voucher(market, token, 100)
    assert market.error(market.provider, "lure", "take", signed.message, signed.signature) == 4002
    withdraw(market, signed).expect()


@TOKENS
@pytest.mark.parametrize(
    "field",
    [
        "amount-sats",
        "strike-price-e8",
        "floor-price-e8",
        "btc-price-e8",
        "premium",
        "fee",
        "quote-burn-height",
        "quote-expiry-burn-height",
        "expiration-burn-height",
        "tier",
        "token",
    ],
)
def test_absurd_terms_change_nothing(refusing: Chain, token: int, field: str) -> None:
    """The greatest number in any term of a signed quote is refused or overflows; never does it buy anything."""
    before = refusing.pool(token)
    quote: Signed = refusing.quote(token, **{field: HUGE})
    with suppress(VMError):  # an overflow
        refused(refusing.pay_quote(refusing.holder, quote))
    assert refusing.pool(token) == before
    assert refusing.read(REGISTRY, "get-policy-counter") == 0


@TOKENS
def test_a_large_policy_does_not_block_its_batch(market: Chain, token: int) -> None:
    """A policy as large as the caps admit ends at the lowest prices there are, paid in full, and so does the next."""
    market.deposit(token, 10**14 if token == STX else 10**11).expect()
    size = {"amount-sats": 10**10, "premium": 10**12} if token == STX else {"amount-sats": 15 * 10**8, "premium": 10**9}
    ids = [market.create(token, **size), market.create(token)]
    expiration = market.policy(ids[0])["expiration-burn-height"]
    market.vm.mine_burn(expiration + 7 - market.height)
    result = plain(market.expire(market.backend, ids, market.expiry_receipt(expiration, 1, 1)).expect())
    assert [one["error"] for one in result] == [0, 0]
    for number in ids:
        assert market.policy(number)["payout"] == market.policy(number)["max-payout"]
    assert market.pool(token)["locked"] == 0
