"""The same days under other assumptions: where providers would have ended behind, or earned less."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

from backtest.demand import DemandModel
from backtest.figures import TierFigures, tier_figures
from backtest.parameters import contract_defaults
from backtest.prices import PriceHistory
from backtest.simulation import Record, Simulation
from kernel.pricing import VolatilityRules
from kernel.units import Tier

_PROCESSES: Final = 2


@dataclass(frozen=True)
class Scenario:
    """One set of assumptions and what it is called."""

    name: str
    model: DemandModel = field(default_factory=DemandModel)
    rules: VolatilityRules = field(default_factory=VolatilityRules)


@dataclass(frozen=True)
class Alternative:
    """What a scenario came to, by tier."""

    name: str
    tiers: Sequence[TierFigures]


AS_SOLD = Scenario("as sold")
OTHERS = (
    Scenario(
        "volatility without floors and skew",
        rules=VolatilityRules(skew=0.0, floor_conservative=0.05, floor_balanced=0.05, floor_aggressive=0.05),
    ),
    Scenario("holders three times as frightened by falls", model=dataclasses.replace(DemandModel(), fear=24.0)),
)


def run_scenario(scenario: Scenario, prices: PriceHistory, seed: int) -> Record:
    """One run; Insolvent if an invariant broke."""
    return Simulation(prices, contract_defaults(), scenario.model, seed, scenario.rules).run()


def run_all(prices: PriceHistory, seed: int) -> tuple[Record, Sequence[Alternative]]:
    """The product as it is sold, and beside it the other scenarios, in processes of their own."""
    # Spawned, so that a child inherits no thread and no socket.
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        record, *others = pool.map(
            run_scenario, *zip(*((one, prices, seed) for one in (AS_SOLD, *OTHERS)), strict=True)
        )
    return record, [_alternative(one, found) for one, found in zip(OTHERS, others, strict=True)]


def _alternative(scenario: Scenario, record: Record) -> Alternative:
    return Alternative(scenario.name, [tier_figures(record, tier) for tier in Tier])
