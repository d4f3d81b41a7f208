"""Plots of a record as SVG texts: equity, utilization, payouts, above each other on one time axis with the price."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from backtest.figures import equity, of_tier
from backtest.simulation import Record
from kernel.units import BPS, USD_E8, Tier
from services.oracle.domain.history import DailyBar

# From the palette of Okabe and Ito (2008), which colour-blind readers can tell apart.
COLOURS: Final = {Tier.CONSERVATIVE: "#009E73", Tier.BALANCED: "#0072B2", Tier.AGGRESSIVE: "#D55E00"}
_GREY: Final = "#8a8f98"
_SIZE: Final = (9.0, 3.0)
# Identifiers in the file are made from this instead of at random, and no date is written: same record, same file.
_SALT: Final = "bithedge"


def price_chart(bars: Sequence[DailyBar]) -> str:
    """Daily closes and the range of each day, on a logarithmic scale."""

    def draw(axes: Axes) -> None:
        days = [_day(bar.day.isoformat()) for bar in bars]
        lows, highs = ([price / USD_E8 for price in prices] for prices in _ranges(bars))
        axes.fill_between(days, lows, highs, color=_GREY, alpha=0.35, linewidth=0)  # type: ignore[arg-type]
        axes.plot(days, [bar.close_usd_e8 / USD_E8 for bar in bars], color="#30343b", linewidth=1.1)  # type: ignore[arg-type]
        axes.set_yscale("log", subs=())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"${value:,.0f}")

    return _svg("BTC/USD", draw)


def equity_chart(record: Record) -> str:
    """What one unit deposited at the start is worth, by tier."""

    def draw(axes: Axes) -> None:
        axes.axhline(1.0, color=_GREY, linewidth=0.8)
        for tier in Tier:
            days, worth = zip(*equity(record, tier), strict=True)
            axes.plot([_day(day) for day in days], worth, color=COLOURS[tier], label=tier.name, linewidth=1.4)  # type: ignore[arg-type]

    return _svg("Worth of one unit deposited on the first day, in its own token", draw)


def utilization_chart(record: Record) -> str:
    """Locked collateral as a part of the pool's capital, the fuller of both tokens, by tier."""

    def draw(axes: Axes) -> None:
        for tier in Tier:
            days = of_tier(record.days, tier)
            used = [max(one.utilization_bps for one in pools) / BPS for pools in days.values()]
            axes.plot([_day(day) for day in days], used, color=COLOURS[tier], label=tier.name, linewidth=1.2)  # type: ignore[arg-type]
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_ylim(bottom=0.0)

    return _svg("Utilization at the end of each day", draw)


def payout_chart(record: Record) -> str:
    """Payouts by month, stacked by tier."""

    def draw(axes: Axes) -> None:
        months = sorted({day.day.isoformat()[:7] for day in record.days})
        below = [0.0] * len(months)
        for tier in Tier:
            paid = dict.fromkeys(months, 0.0)
            for day in record.days:
                if day.tier is tier:
                    paid[day.day.isoformat()[:7]] += day.payouts_usd_e8 / USD_E8
            heights = [paid[month] for month in months]
            middles = [_day(f"{month}-15") for month in months]
            axes.bar(middles, heights, width=22, bottom=below, color=COLOURS[tier], label=tier.name)  # type: ignore[arg-type]
            below = [one + other for one, other in zip(below, heights, strict=True)]
        axes.yaxis.set_major_formatter(lambda value, _: f"${value:,.0f}")

    return _svg("Payouts by month", draw)


def _ranges(bars: Sequence[DailyBar]) -> tuple[list[int], list[int]]:
    return [bar.low_usd_e8 for bar in bars], [bar.high_usd_e8 for bar in bars]


def _day(text: str) -> dt.datetime:
    return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)


def _svg(title: str, draw: Callable[[Axes], None]) -> str:
    style = {"svg.hashsalt": _SALT, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.grid(visible=True, color="#e3e5e8", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False, ncols=3, loc="upper left")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
