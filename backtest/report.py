"""Writes report.html, which a provider reads, and report.json with the same figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import jinja2

from backtest.alternatives import AS_SOLD, Alternative
from backtest.charts import COLOURS, equity_chart, payout_chart, price_chart, utilization_chart
from backtest.figures import equity
from backtest.holding import Holding, holdings
from backtest.prices import PriceHistory
from backtest.simulation import Record
from kernel.units import Tier

_TEMPLATE: Final = "report.html.jinja"


def write_report(
    folder: Path, record: Record, prices: PriceHistory, summary: Any, alternatives: Sequence[Alternative]
) -> None:
    """Both files, each put in place whole."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for tier in Tier for row in holdings(tier.name, equity(record, tier))]
    content = {
        **summary,
        "alternatives": [asdict(one) for one in alternatives],
        "holdings": [asdict(row) for row in rows],
        "demand": asdict(AS_SOLD.model),
    }
    _put(folder / "report.json", json.dumps(content, indent=2) + "\n")
    _put(folder / "report.html", _html(record, prices, summary, rows, alternatives))


def _html(
    record: Record, prices: PriceHistory, summary: Any, rows: Sequence[Holding], alternatives: Sequence[Alternative]
) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    charts = (price_chart(prices.bars), equity_chart(record), utilization_chart(record), payout_chart(record))
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        charts=[chart[chart.index("<svg") :] for chart in charts],
        holdings=rows,
        alternatives=alternatives,
        demand=AS_SOLD.model,
        colours={tier.name: colour for tier, colour in COLOURS.items()},
        percent=lambda part: f"{part:.1%}",
        signed=lambda part: f"{part:+.1%}",
    )


def _put(path: Path, text: str) -> None:
    whole = path.with_suffix(path.suffix + ".new")
    whole.write_text(text, encoding="utf-8")
    whole.replace(path)
