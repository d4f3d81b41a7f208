"""Replays prices hour by hour: holders ask, the pool writes, holders activate, policies expire.

What it does not model: the chain's delays and fees, competition, and that large trades move prices.
"""

from __future__ import annotations

import bisect
import datetime as dt
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from backtest.demand import Demand, DemandModel, Habit, Request
from backtest.pool import Pool, Written
from backtest.prices import PriceHistory
from kernel.errors import BitHedgeError, Unavailable
from kernel.pricing import PastVolatility, PricingError, VolatilityRules
from kernel.units import USD_E8, Tier, Token, notional_usd_e8, payout, premium_base_units
from services.oracle.domain.history import estimate_volatility
from services.oracle.domain.prices import Feed
from services.policy.domain.parameters import Parameters
from services.policy.domain.quote import VOLATILITY_RULES, Market, make_quote
from services.policy.domain.utilization import charge_utilization
from services.pool.domain.collateral import Refusal
from services.pool.domain.shares import Prices
from services.pool.domain.utilization import utilization_bps

_HOUR: Final = dt.timedelta(hours=1)
_RECEIPT_DELAY: Final = dt.timedelta(minutes=1)
_WEEK: Final = dt.timedelta(days=7)
_BLOCK_SECONDS: Final = 600
_HISTORY_DAYS: Final = 400
CAPITAL_USD: Final[Mapping[Tier, int]] = {Tier.CONSERVATIVE: 100_000, Tier.BALANCED: 400_000, Tier.AGGRESSIVE: 800_000}
SBTC_SHARE_PERCENT: Final = 70


@dataclass(frozen=True)
class Ended:
    """A policy that was written, and how it ended; amounts in USD e8 at the prices of the time.

    `payout_base_units` in `token`; `end_time` is None while it is open.
    """

    tier: Tier
    token: Token
    start_time: dt.datetime
    premium_usd_e8: int
    payout_usd_e8: int
    how: str


@dataclass(frozen=True)
class DayEnd:
    """One pool at the end of one day."""

    day: dt.date
    tier: Tier
    token: Token
    share_price_e6: int
    utilization_bps: int
    locked: int
    total: int
    payouts_usd_e8: int


@dataclass
class Record:
    """Everything that the report is made from."""

    ended: list[Ended] = field(default_factory=list)
    days: list[DayEnd] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    most_utilization_bps: dict[tuple[Tier, Token], int] = field(default_factory=dict)
    # Of policies written, what their premiums hold because capital was scarce.
    scarcity_usd_e8: int = 0
    steps_checked: int = 0
    decided_by_person: int = 0
    # Days of which the past gave no volatility to quote on.
    days_not_quoted: int = 0
    still_open: int = 0


