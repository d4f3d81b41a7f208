"""Statements by period as messages and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import InvalidArgument
from services.pool.domain.statement import PeriodStatement

# A year of burn blocks.
LONGEST_PERIOD_BLOCKS: Final = 52_560


def period(request: pb.GetPeriodStatementRequest, projected_burn_height: int) -> tuple[int, int]:
    """The heights after which and up to which; InvalidArgument where they make no period of at most 52,560 blocks."""
    start, end = request.start_burn_height, request.end_burn_height or projected_burn_height
    if start < 0:
        raise InvalidArgument.of("start_burn_height", "must not be negative")
    if not 0 < end - start <= LONGEST_PERIOD_BLOCKS:
        raise InvalidArgument.of("end_burn_height", f"must lie 1 to {LONGEST_PERIOD_BLOCKS} blocks after the start")
    return start, end


def statement_message(
    request: pb.GetPeriodStatementRequest, start: int, end: int, found: PeriodStatement
) -> pb.GetPeriodStatementResponse:
    """A statement, with the same as CSV."""
    response = pb.GetPeriodStatementResponse(
        tier=request.tier,
        token=request.token,
        start_burn_height=start,
        end_burn_height=end,
        opening_shares=found.opening.shares,
        closing_shares=found.closing.shares,
        opening_base_units=found.opening.worth,
        deposits_base_units=found.deposits,
        withdrawals_base_units=found.withdrawals,
        premiums_base_units=found.premiums,
        payouts_base_units=found.payouts,
        rest_delta_base_units=found.rest,
        closing_base_units=found.closing.worth,
    )
    response.csv = _as_csv(response)
    return response


def _as_csv(statement: pb.GetPeriodStatementResponse) -> str:
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(("burn_height", "line", "amount_base_units", "shares"))
    start, end = statement.start_burn_height, statement.end_burn_height
    lines.writerow((start, "opening", statement.opening_base_units, statement.opening_shares))
    for line, amount in (
        ("deposits", statement.deposits_base_units),
        ("withdrawals", -statement.withdrawals_base_units),
        ("premiums", statement.premiums_base_units),
        ("payouts", -statement.payouts_base_units),
        ("rest", statement.rest_delta_base_units),
    ):
        lines.writerow((end, line, amount, ""))
    lines.writerow((end, "closing", statement.closing_base_units, statement.closing_shares))
    return written.getvalue()
