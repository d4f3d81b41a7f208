"""The open policies of one tier and token as columns: what a million of them claim, in a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernel.pricing import PastVolatility, Portfolio, VolatilityRules, expected_volatilities, mark_portfolio
from kernel.pricing.amounts import Integers, exact_sum, mul_div_down_array, payout_array
from kernel.pricing.normal import Array
from kernel.pricing.policy import BURN_BLOCKS_PER_YEAR
from kernel.units import USD_E8, Token
from services.pool.domain.decision import ExpiryPrices
from services.pool.domain.shares import OpenPolicy, Prices

_RULES: Final = VolatilityRules()
# As premiums are priced.
RATE: Final = 0.0


@dataclass(frozen=True)
class Book:
    """One row for each policy: amounts in base units of `token`, prices USD e8, burn heights.

    The decided prices are those of `OpenPolicy`, 0 where nothing is decided; `auto_settle` is 0 or 1.
    """

    token: Token
    amount_sats: Integers
    strike_e8: Integers
    floor_e8: Integers
    max_payout: Integers
    premium: Integers
    created_burn_height: Integers
    expiration_burn_height: Integers
    decided_btc_e8: Integers
    decided_stx_e8: Integers
    auto_settle: Integers

    @classmethod
    def of(cls, token: Token, policies: Iterable[OpenPolicy]) -> Book:
        """The book of these policies, all of one token."""
        rows = np.array([policy[1:] for policy in policies], dtype=np.int64).reshape(-1, len(OpenPolicy._fields) - 1)
        return cls(token, *rows.T)

    @property
    def is_decided(self) -> NDArray[np.bool_]:
        """Which of them have the prices by which they will be settled."""
        return self.decided_btc_e8 > 0

    def payouts(self, prices: Prices) -> Integers:
        """What activation of each would take now, or what is decided, as `shares.intrinsic`."""
        book, needs_person = self._expired(prices.expiries)
        taken = payout_array(
            self.token,
            self.amount_sats,
            self.strike_e8,
            self.floor_e8,
            np.where(book.is_decided, book.decided_btc_e8, prices.btc_e8),
            np.where(book.is_decided, book.decided_stx_e8, prices.stx_e8),
            self.max_payout,
        )
        return np.where(needs_person, self.max_payout, taken)

    def _expired(self, expiries: Sequence[ExpiryPrices]) -> tuple[Book, NDArray[np.bool_]]:
        """The book in which what expired at these heights is decided, and which policies a person must decide."""
        if not expiries:
            return self, np.zeros(self.strike_e8.shape, dtype=np.bool_)
        rows = sorted((one.expiration_burn_height, one.btc_e8, one.stx_e8) for one in expiries)
        heights, btc_e8, stx_e8 = np.array(rows, dtype=np.int64).T
        place = np.minimum(np.searchsorted(heights, self.expiration_burn_height), heights.size - 1)
        due = (heights[place] == self.expiration_burn_height) & ~self.is_decided
        settles = self.auto_settle > 0
        # Who opted out ends as if at the strike, where no price of STX matters: but it divides.
        ends_btc_e8 = np.where(settles, btc_e8[place], self.strike_e8)
        ends_stx_e8 = np.maximum(stx_e8[place], 1)
        decided = replace(
            self,
            decided_btc_e8=np.where(due, ends_btc_e8, self.decided_btc_e8),
            decided_stx_e8=np.where(due, ends_stx_e8, self.decided_stx_e8),
        )
        return decided, due & (ends_btc_e8 == 0)

    def written_by(self, burn_height: int) -> tuple[Book, int]:
        """The policies that were there at a height or are decided, and the premiums of the others, base units.

        Prices of that height know nothing of those: what they brought is what they claim.
        """
        later = (self.created_burn_height > burn_height) & ~self.is_decided
        if not later.any():
            return self, 0
        columns = (getattr(self, field.name)[~later] for field in fields(self) if field.name != "token")
        return Book(self.token, *columns), exact_sum(self.premium[later])

    def blocks_left(self, burn_height: int) -> Integers:
        """Burn blocks to each one's expiration, none below zero."""
        return np.maximum(self.expiration_burn_height - burn_height, 0)

    def portfolio(self, burn_height: int) -> Portfolio:
        """The policies as the model knows them."""
        return Portfolio(
            is_sbtc=np.full(self.amount_sats.shape, self.token is Token.SBTC),
            strike_usd=self.strike_e8 / USD_E8,
            floor_usd=self.floor_e8 / USD_E8,
            time_years=self.blocks_left(burn_height) / BURN_BLOCKS_PER_YEAR,
        )

    def volatilities(self, past: PastVolatility, burn_height: int) -> Array:
        """What is expected over each one's time left: without floor and skew, which are margins of a premium."""
        years = np.maximum(self.blocks_left(burn_height), 1) / BURN_BLOCKS_PER_YEAR
        return expected_volatilities(past, years, _RULES)

    def model_values(self, prices: Prices, past: PastVolatility, burn_height: int) -> Integers:
        """American values in base units, rounded down, before any cap; off by no more than 5e-6 of spot per BTC."""
        spot = prices.btc_e8 / USD_E8
        marked = mark_portfolio(self.portfolio(burn_height), spot, self.volatilities(past, burn_height), RATE)
        values_e8 = np.floor(marked.american * USD_E8).astype(np.int64)
        divisor = prices.btc_e8 if self.token is Token.SBTC else 100 * prices.stx_e8
        return mul_div_down_array(values_e8, self.amount_sats, np.full_like(values_e8, divisor))

    def claims_when_joining(self, prices: Prices, past: PastVolatility, burn_height: int) -> int:
        """Sum of `shares.claim_when_joining`, base units."""
        book, needs_person = self._expired(prices.expiries)
        payouts = self.payouts(prices)
        worth = np.maximum(self.model_values(prices, past, burn_height), payouts)
        claims = np.where(book.is_decided, payouts, np.minimum(worth, self.max_payout))
        return exact_sum(np.where(needs_person, 0, claims))

    def claims_when_leaving(self, prices: Prices, past: PastVolatility, burn_height: int) -> int:
        """Sum of `shares.claim_when_leaving`, base units."""
        model = self.model_values(prices, past, burn_height)
        rounded_up = model + (model > 0)
        visible = self._unearned(burn_height) + self.payouts(prices)
        return exact_sum(np.minimum(np.maximum(rounded_up, visible), self.max_payout))

    def _unearned(self, burn_height: int) -> Integers:
        # As `shares.unearned_premium`: rounded up.
        duration = np.maximum(self.expiration_burn_height - self.created_burn_height, 0)
        left = np.minimum(self.blocks_left(burn_height), duration)
        divisor = np.maximum(duration, 1)
        earned = mul_div_down_array(self.premium, divisor - left, divisor)
        return np.where(left > 0, self.premium - earned, 0)