class Simulation:
    """One run; `run` answers its record or raises `Insolvent`."""

    def __init__(
        self,
        prices: PriceHistory,
        parameters: Parameters,
        model: DemandModel,
        seed: int,
        rules: VolatilityRules = VOLATILITY_RULES,
    ) -> None:
        self._prices = prices
        self._parameters = parameters
        self._rules = rules
        self._demand = Demand(model, seed)
        self._pool = Pool()
        self._record = Record()
        self._start = dt.datetime.combine(prices.bars[0].day, dt.time(), dt.UTC)
        self._expiries: list[tuple[int, int]] = []
        # Holders who wait for a price, the highest trigger first.
        self._triggers: list[tuple[int, int]] = []
        # The one of the height that expires now.
        self._averages: dict[int, Prices | None] = {}
        self._written = 0
        self._premiums: dict[int, int] = {}
        self._paid_today: Counter[tuple[Tier, Token]] = Counter()

    def run(self) -> Record:
        """Every hour of the recorded days, in order."""
        self._fund()
        end = dt.datetime.combine(self._prices.bars[-1].day, dt.time(23), dt.UTC)
        time, past = self._start, None
        while time <= end:
            if time.hour == 0:
                past = self._past_volatility(time)
                self._record.days_not_quoted += past is None
            self._step(time, past)
            if time.hour == 23:
                self._close_day(time)
            time += _HOUR
        self._record.still_open = len(self._pool.open)
        return self._record

    def _fund(self) -> None:
        market = self._spot(self._start)
        assert market is not None
        for tier, usd in CAPITAL_USD.items():
            for token, percent in ((Token.SBTC, SBTC_SHARE_PERCENT), (Token.STX, 100 - SBTC_SHARE_PERCENT)):
                amount = premium_base_units(token, usd * USD_E8 * percent // 100, market.btc_e8, market.stx_e8)
                self._pool.deposit(tier, token, amount, self._start)

    def _step(self, time: dt.datetime, past: PastVolatility | None) -> None:
        spot = self._spot(time)
        self._expire(time, spot)
        if spot is not None:
            self._activate(time, spot)
            if past is not None:
                week_ago = self._prices.at(Feed.BTC_USD, time - _WEEK)
                for request in self._demand.requests(spot.btc_e8, week_ago):
                    self._offer(request, time, spot, past)
        self._pool.check(time)
        self._record.steps_checked += 1

    def _spot(self, time: dt.datetime) -> Prices | None:
        btc, stx = self._prices.at(Feed.BTC_USD, time), self._prices.at(Feed.STX_USD, time)
        return None if btc is None or stx is None else Prices(btc, stx)

    def _height(self, time: dt.datetime) -> int:
        return int((time - self._start).total_seconds()) // _BLOCK_SECONDS

    def _past_volatility(self, time: dt.datetime) -> PastVolatility | None:
        """None where the product quotes nothing: too few days, none of late, or a price that never moved."""
        today = bisect.bisect_left(self._prices.bars, time.date(), key=lambda bar: bar.day)
        try:
            found = estimate_volatility(self._prices.bars[max(0, today - _HISTORY_DAYS) : today], time)
            return PastVolatility(found.ewma, found.close_to_close_30d, found.close_to_close_90d, found.parkinson_30d)
        except (Unavailable, PricingError):
            return None

    def _offer(self, request: Request, time: dt.datetime, spot: Prices, past: PastVolatility) -> None:
        market = Market(spot.btc_e8, spot.stx_e8, 0, 0, past, spot.btc_e8, spot.stx_e8)
        try:
            idle = make_quote(request.terms, market, self._parameters, self._rules)
            tier, token, height = idle.admission.bounds.tier, request.terms.token, self._height(time)
            bound = self._parameters[f"{tier.name.lower()}.utilization-max-bps"]
            quote = charge_utilization(idle, self._pool.room(tier, token, bound), self._parameters)
        except BitHedgeError as error:
            self._record.refusals[str(error.reason)] += 1
            return
        if (quote.premium + quote.fee) * 10_000 > quote.max_payout_base_units * request.willing_bps:
            self._record.refusals["too dear for the holder"] += 1
            return
        refusal = self._pool.judge(quote, height, bound)
        if refusal is not Refusal.NONE:
            self._record.refusals[str(refusal)] += 1
            return
        self._written += 1
        written = Written(self._written, quote, height)
        self._pool.write(written, time)
        self._note(written, request.habit, spot)
        self._record.scarcity_usd_e8 += _usd(token, quote.premium - idle.premium, spot)
        used = utilization_bps(self._pool.books(tier, token))
        self._record.most_utilization_bps[tier, token] = max(
            used, self._record.most_utilization_bps.get((tier, token), 0)
        )

    def _note(self, written: Written, habit: Habit, spot: Prices) -> None:
        terms = written.quote.terms
        self._premiums[written.key] = _usd(terms.token, written.quote.premium, spot)
        heapq.heappush(self._expiries, (written.expiration_burn_height, written.key))
        trigger = {
            Habit.WATCHFUL: terms.floor_price_usd_e8,
            Habit.HASTY: (terms.strike_price_usd_e8 + terms.floor_price_usd_e8) // 2,
        }.get(habit)
        if trigger is not None:
            heapq.heappush(self._triggers, (-trigger, written.key))

    def _activate(self, time: dt.datetime, spot: Prices) -> None:
        receipt_time = time + _RECEIPT_DELAY
        receipt = self._spot(receipt_time)
        if receipt is None:
            return
        missed = []
        while self._triggers and -self._triggers[0][0] >= spot.btc_e8:
            trigger, key = heapq.heappop(self._triggers)
            written = self._pool.open.get(key)
            if written is None or written.expiration_burn_height < self._height(time):
                continue
            if not self._settle(written, receipt, receipt_time, "activated"):
                missed.append((trigger, key))
        for waiting in missed:
            heapq.heappush(self._triggers, waiting)

    def _expire(self, time: dt.datetime, spot: Prices | None) -> None:
        """Every policy whose height has passed, at the average of its own half hour."""
        while self._expiries and self._expiries[0][0] < self._height(time):
            height, key = self._expiries[0]
            written = self._pool.open.get(key)
            if written is not None:
                prices = self._expiry_prices(height)
                if prices is None:
                    # No average: a person decides, here on the first price after the gap.
                    if spot is None:
                        return
                    prices, self._record.decided_by_person = spot, self._record.decided_by_person + 1
                if not self._settle(written, prices, time, "at expiry"):
                    self._end(written, 0, prices, time, "expired")
            heapq.heappop(self._expiries)

    def _expiry_prices(self, height: int) -> Prices | None:
        if height not in self._averages:
            self._averages = {height: self._average(height)}
        return self._averages[height]

    def _average(self, height: int) -> Prices | None:
        end = self._start + dt.timedelta(seconds=height * _BLOCK_SECONDS)
        btc, stx = self._prices.expiry(Feed.BTC_USD, end), self._prices.expiry(Feed.STX_USD, end)
        return None if btc is None or stx is None else Prices(btc.price_usd_e8, stx.price_usd_e8)

    def _settle(self, written: Written, prices: Prices, time: dt.datetime, how: str) -> bool:
        terms = written.quote.terms
        paid = payout(
            terms.token,
            terms.protected_amount_sats,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            prices.btc_e8,
            prices.stx_e8,
            written.quote.max_payout_base_units,
        )
        if paid:
            self._end(written, paid, prices, time, how)
        return paid > 0

    def _end(self, written: Written, paid: int, prices: Prices, time: dt.datetime, how: str) -> None:
        token = written.quote.terms.token
        self._pool.end(written, paid, self._height(time), time)
        paid_usd = _usd(token, paid, prices)
        self._paid_today[written.tier, token] += paid_usd
        start = self._start + dt.timedelta(seconds=written.created_burn_height * _BLOCK_SECONDS)
        premium = self._premiums.pop(written.key)
        self._record.ended.append(Ended(written.tier, token, start, premium, paid_usd, how))

    def _close_day(self, time: dt.datetime) -> None:
        prices = self._spot(time)
        if prices is None:
            return
        for tier in Tier:
            for token in Token:
                books = self._pool.books(tier, token)
                worth = self._pool.share_price_e6(tier, token, prices, self._height(time))
                used = utilization_bps(books)
                paid = self._paid_today[tier, token]
                self._record.days.append(DayEnd(time.date(), tier, token, worth, used, books.locked, books.total, paid))
        self._paid_today.clear()


def _usd(token: Token, base_units: int, prices: Prices) -> int:
    if token is Token.SBTC:
        return notional_usd_e8(base_units, prices.btc_e8)
    return base_units * prices.stx_e8 // 1_000_000
