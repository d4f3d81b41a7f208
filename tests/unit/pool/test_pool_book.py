"""A tier's open policies as columns: the sums of what each claims alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.pricing import PastVolatility, PolicyTerms, expected_volatilities, value_policy, years_from_blocks
from kernel.pricing.volatility import VolatilityRules, expected_volatility
from kernel.units import USD_E8, Token
from services.pool.domain import shares
from services.pool.domain.book import Book
from services.pool.domain.shares import OpenPolicy
from tests.unit.pool.pool_strategies import CREATED, expired, open_policies, prices, tokens

PAST = PastVolatility(0.9, 0.6, 0.7, 0.5)
_COLUMNS = OpenPolicy._fields[1:]
# What a mark may be off by, of spot; see `mark_portfolio`.
OFF = 5e-6


@settings(max_examples=40, deadline=None)
@given(data=st.data(), token=tokens, height=st.integers(CREATED, CREATED + 5_500))
def test_claims_of_a_book_are_the_sums_of_those_of_its_policies(data: st.DataObject, token: Token, height: int) -> None:
    """Joining and leaving count each policy as `shares` does, to the base unit, whatever else is in the book."""
    policies = data.draw(st.lists(open_policies(token), max_size=6))
    at = data.draw(expired(policies, data.draw(prices)))
    book = Book.of(token, policies)
    values = book.model_values(at, PAST, height).tolist()
    joining = sum(map(shares.claim_when_joining, policies, [at] * len(policies), values))
    leaving = shares.claims_when_leaving(policies, at, values, height)
    assert book.claims_when_joining(at, PAST, height) == joining
    assert book.claims_when_leaving(at, PAST, height) == leaving >= joining
    assert book.payouts(at).tolist() == [shares.intrinsic(policy, at) for policy in policies]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), token=tokens, height=st.integers(CREATED, CREATED + 5_500))
def test_each_policy_is_marked_as_it_would_be_alone(data: st.DataObject, token: Token, height: int) -> None:
    """At the volatility that is expected over its time left; after expiration at its payout."""
    at = data.draw(prices)
    drawn = data.draw(st.lists(open_policies(token), min_size=1, max_size=6))
    policies = [policy._replace(decided_btc_e8=0) for policy in drawn]
    marked = Book.of(token, policies).model_values(at, PAST, height).tolist()
    spot = at.btc_e8 / USD_E8
    for policy, value in zip(policies, marked, strict=True):
        terms = PolicyTerms(token, policy.strike_e8 / USD_E8, policy.floor_e8 / USD_E8)
        years = years_from_blocks(max(policy.expiration_burn_height - height, 0))
        volatility = expected_volatility(PAST, max(years, years_from_blocks(1)), VolatilityRules())
        alone = value_policy(terms, spot, volatility, 0.0, years).american
        units = policy.amount_sats / (spot if token is Token.SBTC else 100 * at.stx_e8 / USD_E8)
        assert abs(value - alone * units) <= (OFF * spot + 1e-8) * units + 1
        if years == 0:
            assert min(value, policy.max_payout) <= shares.intrinsic(policy, at) + units * 1e-7 + 1


@given(st.lists(st.floats(1e-4, 3.0), min_size=1, max_size=5))
def test_volatilities_of_many_times_are_those_of_each(years: list[float]) -> None:
    """The expectation is between EWMA and the blend, nearer the first the shorter the time."""
    rules = VolatilityRules()
    found = expected_volatilities(PAST, np.array(sorted(years)), rules).tolist()
    assert found == [expected_volatility(PAST, time, rules) for time in sorted(years)]
    assert found == sorted(found, reverse=True)
    assert all(0.5 < one <= PAST.ewma for one in found)


@given(data=st.data(), token=tokens, height=st.integers(CREATED - 2, CREATED + 2))
def test_what_was_written_after_a_price_claims_what_it_brought(data: st.DataObject, token: Token, height: int) -> None:
    """Its premium, unless its payout is decided: the others are valued as if it was not there."""
    drawn = data.draw(st.lists(open_policies(token), max_size=6))
    policies = [one._replace(created_burn_height=CREATED + data.draw(st.integers(-2, 2))) for one in drawn]
    there = [one for one in policies if one.created_burn_height <= height or one.decided]
    book, premiums = Book.of(token, policies).written_by(height)
    assert premiums == sum(one.premium for one in policies) - sum(one.premium for one in there)
    kept, known = ([getattr(one, name).tolist() for name in _COLUMNS] for one in (book, Book.of(token, there)))
    assert kept == known
