"""The gRPC servicer of the pool: converts, calls, replies."""

from __future__ import annotations

from services.pool.servicer_books import BookMethods
from services.pool.servicer_journal import JournalMethods
from services.pool.servicer_liquidity import LiquidityMethods
from services.pool.servicer_operations import OperationMethods


class PoolServicer(BookMethods, JournalMethods, LiquidityMethods, OperationMethods):
    """All methods of PoolService, by topic."""
