"""Money rules of kernel.units, stated as properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel import units
from kernel.units import BPS, INT64_MAX, UINT128_MAX, AmountError, Tier, Token

USD = units.USD_E8
SATS = st.integers(1, 10_000 * units.SATS_PER_BTC)
BTC_PRICE = st.integers(1_000 * USD, 1_000_000 * USD)
ANY_PRICE = st.integers(1, 10_000_000 * USD)
STX_PRICE = st.integers(USD // 1000, 100 * USD)
AMOUNT = st.integers(0, 10**15)
TOKEN = st.sampled_from(list(Token))


@dataclass(frozen=True)
class Terms:
    """A policy's terms with the collateral that its quote computed."""

    token: Token
    amount: int
    strike: int
    floor: int
    quoted_stx: int
    haircut: int
    collateral: int

    def payout(self, btc: int, stx: int) -> int:
        return units.payout(self.token, self.amount, self.strike, self.floor, btc, stx, self.collateral)


@st.composite
def terms(draw: st.DrawFn, token: st.SearchStrategy[Token] = TOKEN) -> Terms:
    chosen = draw(token)
    strike = draw(BTC_PRICE)
    floor = draw(st.integers(strike * 4 // 10, strike * 98 // 100))
    amount, stx, haircut = draw(SATS), draw(STX_PRICE), draw(st.integers(0, 5000))
    try:
        collateral = units.max_payout(chosen, amount, strike, floor, stx, haircut)
    except AmountError:
        assume(False)
        raise
    return Terms(chosen, amount, strike, floor, stx, haircut, collateral)


def test_known_figures() -> None:
    """One BTC, strike 50,000, floor 25,000: one BTC in sats, or 25,000 USD of STX at 2 USD less 20%."""
    one, strike, floor, stx = units.SATS_PER_BTC, 50_000 * USD, 25_000 * USD, 2 * USD
    assert units.max_payout(Token.SBTC, one, strike, floor, 0, 0) == one
    assert units.max_payout(Token.STX, one, strike, floor, stx, 2000) == 15_625_000_000
    assert units.payout(Token.SBTC, one, strike, floor, 40_000 * USD, 0, one) == one // 4
    assert units.payout(Token.STX, one, strike, floor, 40_000 * USD, stx, 15_625_000_000) == 5_000_000_000
    assert (Token.STX, Token.SBTC, Tier.CONSERVATIVE, Tier.AGGRESSIVE) == (1, 2, 1, 3)


@given(policy=terms(), btc=ANY_PRICE, stx=ANY_PRICE)
def test_payout_never_exceeds_the_collateral(policy: Terms, btc: int, stx: int) -> None:
    """Whatever BTC and STX do, also an STX fall far beyond the haircut, payout <= max_payout."""
    assert 0 <= policy.payout(btc, stx) <= policy.collateral


@given(policy=terms(), first=ANY_PRICE, second=ANY_PRICE, stx=STX_PRICE)
def test_payout_never_grows_with_the_price(policy: Terms, first: int, second: int, stx: int) -> None:
    """A lower BTC price never pays less."""
    low, high = sorted((first, second))
    assert policy.payout(low, stx) >= policy.payout(high, stx)


@given(policy=terms(), btc=ANY_PRICE, stx=STX_PRICE)
def test_payout_is_the_exact_value_rounded_down(policy: Terms, btc: int, stx: int) -> None:
    """The payout is the formula in rationals, capped, less a fraction of a base unit; 0 out of the money."""
    settled = max(btc, policy.floor)
    unit_price = settled if policy.token is Token.SBTC else 100 * stx
    exact = Fraction(policy.amount * max(policy.strike - settled, 0), unit_price)
    if policy.token is Token.STX:
        exact = min(exact, Fraction(policy.collateral))
    paid = policy.payout(btc, stx)
    assert 0 <= exact - paid < 1
    assert paid == 0 if btc >= policy.strike else (paid > 0) == (exact >= 1)


@given(policy=terms(), btc=ANY_PRICE, stx=ANY_PRICE)
def test_in_the_money_means_that_something_is_paid(policy: Terms, btc: int, stx: int) -> None:
    """`pays` says whether the payout is above zero, for every collateral that is."""
    assume(policy.collateral > 0)
    said = units.pays(policy.token, policy.amount, policy.strike, policy.floor, btc, stx)
    assert said == (policy.payout(btc, stx) > 0)


@given(policy=terms(st.just(Token.SBTC)), below=st.integers(0, 10**12))
def test_sbtc_payout_at_and_below_the_floor_is_the_collateral(policy: Terms, below: int) -> None:
    """For sBTC the collateral is exactly what is paid at F and anywhere below."""
    assert policy.payout(policy.floor, 0) == policy.collateral
    assert policy.payout(max(policy.floor - below, 1), 0) == policy.collateral


@given(policy=terms(st.just(Token.STX)), stx=STX_PRICE, btc=BTC_PRICE)
def test_stx_cap_binds_only_below_the_haircut_price(policy: Terms, stx: int, btc: int) -> None:
    """While STX keeps its price less the haircut, the holder gets the full USD value of the put."""
    assume(stx >= units.stx_cap_price_e8(policy.quoted_stx, policy.haircut))
    value = policy.amount * max(policy.strike - max(btc, policy.floor), 0)
    assert policy.payout(btc, stx) == value // (100 * stx)


@given(policies=st.lists(terms(st.just(Token.SBTC)), min_size=1, max_size=20), btc=ANY_PRICE)
def test_a_pool_that_locks_max_payout_is_solvent(policies: list[Terms], btc: int) -> None:
    """Paying every policy at once never needs more than the sum of what was locked."""
    assert sum(policy.payout(btc, 0) for policy in policies) <= sum(policy.collateral for policy in policies)


@given(now=AMOUNT, collateral=AMOUNT, margin=st.integers(0, BPS), rate=st.integers(0, 1000))
def test_minimum_premium_meets_every_rounding_of_the_check(now: int, collateral: int, margin: int, rate: int) -> None:
    """The floor holds against the contract's formula however it divides, and is below 2 units above exact."""
    least = units.minimum_premium(now, collateral, margin, rate)
    exact = Fraction(now * (BPS - margin) + collateral * rate, BPS)
    assert exact <= least < exact + 2
    assert least >= -(-now * (BPS - margin) // BPS) + -(-collateral * rate // BPS)


@given(amount=AMOUNT, bps=st.integers(0, BPS))
def test_fee_and_bps_round_the_right_way(amount: int, bps: int) -> None:
    """Fees round up; the two bps helpers enclose the exact value within one unit."""
    exact = Fraction(amount * bps, BPS)
    assert 0 <= units.fee(amount, bps) - exact < 1
    assert 0 <= exact - units.bps_of_down(amount, bps) < 1
    assert units.bps_of_up(amount, bps) == units.fee(amount, bps)


@given(value=st.integers(0, 10**15), price=BTC_PRICE, stx=STX_PRICE, token=TOKEN)
def test_premium_rounds_up_in_either_token(value: int, price: int, stx: int, token: Token) -> None:
    """A premium in base units is worth at least the USD value, by less than one base unit."""
    paid = units.premium_base_units(token, value, price, stx)
    unit_value = Fraction(price, units.SATS_PER_BTC) if token is Token.SBTC else Fraction(stx, units.USTX_PER_STX)
    assert 0 <= paid * unit_value - value < unit_value


@given(value=st.floats(0, 1e9), amount=SATS, loading=st.integers(0, 5000))
def test_model_values_become_integers_upward(value: float, amount: int, loading: int) -> None:
    """A model's float is rounded up exactly once to e8 and once to the premium."""
    value_e8 = units.usd_e8_from_float(value)
    assert 0 <= value_e8 - Fraction(value) * USD < 1
    assume(value_e8 * amount * 2 < INT64_MAX * units.SATS_PER_BTC)
    exact = Fraction(value_e8 * amount * (BPS + loading), units.SATS_PER_BTC * BPS)
    assert 0 <= units.premium_usd_e8(value_e8, amount, loading) - exact < 1


@given(amount=SATS, price=BTC_PRICE)
def test_notional_rounds_down(amount: int, price: int) -> None:
    """Notional is size x price, less a fraction of 1e-8 USD."""
    assume(amount * price < INT64_MAX * units.SATS_PER_BTC)
    assert 0 <= Fraction(amount * price, units.SATS_PER_BTC) - units.notional_usd_e8(amount, price) < 1


@given(amount=AMOUNT, shares=st.integers(1, 10**15), assets=st.integers(1, 10**15))
def test_a_deposit_withdrawn_at_once_never_gains(amount: int, shares: int, assets: int) -> None:
    """Deposit then withdraw returns at most the deposit, and those who stay lose nothing."""
    assume(amount * shares // assets <= INT64_MAX - shares)
    bought = units.shares_for_deposit(amount, shares, assets)
    back = units.assets_for_shares(bought, shares + bought, assets + amount)
    assert back <= amount
    assert Fraction(assets + amount - back, shares) >= Fraction(assets, shares)


def test_first_deposit_and_whole_withdrawal() -> None:
    """The first deposit gets one share per base unit; all shares are all assets."""
    assert units.shares_for_deposit(12_345, 0, 0) == 12_345
    assert units.assets_for_shares(12_345, 12_345, 99_999) == 99_999


@given(first=st.integers(0, 2**70), second=st.integers(0, 2**70), divisor=st.integers(1, 2**90))
def test_mul_div_is_exact_or_refused(first: int, second: int, divisor: int) -> None:
    """mul_div rounds the exact quotient, or refuses what leaves uint128 or int64."""
    exact = Fraction(first * second, divisor)
    if first * second > UINT128_MAX or exact >= INT64_MAX + 1:
        with pytest.raises(AmountError):
            units.mul_div_down(first, second, divisor)
        return
    assert units.mul_div_down(first, second, divisor) == exact.numerator // exact.denominator
    if exact <= INT64_MAX:
        assert units.mul_div_up(first, second, divisor) == -(-exact.numerator // exact.denominator)


@pytest.mark.parametrize("bad", [-1, 2**63, 1.0, "1", None, True])
def test_amounts_that_are_not_int64_are_refused(bad: object) -> None:
    """Negative, too large, float, text, None and bool are all one typed error."""
    with pytest.raises(AmountError):
        units.fee(bad, 50)  # type: ignore[arg-type]
    with pytest.raises(AmountError):
        units.payout(Token.SBTC, bad, 3, 2, 1, 0, 10)  # type: ignore[arg-type]


def test_terms_without_meaning_are_refused() -> None:
    """Floor at or above strike, zero prices, a haircut of all, foreign collateral: AmountError."""
    calls: list[Callable[[], int]] = [
        lambda: units.max_payout(Token.SBTC, 1, 5, 5, 0, 0),
        lambda: units.max_payout(Token.SBTC, 1, 5, 0, 0, 0),
        lambda: units.max_payout(Token.STX, 1, 5, 4, 0, 0),
        lambda: units.max_payout(Token.STX, 1, 5, 4, 1, BPS),
        lambda: units.max_payout(Token.STX, INT64_MAX, INT64_MAX, 1, 1, 0),
        lambda: units.payout(Token.STX, 1, 5, 4, 0, 1, 1),
        lambda: units.payout(Token.STX, 1, 5, 4, 3, 0, 1),
        lambda: units.payout(Token.SBTC, 100, 6, 3, 3, 0, 99),
        lambda: units.minimum_premium(1, 1, BPS + 1, 0),
        lambda: units.shares_for_deposit(1, 1, 0),
        lambda: units.assets_for_shares(2, 1, 5),
        lambda: units.usd_e8_from_float(float("nan")),
        lambda: units.usd_e8_from_float(-1.0),
        lambda: units.mul_div_up(1, 1, 0),
    ]
    for call in calls:
        with pytest.raises(AmountError):
            call()
