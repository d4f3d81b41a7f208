"""Figures of tiers and their risk: domain to protobuf."""

from __future__ import annotations

import dataclasses

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from services.pool.domain import shares
from services.pool.domain.collateral import TierBooks
from services.pool.domain.risk import Exposure
from services.pool.domain.utilization import coverage_bps, utilization_bps
from services.pool.risk import TierRisk


def tier_capital_message(books: TierBooks, utilization_max_bps: int, joining_assets: int | None) -> pb.TierCapital:
    """A tier's capital; without a share price while there is no good price to make it from."""
    share_price = 0 if joining_assets is None else shares.share_price_e6(books.shares, joining_assets)
    return pb.TierCapital(
        tier=money_pb2.Tier.ValueType(int(books.tier)),
        token=money_pb2.Token.ValueType(int(books.token)),
        total_base_units=books.total,
        locked_base_units=books.locked,
        reserved_base_units=books.reserved,
        available_base_units=books.available(utilization_max_bps),
        utilization_bps=utilization_bps(books),
        utilization_max_bps=utilization_max_bps,
        shares=books.shares,
        share_price_e6=share_price,
        closed=books.is_closed(utilization_max_bps),
    )


def tier_health_message(capital: pb.TierCapital, found: TierRisk) -> pb.TierHealth:
    """A tier's health."""
    return pb.TierHealth(
        capital=capital,
        coverage_bps=coverage_bps(found.books),
        stresses=[
            pb.Stress(
                fall_bps=row.fall_bps,
                payouts_base_units=row.payouts,
                net_assets_base_units=row.net_assets,
                model_value_base_units=row.model_value or 0,
            )
            for row in found.stresses
        ],
        exposure=None if found.exposure is None else _exposure_message(found.exposure),
        alerts=[pb.RiskAlert.Value(f"RISK_ALERT_{alert}") for alert in sorted(found.alerts)],
    )


def _exposure_message(exposure: Exposure) -> pb.Exposure:
    values = dataclasses.asdict(exposure)
    return pb.Exposure(model_value_base_units=values.pop("model_value"), **values)
