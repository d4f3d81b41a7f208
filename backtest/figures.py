"""What a record says, by tier: the figures of the report, in JSON's plain types."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from backtest.simulation import CAPITAL_USD, SBTC_SHARE_PERCENT, DayEnd, Ended, Record
from kernel.units import BPS, USD_E8, Tier, Token

_DAYS_PER_YEAR: Final = 365
_UNIT: Final = 1_000_000
SHARES: Final = {Token.SBTC: SBTC_SHARE_PERCENT, Token.STX: 100 - SBTC_SHARE_PERCENT}


@dataclass(frozen=True)
class TierFigures:
    """One tier. Amounts in whole US dollars at the prices of the time, rates as parts of one.

    Return and drawdown are of the value of a share in its own token, valued as for who leaves, as the initial deposit's
    split between the tokens weighs them. `policies` counts those that ended.
    """

    tier: str
    policies: int
    premiums_usd: int
    payouts_usd: int
    loss_ratio: float
    annual_return: float
    worst_drawdown: float
    maximum_utilization: float

    def line(self) -> str:
        """The figures on one line."""
        return (
            f"{self.tier}: {self.policies:,} policies, premiums ${self.premiums_usd:,}, payouts ${self.payouts_usd:,}, "
            f"loss ratio {self.loss_ratio:.1%}, annual return {self.annual_return:+.1%}, "
            f"worst drawdown {self.worst_drawdown:.1%}, maximum utilization {self.maximum_utilization:.1%}"
        )


def tier_figures(record: Record, tier: Tier) -> TierFigures:
    """The figures of a tier, both tokens together."""
    return _figures(record, tier, tuple(Token))


def token_figures(record: Record, tier: Tier, token: Token) -> TierFigures:
    """The figures of one pool."""
    return _figures(record, tier, (token,))


def equity(record: Record, tier: Tier, tokens: Sequence[Token] = tuple(Token)) -> list[tuple[str, float]]:
    """Day by day what one unit deposited at the start is worth in its own token, weighted by the initial deposit."""
    weight = sum(SHARES[token] for token in tokens)
    by_day: dict[str, float] = {}
    for day in record.days:
        if day.tier is tier and day.token in tokens:
            part = SHARES[day.token] / weight * day.share_price_e6 / _UNIT
            by_day[day.day.isoformat()] = by_day.get(day.day.isoformat(), 0.0) + part
    return list(by_day.items())


def of_tier(days: Sequence[DayEnd], tier: Tier) -> dict[str, list[DayEnd]]:
    """The days of a tier, both tokens under one date."""
    found: dict[str, list[DayEnd]] = {}
    for day in days:
        if day.tier is tier:
            found.setdefault(day.day.isoformat(), []).append(day)
    return found


def _figures(record: Record, tier: Tier, tokens: Sequence[Token]) -> TierFigures:
    ended = [one for one in record.ended if one.tier is tier and one.token in tokens]
    premiums, payouts = _sum_usd(ended)
    days = equity(record, tier, tokens)
    worth = [value for _, value in days]
    used = [record.most_utilization_bps.get((tier, token), 0) for token in tokens]
    return TierFigures(
        tier=tier.name,
        policies=len(ended),
        premiums_usd=premiums,
        payouts_usd=payouts,
        loss_ratio=payouts / premiums if premiums else 0.0,
        annual_return=_annual_return(days),
        worst_drawdown=_worst_drawdown(worth),
        maximum_utilization=max(used) / BPS,
    )


def _sum_usd(ended: Sequence[Ended]) -> tuple[int, int]:
    return sum(one.premium_usd_e8 for one in ended) // USD_E8, sum(one.payout_usd_e8 for one in ended) // USD_E8


def _annual_return(days: Sequence[tuple[str, float]]) -> float:
    """By the calendar, whose days count whether recorded or not: the deposit is made as the first begins."""
    if not days:
        return 0.0
    (first, _), (last, worth) = days[0], days[-1]
    held = dt.date.fromisoformat(last) - dt.date.fromisoformat(first) + dt.timedelta(days=1)
    return float(worth ** (_DAYS_PER_YEAR / held.days)) - 1.0


def _worst_drawdown(worth: Sequence[float]) -> float:
    peak, worst = 1.0, 0.0
    for value in worth:
        peak = max(peak, value)
        worst = max(worst, 1.0 - value / peak)
    return worst


def summary(record: Record, stx_source: str, seed: int, prices: str) -> dict[str, Any]:
    """Everything of report.json but the alternatives."""
    return {
        "prices": prices,
        "stx_usd": stx_source,
        "seed": seed,
        "first_day": record.days[0].day.isoformat(),
        "last_day": record.days[-1].day.isoformat(),
        "solvent": True,
        "steps_checked": record.steps_checked,
        "initial_capital_usd": {tier.name: usd for tier, usd in CAPITAL_USD.items()},
        "tiers": [asdict(tier_figures(record, tier)) for tier in Tier],
        "pools": [
            {"token": token.name, **asdict(token_figures(record, tier, token))} for tier in Tier for token in Token
        ],
        "premiums_for_scarce_capital_usd": record.scarcity_usd_e8 // USD_E8,
        "refused_requests": dict(sorted(record.refusals.items())),
        "days_not_quoted": record.days_not_quoted,
        "expiries_decided_by_a_person": record.decided_by_person,
        "open_at_the_end": record.still_open,
    }
