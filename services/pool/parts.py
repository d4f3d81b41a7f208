"""What the servicer's methods work with."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.database import Database
from services.pool.capacity import Capacity
from services.pool.corrections import Corrections
from services.pool.deposit_returns import DepositReturns
from services.pool.liquidity import Deposits
from services.pool.market import ChainParameters
from services.pool.reconciliations import Reconciliations
from services.pool.risk import Risk
from services.pool.valuation import Valuation
from services.pool.withdrawals import Withdrawals


@dataclass(frozen=True)
class Parts:
    """Built once per process."""

    database: Database
    parameters: ChainParameters
    capacity: Capacity
    valuation: Valuation
    risk: Risk
    deposits: Deposits
    deposit_returns: DepositReturns
    withdrawals: Withdrawals
    corrections: Corrections
    reconciliations: Reconciliations
