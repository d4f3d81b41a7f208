"""Thieves of each key and of each pair, on a pool far larger than what they may take: a day's work, played out."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.contracts import CHANGE_DELAY_BLOCKS
from tests.contracts.chain import (
    BTC,
    ORACLE,
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
    plain,
    refused,
)
from tests.contracts.document import GUARANTEES, POWERS, part
from tests.contracts.thieves import BPS, Limits, limits_of, thieves_table
from tests.contracts.vouchers import voucher, withdraw

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])
NAMES = {STX: "stx", SBTC: "sbtc"}
SPOT = 50_000 * USD
# The day's limits here are a thousandth of those at deployment, so that he needs few calls; the shares are the same.
SMALLER = 1_000


@pytest.fixture
def rich(market: Chain) -> Chain:
    """A pool of far more than a day's limits, prices of now, the first block of a day, and a delay for the admin."""
    for token, amount in ((STX, 10**14), (SBTC, 10**11)):
        market.deposit(token, amount).expect()
        for name in ("withdrawal.max-per-day", "issuance.max-per-day"):
            value = market.read(PARAMETER, "get-parameter", f"{name}-{NAMES[token]}")
            market.set(f"{name}-{NAMES[token]}", value // SMALLER)
    market.vm.mine_burn(143 - market.height % 144)
    market.publish_both(SPOT, USD)
    market.set("admin.delay-blocks", CHANGE_DELAY_BLOCKS)
    return market


def thief(chain: Chain) -> Actor:
    """The thief's own account; the keys that he holds are the owners'."""
    return chain.stranger


def take_by_vouchers(chain: Chain, token: int) -> int:
    """As many vouchers as are paid at once; what he got."""
    before = chain.owned(thief(chain), token)
    amount = limits_of(chain).withdrawn[token] // 7
    paid = True
    while paid:
        one = voucher(chain, token, amount, provider=Principal(thief(chain).address))
        paid = plain(withdraw(chain, one, thief(chain)).expect())
        if not paid and amount > 1:
            amount, paid = amount // 2, True
    return chain.owned(thief(chain), token) - before


def sell_to_himself(chain: Chain, token: int, strike_bps: int, floor_bps: int) -> list[int]:
    """Policies at the least premium that the contract takes, until the day's collateral is sold."""
    limits = limits_of(chain)
    strike = SPOT * strike_bps // BPS
    terms = {"holder": Principal(thief(chain).address), "strike-price-e8": strike, "fee": 0}
    terms["floor-price-e8"] = strike * floor_bps // BPS
    sold, sats, left = [], 10**9, limits.issued[token]
    while sats > 100:
        stx = USD if token == STX else 0
        haircut = chain.read(PARAMETER, "get-tier", 2)["stx-haircut-bps"]
        args = (token, sats, strike, terms["floor-price-e8"])
        most = chain.read(REGISTRY, "max-payout-of", *args, stx, haircut)
        if most > left:
            sats //= 2
            continue
        now = chain.read(REGISTRY, "payout-of", *args, most, SPOT, USD)
        least = now * (BPS - limits.margin_bps) + most * limits.min_rate_bps
        quote = chain.quote(token, **terms, **{"amount-sats": sats, "premium": -(-least // BPS)})
        sold.append(int(plain(chain.pay_quote(thief(chain), quote).expect())))
        left -= most
    return sold


def settle_all(chain: Chain, numbers: list[int], btc_e8: int) -> None:
    """Settles his policies on receipts at a price of now."""
    for number in numbers:
        receipt = chain.receipt(chain.policy(number)["policy-id"], btc_e8)
        chain.settle(thief(chain), number, receipt).expect()


def nearly(taken: int, limit: int) -> bool:
    """Not above the limit, and not so far below that the test would say little."""
    return limit * 95 // 100 <= taken <= limit


@TOKENS
def test_a_backend_key_takes_a_days_caps(rich: Chain, token: int) -> None:
    """By vouchers the day's limit, by quotes to himself the margin less the least rate of a day's collateral."""
    limits = limits_of(rich)
    assert nearly(take_by_vouchers(rich, token), limits.withdrawn[token])
    before = rich.owned(thief(rich), token)
    policies = sell_to_himself(rich, token, 10_300, 9_700)
    settle_all(rich, policies, SPOT)
    gained = rich.owned(thief(rich), token) - before
    assert 0 < gained <= limits.riskless(token)
    further = rich.quote(token, holder=Principal(thief(rich).address))
    assert refused(rich.pay_quote(thief(rich), further)) == 4020


@TOKENS
def test_a_backend_key_gains_a_days_collateral_from_a_fall_alone(rich: Chain, token: int) -> None:
    """Only if the market itself falls to the floor does the collateral become his, less the least premium."""
    before = rich.owned(thief(rich), token)
    policies = sell_to_himself(rich, token, 9_990, 9_700)
    assert rich.owned(thief(rich), token) < before
    for number in policies:
        receipt = rich.receipt(rich.policy(number)["policy-id"], SPOT)
        assert refused(rich.settle(thief(rich), number, receipt)) == 3022
    rich.vm.mine_burn(1)
    rich.publish(BTC, SPOT * 96 // 100)
    settle_all(rich, policies, SPOT * 96 // 100)
    gained = rich.owned(thief(rich), token) - before
    limit = limits_of(rich).falling(token)
    # In STX the haircut is collateral that is paid only if STX falls too.
    assert gained <= limit if token == STX else nearly(gained, limit)


@TOKENS
def test_the_oracle_key_takes_nothing_of_the_pool(rich: Chain, token: int) -> None:
    """No voucher, no quote, no round: and his policies pay by the lowest published price less the tolerance."""
    holder = Principal(thief(rich).address)
    paper = voucher(rich, token, 1, provider=holder).message
    forged = rich.sign(rich.oracle, "bithedge-voucher", VAULT, paper)
    assert refused(withdraw(rich, forged, thief(rich))) == 4016
    quote = rich.sign(rich.oracle, "bithedge-quote", REGISTRY, rich.terms(token, holder=holder))
    assert refused(rich.pay_quote(thief(rich), quote)) == 3009
    one = rich.round(BTC, SPOT // 2)
    assert rich.error(thief(rich), ORACLE, "publish-price", one.message, one.signature) == 2001
    number = int(plain(rich.pay_quote(thief(rich), rich.quote(token, holder=holder)).expect()))
    entry = rich.policy(number)
    published = []
    for percent in (98, 95, 101, 97):
        rich.vm.mine_burn(4)
        published.append((rich.publish(BTC, SPOT * percent // 100), rich.publish(STX_FEED, USD), rich.height))
    lowest = SPOT * 95 // 100 * (BPS - limits_of(rich).tolerance_bps) // BPS
    for btc_round, stx_round, height in published:
        forged = rich.receipt(entry["policy-id"], lowest - 1, **{"burn-height": height})
        assert refused(rich.settle(thief(rich), number, forged, btc_round, stx_round)) == 2013
    before = rich.owned(thief(rich), token)
    btc_round, stx_round, height = published[1]
    shopped = rich.receipt(entry["policy-id"], lowest, **{"burn-height": height})
    rich.settle(thief(rich), number, shopped, btc_round, stx_round).expect()
    assert rich.owned(thief(rich), token) - before <= entry["max-payout"]


@TOKENS
def test_the_admin_key_takes_fees_and_excess_once(rich: Chain, token: int) -> None:
    """Everything else that would bring money needs a key that he can only announce."""
    rich.create(token)
    if token == STX:
        rich.vm.transfer(rich.holder.address, rich.vm.contract(VAULT), 77).expect()
    pool, before = rich.pool(token), rich.owned(thief(rich), token)
    to = Principal(thief(rich).address)
    rich.ok(rich.admin, VAULT, "withdraw-fees", token, pool["fees"], to)
    if token == STX:
        rich.ok(rich.admin, VAULT, "skim-excess", token, to)
    for function, *args in (
        ("add-backend-principal", to),
        ("propose-admin", to),
        ("add-oracle-key", thief(rich).public_key),
    ):
        assert rich.ok(rich.admin, PARAMETER, function, *args) is False
    rich.vm.mine_burn(CHANGE_DELAY_BLOCKS - 1)
    his = rich.sign(thief(rich), "bithedge-voucher", VAULT, voucher(rich, token, 1, provider=to).message)
    assert refused(withdraw(rich, his, thief(rich))) == 4016
    assert rich.error(rich.admin, VAULT, "withdraw-fees", token, 1, to) == 4018
    assert rich.owned(thief(rich), token) == before + pool["fees"] + pool["balance"] - pool["accounted"]
    assert rich.pool(token)["accounted"] == pool["accounted"] - pool["fees"]


@TOKENS
def test_oracle_and_backend_take_a_days_collateral(rich: Chain, token: int) -> None:
    """With both he makes the price fall below the floor of what he sold himself: all of it, less the least premium."""
    limits = limits_of(rich)
    assert nearly(take_by_vouchers(rich, token), limits.withdrawn[token])
    before = rich.owned(thief(rich), token)
    policies = sell_to_himself(rich, token, 9_990, 9_700)
    rich.vm.mine_burn(1)
    false = SPOT * 91 // 100
    rich.publish(BTC, false)
    stx = USD * 91 // 100
    rich.publish(STX_FEED, stx)
    for number in policies:
        receipt = rich.receipt(rich.policy(number)["policy-id"], false, stx)
        rich.settle(thief(rich), number, receipt).expect()
    gained = rich.owned(thief(rich), token) - before
    assert gained <= limits.falling(token)
    assert gained >= limits.falling(token) * (70 if token == STX else 95) // 100
    beyond = rich.round(BTC, false * 80 // 100)
    assert rich.error(rich.backend, ORACLE, "publish-price", beyond.message, beyond.signature) == 2007


@TOKENS
def test_admin_and_backend_take_no_more_on_the_first_day(rich: Chain, token: int) -> None:
    """The admin's key lifts neither limit before the delay: larger vouchers wait, higher limits too."""
    limits = limits_of(rich)
    assert nearly(take_by_vouchers(rich, token), limits.withdrawn[token])
    for name in ("withdrawal.max-per-day", "issuance.max-per-day"):
        assert rich.ok(rich.admin, PARAMETER, "set-parameter", f"{name}-{NAMES[token]}", 10**15) is False
    assert rich.ok(rich.admin, PARAMETER, "set-parameter", "withdrawal.delay-blocks", 6) is False
    large = voucher(rich, token, 10**10, provider=Principal(thief(rich).address))
    assert plain(withdraw(rich, large, thief(rich)).expect()) is False
    rich.vm.mine_burn(CHANGE_DELAY_BLOCKS - 1)
    assert refused(withdraw(rich, large, thief(rich))) == 4021
    assert limits_of(rich) == limits


@TOKENS
def test_admin_and_oracle_take_the_collateral_of_what_he_holds(rich: Chain, token: int) -> None:
    """He silences the backends, waits, relays a falling price and settles his own policies, and nothing else."""
    limits = limits_of(rich)
    holder = Principal(thief(rich).address)
    number = int(plain(rich.pay_quote(thief(rich), rich.quote(token, holder=holder)).expect()))
    honest = rich.create(token)
    rich.ok(rich.admin, PARAMETER, "remove-backend-principal", Principal(rich.backend.address))
    before, sums = rich.owned(thief(rich), token), rich.pool(token)
    rich.vm.mine_burn(limits.silence_blocks)
    early = rich.round(BTC, 36_000 * USD)
    assert rich.error(thief(rich), ORACLE, "publish-price", early.message, early.signature) == 2001
    rich.vm.mine_burn(1)
    for feed, price in ((BTC, 36_000 * USD), (STX_FEED, USD * 70 // 100)):
        one = rich.round(feed, price)
        rich.ok(thief(rich), ORACLE, "publish-price", one.message, one.signature)
    entry = rich.policy(number)
    rich.settle(thief(rich), number, rich.receipt(entry["policy-id"], 36_000 * USD, USD * 70 // 100)).expect()
    assert rich.owned(thief(rich), token) - before == entry["max-payout"]
    assert refused(rich.pay_quote(thief(rich), rich.quote(token, holder=holder))) == 3009
    assert rich.pool(token)["accounted"] == sums["accounted"] - entry["max-payout"]
    assert rich.policy(honest)["status"] == 0


@pytest.mark.parametrize("path", [GUARANTEES, POWERS], ids=lambda one: str(one.stem))
def test_the_documents_quote_these_limits(chain: Chain, path: Path) -> None:
    """The table of the documents is made of the parameters at deployment."""
    assert part(path.read_text(), "thieves") == thieves_table(limits_of(chain), CHANGE_DELAY_BLOCKS)


def test_the_limits_are_as_small_as_they_say(chain: Chain) -> None:
    """A few figures by hand, so that the table's arithmetic is not its own judge."""
    limits: Limits = limits_of(chain)
    assert (limits.riskless_bps, limits.falling_bps) == (490, 9_990)
    assert limits.riskless(SBTC) == 24_5000_0000 and limits.falling(SBTC) == 499_5000_0000
    assert limits.withdrawn == {STX: 10_000_000_000_000, SBTC: 50_0000_0000}
