"""American puts by QuantLib, without its cache of results: each call builds its own instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import QuantLib as ql

_TODAY: Final = ql.Date(1, 1, 2020)
_DAYS: Final = ql.Actual365Fixed()
_CALENDAR: Final = ql.NullCalendar()


@dataclass(frozen=True)
class Vanilla:
    """An American put without dividends; `days` of 365 a year."""

    spot: float
    strike: float
    volatility: float
    rate: float
    days: int


def finite_differences(put: Vanilla, grid: int) -> float:
    """By FdBlackScholesVanillaEngine with as many steps of time as of price."""
    process = _process(put)
    return _value(put, ql.FdBlackScholesVanillaEngine(process, grid, grid))


def reference(put: Vanilla) -> float:
    """By QdFpAmericanEngine at its highest precision."""
    return _value(put, ql.QdFpAmericanEngine(_process(put), ql.QdFpAmericanEngine.highPrecisionScheme()))


def knock_out(put: Vanilla, floor: float) -> float:
    """By AnalyticBarrierEngine: the European put that ends at `floor` and then pays strike less floor."""
    option = ql.BarrierOption(
        ql.Barrier.DownOut,
        floor,
        put.strike - floor,
        ql.PlainVanillaPayoff(ql.Option.Put, put.strike),
        ql.EuropeanExercise(_TODAY + put.days),
    )
    option.setPricingEngine(ql.AnalyticBarrierEngine(_process(put)))
    return float(option.NPV())


def _process(put: Vanilla) -> Any:
    ql.Settings.instance().evaluationDate = _TODAY
    spot = ql.QuoteHandle(ql.SimpleQuote(put.spot))
    rate = ql.YieldTermStructureHandle(ql.FlatForward(_TODAY, put.rate, _DAYS))
    none = ql.YieldTermStructureHandle(ql.FlatForward(_TODAY, 0.0, _DAYS))
    volatility = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(_TODAY, _CALENDAR, put.volatility, _DAYS))
    return ql.BlackScholesMertonProcess(spot, none, rate, volatility)


def _value(put: Vanilla, engine: Any) -> float:
    exercise = ql.AmericanExercise(_TODAY, _TODAY + put.days)
    option = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, put.strike), exercise)
    option.setPricingEngine(engine)
    return float(option.NPV())
